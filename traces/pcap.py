"""pcap files: the file header, and its packets.

Layout as in the libpcap manual, pcap-savefile(5): a header of 24 bytes, then for each packet a header of 16
bytes (seconds, micro- or nanoseconds, captured length, length on the wire) and the captured bytes.
"""

from __future__ import annotations

from ..errors import TraceError
from .blocks import Window
from .header_kernels import MALFORMED
from .links import link_code
from .pcap_kernels import DAMAGED, FILE_HEADER, FULL, decode_pcap
from .rows import Rows

FILE_HEADER_BYTES = 24
SECTION_MAGIC = b"\x0a\x0d\x0d\x0a"
BYTE_ORDER_MAGICS = (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a")
"""First four bytes of a pcapng section, and its bytes 8 to 11."""
MOST_CAPTURED_BYTES = 262_144
"""No capture of a network has longer packets (the same limit as libpcap's); a longer one is damage."""

MAGIC: dict[bytes, tuple[bool, int]] = {
    b"\xd4\xc3\xb2\xa1": (False, 1000),
    b"\xa1\xb2\xc3\xd4": (True, 1000),
    b"\x4d\x3c\xb2\xa1": (False, 1),
    b"\xa1\xb2\x3c\x4d": (True, 1),
}
"""First four bytes: (most significant byte first?, nanoseconds a tick)."""
DG_UX_MAJOR = 543
"""Version that the tcpdump of DG/UX wrote for 2.3. Up to that one, the length on the wire stood first, but not in
all files: the captured length is the smaller of the two."""
MODIFIED_MAGIC = (b"\x34\xcd\xb2\xa1", b"\xa1\xb2\xcd\x34")


def another_file(window: Window) -> str:
    """Say that another trace file begins at the position, as `cat` joins files; empty where none does."""
    if not window.need(12):
        return ""
    begin = bytes(window.buffer[window.position : window.position + 12])
    if begin[:4] in MAGIC:
        order = "big" if MAGIC[begin[:4]][0] else "little"
        kind = "pcap" if int.from_bytes(begin[4:6], order) in (2, DG_UX_MAJOR) else ""  # type: ignore[arg-type]
    else:
        kind = "pcapng" if begin[:4] == SECTION_MAGIC and begin[8:] in BYTE_ORDER_MAGICS else ""
    return kind and (
        f"a second {kind} file begins at byte {window.offset}: traces were joined with cat; everything before it was "
        "read. Give the files one by one, or join them with mergecap -w OUT.pcapng FILE FILE"
    )


class PcapFile:
    """The packets of one pcap file; reads the file's header when made."""

    def __init__(self, window: Window) -> None:
        self._window = window
        if not window.need(FILE_HEADER_BYTES):
            raise TraceError(
                f"{window.name}: the file ends at byte {window.read_bytes}, within the "
                f"{FILE_HEADER_BYTES} bytes "
                "of the pcap file header; get a whole copy of the file"
            )
        header = bytes(window.buffer[window.position : window.position + FILE_HEADER_BYTES])
        self._big, self._ns_per_tick = MAGIC[header[:4]]
        order = "big" if self._big else "little"
        major, minor = int.from_bytes(header[4:6], order), int.from_bytes(header[6:8], order)  # type: ignore[arg-type]
        if major not in (2, DG_UX_MAJOR):
            raise TraceError(
                f"{window.name}: pcap version {major}.{minor} at byte 4, where 2.4 is expected; "
                "the file is damaged, get another copy of it"
            )
        self._swapped = major == DG_UX_MAJOR or minor < 4
        link_type = int.from_bytes(header[20:24], order) & 0xFFFF  # type: ignore[arg-type]
        self._link = link_code(link_type, window.name)
        window.position += FILE_HEADER_BYTES

    def fill(self, rows: Rows) -> bool:
        """Write packets behind the rows filled so far; True when no row is free, False at the end of the
        file.

        Raises TraceError where a packet is cut off or claims an impossible length.
        """
        window = self._window
        while True:
            why, window.position, rows.filled = decode_pcap(
                window.buffer, window.position, window.end, self._big, self._ns_per_tick, self._link,
                self._swapped, MOST_CAPTURED_BYTES, *rows.columns.columns(), rows.filled, rows.counts,
            )  # fmt: skip
            if why == FULL:
                return True
            if why in (DAMAGED, FILE_HEADER):
                if other := another_file(window):
                    raise TraceError(f"{window.name}: {other}")
                if why == FILE_HEADER:  # no more than the time of an empty packet
                    window.position += 16
                    rows.counts[MALFORMED] += 1
                    continue
                raise TraceError(
                    f"{window.name}: the packet header at byte {window.offset} claims more than "
                    f"{MOST_CAPTURED_BYTES} captured bytes; the file is damaged from there on"
                )
            if not window.advance():
                break
        if window.position < window.end:
            raise TraceError(
                f"{window.name}: the file ends at byte {window.read_bytes}, within the packet that begins at "
                f"byte {window.offset}; everything before it was read"
            )
        return False
