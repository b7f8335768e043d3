"""Open a trace file, compressed or not, as one stream of plain bytes.

The first bytes tell the compression, never the name. gzip files of several members and zstd files of several
frames are read to their end. What is damaged or cut off gives all bytes up to the damage, then a TraceError;
only a pipe, which cannot be read again, may lose up to one piece of plain bytes before damage within it.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

from ..errors import TraceError

PIECE_BYTES = 64 * 1024
"""How much is read or decompressed at once."""
PRESSED_BYTES = 512 * 1024
"""How much of a gzip file is read at once, where nothing of it need be handed on in pieces."""

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
SKIPPABLE, SKIPPABLE_REST = bytes(range(0x50, 0x60)), b"\x2a\x4d\x18"
MOST_ZSTD_BLOCK_BYTES = 128 * 1024
CUT_OFF = "the file ends too early"


class ByteStream(Protocol):
    """What the reader needs of a stream."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of a buffer; return the bytes written, 0 at the end."""

    def close(self) -> None:
        """Close the file."""


class Damage(Exception):
    """The compressed bytes are wrong, at the byte `at` of the file."""

    def __init__(self, at: int, what: object) -> None:
        super().__init__(what)
        self.at = at


class Source(io.RawIOBase):
    """A file whose first bytes have been looked at, whole again; it also works for pipes, which cannot seek."""

    def __init__(self, file: io.FileIO, head_bytes: int) -> None:
        self._file = file
        self._start = file.tell() if file.seekable() else None
        self._head = b""
        while len(self._head) < head_bytes and (more := file.read(head_bytes - len(self._head))):
            self._head += more
        self.head = self._head
        """The first bytes."""
        self.taken = 0
        """How many bytes have been read."""

    def readable(self) -> bool:
        """Say that this can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Give the bytes looked at first, then those of the file."""
        if self._head:
            count = min(len(self._head), len(buffer))
            buffer[:count] = self._head[:count]
            self._head = self._head[count:]
        else:
            count = self._file.readinto(buffer)
        self.taken += count
        return count

    def exactly(self, count: int) -> bytes:
        """Read a number of bytes; raise Damage where the file ends before."""
        data = b""
        while len(data) < count:
            more = self.read(count - len(data))
            if not more:
                raise Damage(self.taken, CUT_OFF)
            data += more
        return data

    @property
    def repeatable(self) -> bool:
        """Whether the file can be read again, as a pipe cannot."""
        return self._start is not None

    def go_back(self, place: int) -> bool:
        """Go back to a byte of the file; return whether it can be read again."""
        if self._start is None:
            return False
        self._file.seek(self._start + place)
        self._head, self.taken = b"", place
        return True

    def close(self) -> None:
        """Close the file behind."""
        if not self.closed:
            self._file.close()
        super().close()


def zstd_frames(source: Source) -> Iterator[bytes]:
    """Give the plain bytes of zstd frames, one after the other.

    Follows the frames (RFC 8878, 3.1) and hands over one block at a time: so a block that is damaged takes no
    other with it, and where the file is cut off is known, which the decompressor does not tell.
    """
    import zstandard

    library = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    while begin := source.read(1):
        magic = begin + source.exactly(3)
        if magic[1:] == SKIPPABLE_REST and magic[:1] in SKIPPABLE:
            left = int.from_bytes(source.exactly(4), "little")
            while left:
                left -= len(source.exactly(min(left, PIECE_BYTES)))
            continue
        at = source.taken - 4
        if magic != ZSTD_MAGIC:
            raise Damage(at, f"no frame begins with {magic.hex(' ')}")
        frame = library.decompressobj()
        for at, pressed in _parts_of_frame(source):
            try:
                plain = frame.decompress(pressed)
            except zstandard.ZstdError as error:
                raise Damage(at, error) from error
            yield plain


def _parts_of_frame(source: Source) -> Iterator[tuple[int, bytes]]:
    """Give the header, the blocks and the checksum of a zstd frame, whose magic has been read; and where each
    begins."""
    at = source.taken - len(ZSTD_MAGIC)
    descriptor = source.exactly(1)
    single_segment, has_checksum = descriptor[0] >> 5 & 1, descriptor[0] & 4
    content_size_bytes = (single_segment, 2, 4, 8)[descriptor[0] >> 6]
    rest = (1 - single_segment) + (0, 1, 2, 4)[descriptor[0] & 3] + content_size_bytes
    yield at, ZSTD_MAGIC + descriptor + source.exactly(rest)
    last = 0
    while not last:
        at = source.taken
        header = source.exactly(3)
        value = int.from_bytes(header, "little")
        last, kind, size = value & 1, value >> 1 & 3, value >> 3
        if kind == 3 or size > MOST_ZSTD_BLOCK_BYTES:
            raise Damage(at, "no block has such a header")
        yield at, header + source.exactly(1 if kind == 1 else size)
    if has_checksum:
        yield source.taken, source.exactly(4)


