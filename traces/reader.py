"""Read traces: pcap and pcapng files, compressed or not, one after the other, as batches of packet columns.

Bytes come through a window (`blocks.py`, filled by a thread), the file format finds the packets in it
(`pcap.py`, `pcapng.py`), the header loop writes their columns (`header_kernels.py`), and packets slightly out
of order are put in order (`reorder.py`). Memory is the same for any length of trace.
"""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Generator
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import TraceError
from .blocks import BLOCK_BYTES, Window
from .header_kernels import SKIP_REASONS, UNTIMED, VLAN_TAGGED
from .packets import BATCH_PACKETS, PacketBatch
from .pcap import MAGIC, MODIFIED_MAGIC, SECTION_MAGIC, PcapFile
from .pcapng import PcapngFile
from .rows import FileFormat, Rows


def read(
    *paths: str | Path, batch_packets: int = BATCH_PACKETS, reorder_window_packets: int = 1024, buffers: int = 1
) -> TraceReader:
    """Open traces as one: files in the order given, "-" for standard input, or patterns such as
    "2019/*.pcap.gz".

    Packets come in time order: those out of order by up to `reorder_window_packets` packets are put in order,
    later ones are counted in `skipped["out_of_order"]`. Batches have at most `batch_packets` packets, and a batch is
    valid until `buffers` more were taken.

    Raises TraceError where a file is missing, and while reading where a file cannot be read on.
    """
    return TraceReader(
        expand(paths), batch_packets=batch_packets, reorder_window_packets=reorder_window_packets, buffers=buffers
    )


def expand(paths: tuple[str | Path, ...]) -> list[str]:
    """Turn patterns into the sorted names of the files that match; check that all files exist."""
    if not paths:
        raise TraceError("no trace given: name one or more pcap or pcapng files, or - for standard input")
    names: list[str] = []
    for path in map(str, paths):
        if path == "-" or _exists(path):
            names.append(path)
        elif glob.has_magic(path):
            found = sorted(glob.glob(path))  # noqa: PTH207 - Path.glob refuses absolute patterns
            if not found:
                raise TraceError(f"{path}: no file matches this pattern")
            names.extend(found)
        else:
            raise TraceError(f"{path}: there is no such file")
    return names


def _exists(path: str) -> bool:
    """Say whether a file is there; raise TraceError where nobody may look, or no file can have such a name."""
    try:
        return Path(path).exists()
    except OSError as error:
        raise TraceError(f"{path}: cannot open the trace: {error.strerror}") from error


class TraceReader:
    """The packets of a trace, batch by batch in time order; also a context manager that closes the files.

    A batch is a view of one of `buffers` buffers, which take turns: it is valid until as many more were taken, and
    `.copy()` keeps it. Where a file is damaged or cut off, all packets up to there come first, then a
    TraceError that names the file, the byte and what is wrong.
    """

    def __init__(
        self,
        paths: list[str],
        *,
        batch_packets: int = BATCH_PACKETS,
        reorder_window_packets: int = 1024,
        block_bytes: int = BLOCK_BYTES,
        buffers: int = 1,
    ) -> None:
        if batch_packets < 1 or reorder_window_packets < 0 or buffers < 1:
            raise ValueError("batch_packets and buffers are at least 1, and reorder_window_packets at least 0")
        self.buffers = buffers
        self._paths = paths
        self._block_bytes = block_bytes
        self._rows = Rows(batch_packets, reorder_window_packets, buffers)
        self._window: Window | None = None
        self._closed = False
        self._bytes_of_earlier_files = 0
        self.timed = True
        """Whether all packets read for the first batch have a time; where not, nothing is known of rates."""
        self._batches = self._read()

    @property
    def packets(self) -> int:
        """Packets given out so far."""
        return self._rows.given

    @property
    def reordered(self) -> int:
        """Packets that stood behind later ones and were put in order."""
        return self._rows.reordered

    @property
    def skipped(self) -> dict[str, int]:
        """How many packets were not measured so far, by reason."""
        return dict(zip(SKIP_REASONS, self._rows.skipped.tolist(), strict=True))

    @property
    def vlan_tagged(self) -> int:
        """How many packets had a VLAN tag, which no column keeps."""
        return int(self._rows.counts[VLAN_TAGGED])

    @property
    def untimed(self) -> int:
        """How many packets have no time in the file (pcapng simple packets): they got that of the packet before."""
        return int(self._rows.counts[UNTIMED])

    @property
    def bytes_read(self) -> int:
        """Bytes of the traces read so far, after decompression."""
        return self._bytes_of_earlier_files + (self._window.read_bytes if self._window else 0)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> PacketBatch:
        first = not self._rows.given
        batch = next(self._batches)
        if first:
            self.timed = not self.untimed
        return batch

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file that is open, if any; no more batches come, in whatever thread they were asked for."""
        self._closed = True
        self._close_file()
        with contextlib.suppress(ValueError):  # another thread is in it, and comes out now that its file is closed
            self._batches.close()

    def _close_file(self) -> None:
        window, self._window = self._window, None
        if window is not None:
            self._bytes_of_earlier_files += window.read_bytes
            window.close()

    def _read(self) -> Generator[PacketBatch]:
        """Fill the rows and give them out, file after file, to the end or to damage."""
        damage = None
        try:
            for path in self._paths:
                self._window = window = Window(path, self._block_bytes)
                if self._closed:  # by another thread, which may not have seen this window
                    self._close_file()
                    break
                file = _open(window)
                while file.fill(self._rows):
                    yield from self._rows.give()
                self._close_file()
        except TraceError as error:
            damage = error
        yield from self._rows.give(all_of_them=True)
        if damage and not self._closed:  # what was closed ends early, which is no damage
            raise damage


def _open(window: Window) -> FileFormat:
    """Recognise the format of a file by its first four bytes."""
    if not window.need(4):
        what = f"has only {window.read_bytes} bytes" if window.read_bytes else "is empty"
        raise TraceError(f"{window.name}: the trace {what}; a pcap or pcapng file is expected")
    magic = bytes(window.buffer[window.position : window.position + 4])
    if magic in MAGIC:
        return PcapFile(window)
    if magic == SECTION_MAGIC:
        return PcapngFile(window)
    if magic in MODIFIED_MAGIC:
        raise TraceError(
            f"{window.name}: this is the modified pcap format of old Linux captures, with longer "
            f"packet headers; convert it with editcap -F pcap TRACE OUT.pcap"
        )
    raise TraceError(
        f"{window.name}: no pcap or pcapng file begins with {magic.hex(' ')} at byte 0 (plain, "
        f"or within gzip, "
        "zstd or xz); where editcap knows the format, convert the trace with editcap -F pcap TRACE OUT.pcap"
    )
