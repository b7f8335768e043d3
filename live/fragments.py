"""Fragments of one datagram, as one host sends them: one identification, and offsets that fit each other.

The packet layout says of a later fragment only that it has no ports, and of a first one nothing. So a later fragment
belongs to the last packet before it, between the same addresses and of the same protocol, whose data is a multiple of
eight bytes long: first fragments are, and senders put the others right behind. One without such a packet stands alone,
with an identification of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..traces.packets import PacketBatch
from ..traces.writer_kernels import LATER_FRAGMENT, SCTP, TCP, UDP, WHOLE, header_shape, is_ipv4

BACK = 1024
"""So many packets of its host before it a fragment's first is looked for."""
MOST_BYTES = 65_535
ALONE = 1
"""Offset, in units of eight bytes, of a later fragment without a first one."""


class Fragments:
    """Finds the fragments of one host's packets."""

    def __init__(self) -> None:
        self._number = 0

    def marks(self, packets: PacketBatch) -> NDArray[np.int64]:
        """Return for each packet (identification, offset in units of 8 bytes, whether more follow, data of the whole).

        Shape (packets, 4); the identification is 0 for a packet that is no fragment, and the last number is 0 but for
        first fragments: bytes behind the IP header of the whole datagram.
        """
        found = np.zeros((len(packets), 4), np.int64)
        for row in self._later(packets):
            before = _before(packets, row)
            if before >= 0 and self._joins(packets, found, before, row):
                continue
            found[row] = self._next(), ALONE, 0, 0
        return found

    def _later(self, packets: PacketBatch) -> list[int]:
        plain = (packets.src_port | packets.dst_port | packets.tcp_flags) == 0
        plain &= (packets.payload_bytes | packets.tcp_seq) == 0
        plain &= np.isin(packets.protocol, (TCP, UDP, SCTP))
        return [row for row in np.flatnonzero(plain).tolist() if _shape(packets, row)[0] == LATER_FRAGMENT]

    def _next(self) -> int:
        self._number = self._number % MOST_BYTES + 1
        return self._number

    def _joins(self, packets: PacketBatch, found: NDArray[np.int64], before: int, row: int) -> bool:
        """Let a fragment follow the one before it; returns whether it can."""
        data, first = _data_bytes(packets, before), before
        if data <= 0 or data % 8:
            return False
        if found[before, 0]:
            same = np.flatnonzero(found[: before + 1, 0] == found[before, 0])
            first = int(same[-1 - np.argmax(found[same[::-1], 1] == 0)])
            if found[first, 1]:  # it stands alone itself
                return False
        offset = int(found[before, 1]) + data // 8
        whole = 8 * offset + _data_bytes(packets, row)
        if whole > MOST_BYTES:
            return False
        number = int(found[before, 0]) or self._next()
        found[before, 0], found[before, 2], found[first, 3] = number, 1, whole
        found[row] = number, offset, 0, 0
        return True


def _before(packets: PacketBatch, row: int) -> int:
    """Return the last packet before one that has its addresses and protocol; -1 where none is near."""
    near = slice(max(row - BACK, 0), row)
    same = (packets.src[near] == packets.src[row]).all(axis=1) & (packets.dst[near] == packets.dst[row]).all(axis=1)
    same &= packets.protocol[near] == packets.protocol[row]
    rows = np.flatnonzero(same)
    return int(rows[-1]) + near.start if len(rows) else -1


def _shape(packets: PacketBatch, row: int) -> tuple[int, int, int]:
    """Return what headers a packet gets: kind, words of the IP header, of the transport header."""
    ports = bool(packets.src_port[row] | packets.dst_port[row])
    tcp = bool(packets.tcp_flags[row] or packets.tcp_seq[row])
    size, payload = np.int64(packets.ip_bytes[row]), np.int64(packets.payload_bytes[row])
    kind, network, transport = header_shape(
        _ipv4(packets, row), np.int64(packets.protocol[row]), size, payload, ports, tcp
    )
    return int(kind), int(network), int(transport)


def _ipv4(packets: PacketBatch, row: int) -> bool:
    return bool(is_ipv4(*packets.src[row], *packets.dst[row]))


def _data_bytes(packets: PacketBatch, row: int) -> int:
    """Return the bytes behind the IP header of what can be a fragment; 0 for another packet.

    In IPv6 a fragment has an extension header of two words, which the layout's padding stands for.
    """
    kind, network, _ = _shape(packets, row)
    if kind not in (WHOLE, LATER_FRAGMENT) or not (_ipv4(packets, row) or network == 12):
        return 0
    return int(packets.ip_bytes[row]) - 4 * network