def members(make: Callable[[], Any], source: Source) -> Iterator[bytes]:
    """Give the plain bytes of gzip members or xz streams, one after the other; zeros between them are padding."""
    pressed = source.read(PIECE_BYTES) or b""
    while pressed:
        member = piece = source.taken - len(pressed)
        given = 0
        decompressor = make()
        while not decompressor.eof:
            try:
                plain = decompressor.decompress(pressed, PIECE_BYTES)
            except Exception as error:  # each library has its own errors, some of them OSErrors
                yield from _byte_by_byte(make(), source, member, piece, given)
                raise Damage(source.taken, error) from error
            given += len(plain)
            yield plain
            pressed = b""
            if decompressor.needs_input and not decompressor.eof:
                piece = source.taken
                pressed = source.read(PIECE_BYTES) or b""
                if not pressed and not plain:
                    raise Damage(piece, CUT_OFF)
        pressed = decompressor.unused_data
        while not (pressed := pressed.lstrip(b"\0")) and (more := source.read(PIECE_BYTES)):
            pressed = more


def _byte_by_byte(decompressor: Any, source: Source, member: int, piece: int, given: int) -> Iterator[bytes]:
    """Decompress a member once more, from the byte `piece` on one byte at a time, up to the damage.

    A decompressor that fails keeps what it made in that call; so it comes out, but for the plain bytes `given`
    before. Leaves the source behind the byte where it fails. Of a pipe nothing comes.
    """
    failed = source.taken
    if not source.go_back(member):
        return
    while source.taken < failed:
        pressed = source.read(1 if source.taken >= piece else min(PIECE_BYTES, piece - source.taken)) or b""
        more = True
        while more:
            try:
                plain = decompressor.decompress(pressed, PIECE_BYTES)
            except Exception:  # the same error again, which the caller has
                return
            yield plain[given:]
            given = max(given - len(plain), 0)
            pressed = b""
            more = not (decompressor.needs_input or decompressor.eof)


class Decompressed:
    """The plain bytes of a compressed file; damage becomes a TraceError that names the file and the byte."""

    def __init__(self, name: str, kind: str, pieces: Iterator[bytes], source: Source) -> None:
        self._name = name
        self._kind = kind
        self._pieces = pieces
        self._source = source
        self._piece = memoryview(b"")

    def readinto(self, buffer: memoryview) -> int:
        """Decompress up to one piece into a buffer; return the bytes written, 0 at the end."""
        try:
            while not self._piece:
                self._piece = memoryview(next(self._pieces))
        except StopIteration:
            return 0
        except Damage as damage:
            raise TraceError(
                f"{self._name}: the {self._kind} data is damaged or cut off at byte {damage.at} of the "
                f"compressed file: {damage}. What can be read before it was read; get a whole copy of the "
                "file for the rest"
            ) from damage
        count = min(len(buffer), len(self._piece))
        buffer[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def close(self) -> None:
        """Close the file."""
        self._source.close()


class Gzip:
    """The plain bytes of a gzip file that can be read again: straight into the reader's buffer, and where that
    fails once more from the front, exactly up to the damage."""

    def __init__(self, name: str, source: Source) -> None:
        from isal import igzip

        self._source = source
        self._exact = exact_gzip(name, source)
        # The reader below isal's file object: that one would first make bytes of its own, and copy them with the GIL.
        raw = getattr(igzip, "_GzipReader", None)
        self._fast: Any = raw(source, PRESSED_BYTES) if raw else igzip.IGzipFile(fileobj=source)
        self._given = 0

    def readinto(self, buffer: memoryview) -> int:
        """Decompress into a buffer; return the bytes written, 0 at the end."""
        if self._fast is not None:
            try:
                count: int = self._fast.readinto(buffer)
            except Exception:  # any: it comes again, with its place
                self._fast = None
                self._start_again()
            else:
                self._given += count
                return count
        return self._exact.readinto(buffer)

    def _start_again(self) -> None:
        """Bring the exact stream to where the fast one failed."""
        self._source.go_back(0)
        scratch = memoryview(bytearray(PIECE_BYTES))
        while self._given and (count := self._exact.readinto(scratch[: self._given])):
            self._given -= count

    def close(self) -> None:
        """Close the file."""
        self._source.close()


def exact_gzip(name: str, source: Source) -> Decompressed:
    """Make the stream that gives every byte before damage; it copies pieces, which takes a little longer."""
    from isal import igzip_lib

    make = partial(igzip_lib.IgzipDecompressor, flag=igzip_lib.DECOMP_GZIP)
    return Decompressed(name, "gzip", members(make, source), source)


def open_stream(path: str) -> ByteStream:
    """Open a file, or standard input for "-", and decompress gzip, zstd or xz on the way.

    Raises TraceError where the file is missing, is a folder, or may not be read.
    """
    name = "standard input" if path == "-" else path
    try:
        file = io.FileIO(sys.stdin.fileno() if path == "-" else path, closefd=path != "-")
        source = Source(file, head_bytes=6)
    except OSError as error:
        raise TraceError(f"{name}: cannot open the trace: {error.strerror}") from error
    head = source.head
    if head.startswith(b"\x1f\x8b"):
        return Gzip(name, source) if source.repeatable else exact_gzip(name, source)
    if head.startswith(b"\xfd7zXZ\x00"):
        import lzma

        return Decompressed(name, "xz", members(lzma.LZMADecompressor, source), source)
    if head.startswith(ZSTD_MAGIC) or (head[1:4] == SKIPPABLE_REST and head[:1] in SKIPPABLE):
        return Decompressed(name, "zstd", zstd_frames(source), source)
    return source
