"""Open a trace file, compressed or not, as one stream of plain bytes.

The first bytes tell the compression, never the name. gzip files of several members and zstd files of several
frames are read to their end. What is damaged or cut off gives all bytes up to the damage, then a TraceError.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO, Protocol

from ..errors import TraceError

PIECE_BYTES = 32 * 1024
"""How much is decompressed at once; damage within the data loses no more than one piece before it."""

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
ZSTD_SKIPPABLE = bytes(range(0x50, 0x60))


class ByteStream(Protocol):
    """What the reader needs of a stream."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of a buffer; return the bytes written, 0 at the end."""

    def close(self) -> None:
        """Close the file."""


class Rejoined(io.RawIOBase):
    """A stream whose first bytes have been looked at, whole again; it also works for pipes, which cannot
    seek."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest
        self.taken = 0

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
            count = self._rest.readinto(buffer)  # type: ignore[attr-defined]
        self.taken += count
        return count

    def close(self) -> None:
        """Close the file behind."""
        if not self.closed:
            self._rest.close()
        super().close()


class ZstdFrames(io.RawIOBase):
    """Compressed bytes on their way to the decompressor, watched: did they end at the end of a frame?

    The decompressor takes the end of its input for the end of the data, wherever it is. This follows the
    headers of frames and blocks (RFC 8878, 3.1) and jumps over their contents.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._header = b""
        self._wanted = 4
        self._jump = 0
        self._next = self._frame
        self._checksum = False

    @property
    def complete(self) -> bool:
        """Whether everything read so far ends where a frame ends."""
        return self._next == self._frame and not self._header and not self._jump

    def readable(self) -> bool:
        """Say that this can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Pass bytes on, and follow the frames in them."""
        count: int = self._source.readinto(buffer)  # type: ignore[attr-defined]
        at = 0
        while at < count:
            step = min(self._jump, count - at)
            self._jump -= step
            at += step
            piece = bytes(buffer[at : min(at + self._wanted - len(self._header), count)]) if not self._jump else b""
            self._header += piece
            at += len(piece)
            if len(self._header) == self._wanted:
                header, self._header = self._header, b""
                self._next(header)
        return count

    def close(self) -> None:
        """Close the file behind."""
        if not self.closed:
            self._source.close()
        super().close()

    def _expect(self, wanted: int, then) -> None:  # type: ignore[no-untyped-def]
        self._wanted, self._next = wanted, then

    def _frame(self, magic: bytes) -> None:
        self._expect(4, self._skippable) if magic != ZSTD_MAGIC else self._expect(1, self._descriptor)

    def _skippable(self, size: bytes) -> None:
        self._jump = int.from_bytes(size, "little")
        self._expect(4, self._frame)

    def _descriptor(self, descriptor: bytes) -> None:
        flags = descriptor[0]
        single_segment = flags >> 5 & 1
        self._checksum = bool(flags & 4)
        content_size = (single_segment, 2, 4, 8)[flags >> 6]
        self._jump = (1 - single_segment) + (0, 1, 2, 4)[flags & 3] + content_size
        self._expect(3, self._block)

    def _block(self, header: bytes) -> None:
        value = int.from_bytes(header, "little")
        repeated = value >> 1 & 3 == 1
        self._jump = 1 if repeated else value >> 3
        if value & 1:
            self._jump += 4 * self._checksum
            self._expect(4, self._frame)


class Members:
    """The plain bytes of gzip members or xz streams, one after the other; zeros between them are padding."""

    def __init__(self, make: Callable[[], Any], source: Rejoined) -> None:
        self._make = make
        self._source = source
        self._decompressor = make()

    def readinto(self, buffer: memoryview) -> int:
        """Decompress into a buffer; return the bytes written, 0 at the end.

        Raises EOFError where a member is cut off.
        """
        while True:
            pressed = b""
            if self._decompressor.eof:
                pressed = self._between_members(self._decompressor.unused_data)
                if not pressed:
                    return 0
                self._decompressor = self._make()
            elif self._decompressor.needs_input:
                pressed = self._source.read(PIECE_BYTES) or b""
                if not pressed:
                    raise EOFError("the file ends too early")
            plain = self._decompressor.decompress(pressed, len(buffer))
            if plain:
                buffer[: len(plain)] = plain
                return len(plain)

    def _between_members(self, pressed: bytes) -> bytes:
        """Return the beginning of the next member, b"" at the end of the file."""
        while not (begun := pressed.lstrip(b"\0")):
            pressed = self._source.read(PIECE_BYTES) or b""
            if not pressed:
                return b""
        return begun

    def close(self) -> None:
        """Do nothing: who made this closes the source."""


class Decompressed:
    """The plain bytes of a compressed file; whatever the decompressor raises becomes a TraceError."""

    def __init__(self, name: str, kind: str, stream: Any, source: Rejoined, frames: ZstdFrames | None = None) -> None:
        self._name = name
        self._kind = kind
        self._stream = stream
        self._source = source
        self._frames = frames

    def readinto(self, buffer: memoryview) -> int:
        """Decompress up to one piece into a buffer; return the bytes written, 0 at the end."""
        try:
            count: int = self._stream.readinto(buffer[:PIECE_BYTES])
        except OSError as error:
            if error.errno is not None:  # the disk, not the data
                raise
            raise self._damage(str(error)) from error
        except Exception as error:  # each library has its own errors: zlib's, lzma's, zstandard's, EOFError
            raise self._damage(str(error)) from error
        if count == 0 and self._frames is not None and not self._frames.complete:
            raise self._damage("the file ends too early")
        return count

    def close(self) -> None:
        """Close the decompressor and the file."""
        self._stream.close()
        self._source.close()

    def _damage(self, what: str) -> TraceError:
        return TraceError(
            f"{self._name}: the {self._kind} data is damaged or cut off near byte "
            f"{self._source.taken} of the "
            f"compressed file: {what}. Everything before it was read; get a whole copy of the "
            f"file for the rest"
        )


def open_stream(path: str) -> ByteStream:
    """Open a file, or standard input for "-", and decompress gzip, zstd or xz on the way.

    Raises TraceError where the file is missing, is a folder, or may not be read.
    """
    name = "standard input" if path == "-" else path
    try:
        file = io.FileIO(sys.stdin.fileno() if path == "-" else path, closefd=path != "-")
        head = _first_bytes(file, 6)
    except OSError as error:
        raise TraceError(f"{name}: cannot open the trace: {error.strerror}") from error
    source = Rejoined(head, file)
    if head.startswith(b"\x1f\x8b"):
        from isal import igzip_lib

        gzip = partial(igzip_lib.IgzipDecompressor, flag=igzip_lib.DECOMP_GZIP)
        return Decompressed(name, "gzip", Members(gzip, source), source)
    if head.startswith(b"\xfd7zXZ\x00"):
        import lzma

        return Decompressed(name, "xz", Members(lzma.LZMADecompressor, source), source)
    if head.startswith(ZSTD_MAGIC) or (head[1:4] == b"\x2a\x4d\x18" and head[0] in ZSTD_SKIPPABLE):
        import zstandard

        frames: Any = ZstdFrames(source)  # type: ignore[arg-type]
        decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        stream = decompressor.stream_reader(frames, read_across_frames=True)
        return Decompressed(name, "zstd", stream, source, frames)
    return source


def _first_bytes(file: BinaryIO, wanted: int) -> bytes:
    head = b""
    while len(head) < wanted and (more := file.read(wanted - len(head))):
        head += more
    return head
