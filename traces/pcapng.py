"""pcapng files: sections, interfaces, and their packets.

Layout as in draft-ietf-opsawg-pcapng: blocks of (type, total length, body, total length again). A section
header gives the byte order of its section and makes its interfaces forgotten; an interface description gives
the link type and the unit of time stamps of the packets that name it. Enhanced, simple and old packet blocks
carry packets; all other blocks are jumped over.
"""

from __future__ import annotations

from typing import Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from . import pcapng_kernels as why
from .blocks import MOST_RECORD_BYTES, Window
from .link_kernels import UNREAD
from .links import LINK_TYPES, link_code
from .pcap import another_file
from .pcapng_kernels import INTERFACE_FIELDS, UNKNOWN_LINK, decode_pcapng
from .rows import Rows

BYTE_ORDER_MAGIC = 0x1A2B3C4D
TIME_RESOLUTION, TIME_OFFSET = 9, 14
"""Options of an interface description."""
LATEST_NS = 2**63 - 1


class PcapngFile:
    """The packets of one pcapng file."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._order: Literal["little", "big"] = "little"
        self._interfaces: NDArray[np.uint64] = np.zeros((4, INTERFACE_FIELDS), np.uint64)
        self._link_types: list[int] = []
        self._last_ns = 0
        self._long_block = 0
        """Where the last block that was jumped over begins."""
        self._readable = False
        """Whether an interface with a link type that is read was described."""
        self._unread = ""
        """What would be said of the first packet with another link type."""
        self._section()

    def fill(self, rows: Rows) -> bool:
        """Write packets behind the rows filled so far; True when no row is free, False at the end of the
        file.

        Packets with a link type that is not read count as not IP. Raises TraceError where a block is cut off or
        contradicts itself, and at the end where there are such packets and no interface of another kind.
        """
        window = self._window
        while True:
            reason, window.position, rows.filled, self._last_ns = decode_pcapng(
                window.buffer, window.position, window.end, self._order == "big", self._interfaces,
                len(self._link_types), MOST_RECORD_BYTES, self._last_ns,
                *rows.columns.columns(), rows.filled, rows.counts,
            )  # fmt: skip
            if reason == why.FULL:
                return True
            if reason == why.SECTION:
                self._section()
            elif reason == why.INTERFACE:
                self._interface()
            elif reason == why.BAD_LINK:
                self._leave_out()
            elif reason == why.LONG:
                self._refuse_another_file()
                self._long_block = window.offset
                window.position += self._number(4, 4)
            elif reason >= why.BAD_LENGTH:
                self._refuse(reason)
            elif not window.advance():
                break
        if window.position != window.end:
            raise self._cut_off()
        if self._unread and not self._readable:
            raise TraceError(self._unread)
        return False

    def _leave_out(self) -> None:
        """From here on, count the packets of the interface that the block at the position names as not IP."""
        window = self._window
        number = self._packet_interface()
        self._interfaces[number, why.LINK] = UNREAD
        try:
            link_code(self._link_types[number], f"{window.name}, interface {number}, packet at byte {window.offset}")
        except TraceError as error:
            self._unread = self._unread or str(error)

    def _number(self, at: int, size: int, signed: bool = False) -> int:
        """Read a number of the block at the window's position."""
        start = self._window.position + at
        return int.from_bytes(self._window.buffer[start : start + size].tobytes(), self._order, signed=signed)

    def _whole_block(self, least: int) -> int:
        """Bring the whole block at the position into the window; return its length."""
        window = self._window
        length = self._number(4, 4)
        if length < least or length % 4 or length > MOST_RECORD_BYTES:
            self._refuse(why.BAD_LENGTH)
        if not window.need(length):
            raise self._cut_off()
        if self._number(length - 4, 4) != length:
            self._refuse(why.BAD_TRAILER)
        return length

    def _section(self) -> None:
        """Begin a section: its byte order, and no interfaces."""
        window = self._window
        if not window.need(12):
            raise self._cut_off()
        self._order = "little"
        if self._number(8, 4) != BYTE_ORDER_MAGIC:
            self._order = "big"
        if self._number(8, 4) != BYTE_ORDER_MAGIC:
            raise TraceError(
                f"{window.name}: the section header at byte {window.offset} has no byte-order "
                f"magic 1a2b3c4d; the "
                "file is damaged from there on"
            )
        length = self._whole_block(28)
        if self._number(12, 2) != 1:
            raise TraceError(
                f"{window.name}: the section at byte {window.offset} is of pcapng version "
                f"{self._number(12, 2)}.{self._number(14, 2)}, and version 1 is expected; "
                "the file is damaged from there on"
            )
        self._link_types.clear()
        window.position += length

    def _interface(self) -> None:
        """Take an interface description, whose block is whole in the window."""
        window = self._window
        length = self._whole_block(20)
        link_type = self._number(8, 2)
        resolution, offset_s = 6, 0
        at = 16
        while at + 4 <= length - 4:
            code, size = self._number(at, 2), self._number(at + 2, 2)
            if code == 0 or at + 4 + size > length - 4:
                break
            if code == TIME_RESOLUTION and size == 1:
                resolution = self._number(at + 4, 1)
            elif code == TIME_OFFSET and size == 8:
                offset_s = self._number(at + 4, 8, signed=True)
            at += 4 + (size + 3) // 4 * 4
        number = len(self._link_types)
        if number == len(self._interfaces):
            self._interfaces = np.concatenate((self._interfaces, np.zeros_like(self._interfaces)))
        known = LINK_TYPES.get(link_type)
        self._readable |= known is not None
        self._interfaces[number] = (
            UNKNOWN_LINK if known is None else known[1],
            self._number(12, 4),
            *self._time_unit(resolution, offset_s * 10**9),
        )
        self._link_types.append(link_type)
        window.position += length

    def _time_unit(self, resolution: int, offset_ns: int) -> tuple[int, int, int, int, int]:
        """Return (multiplier, divisor, shift, most ticks, offset in ns as an unsigned word) of an
        interface."""
        exponent = resolution & 0x7F
        power_of_two = resolution & 0x80 != 0
        if exponent > (63 if power_of_two else 28) or abs(offset_ns) > LATEST_NS // 2:
            unit = f"{2 if power_of_two else 10}^-{exponent} s"
            raise TraceError(
                f"{self._window.name}: the interface described at byte {self._window.offset} counts time in "
                f"{unit}, from {offset_ns // 10**9} s on; no nanosecond time of 64 bits can hold that"
            )
        ticks_a_second = 2**exponent if power_of_two else 10**exponent
        most_ticks = min((LATEST_NS - max(offset_ns, 0)) * ticks_a_second // 10**9, 2**64 - 1)
        multiplier = 10 ** max(9 - exponent, 0)
        divisor = 10 ** max(exponent - 9, 0)
        shift = exponent if power_of_two else 0
        if power_of_two:
            multiplier, divisor = (10**9, 1) if exponent == 0 else (1, 1)
        return multiplier, divisor, shift, most_ticks, offset_ns % 2**64

    def _cut_off(self) -> TraceError:
        window = self._window
        begin = self._long_block if window.position > window.end else window.offset
        return TraceError(
            f"{window.name}: the file ends at byte {window.read_bytes}, within the block that begins at byte "
            f"{begin}; everything before it was read"
        )

    def _refuse_another_file(self) -> None:
        if other := another_file(self._window):
            raise TraceError(f"{self._window.name}: {other}")

    def _refuse(self, reason: int) -> NoReturn:
        """Say what is wrong with the block at the position."""
        window = self._window
        length = self._number(4, 4)
        if reason == why.BAD_LENGTH:
            self._refuse_another_file()
        text = {
            why.BAD_LENGTH: f"has a length of {length} bytes, which no block of its type can have",
            why.BAD_TRAILER: f"is {length} bytes long by its first length and not by its last",
            why.NO_INTERFACE: f"names an interface, and {len(self._link_types)} are described before it",
            why.BAD_CAPTURE: f"claims more captured bytes than its {length} bytes hold",
            why.BAD_TIME: "has a time after the year 2262, the last that 64 bits of nanoseconds hold",
        }[reason]
        raise TraceError(f"{window.name}: the block at byte {window.offset} {text}; the file is damaged from there on")

    def _packet_interface(self) -> int:
        kind = self._number(0, 4)
        if kind == why.SIMPLE_PACKET:
            return 0
        return self._number(8, 2 if kind == why.OLD_PACKET else 4)
