"""The one packet layout: columns of equal length, in time order. Every other room takes and returns them.

Addresses are 128-bit, as two 64-bit words (high, low); an IPv4 address a.b.c.d stands as ::ffff:a.b.c.d, so one
layout serves both versions. Ports are 0 where a packet has none (ICMP, later fragments).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

COLUMNS: dict[str, tuple[Any, int, str]] = {
    "time_ns": (np.int64, 1, "nanoseconds since 1970-01-01 UTC, never falling"),
    "src": (np.uint64, 2, "source address: high and low word"),
    "dst": (np.uint64, 2, "destination address: high and low word"),
    "src_port": (np.uint16, 1, "source port of TCP, UDP and SCTP, else 0"),
    "dst_port": (np.uint16, 1, "destination port of TCP, UDP and SCTP, else 0"),
    "protocol": (np.uint8, 1, "IP protocol number (of the last header, for IPv6)"),
    "ip_bytes": (np.uint32, 1, "length of the whole IP packet on the wire, as its header says"),
    "payload_bytes": (np.uint32, 1, "bytes behind the TCP, UDP or SCTP header, by the IP length; else 0"),
    "tcp_flags": (np.uint8, 1, "FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128; 0 for other protocols"),
    "tcp_seq": (np.uint32, 1, "TCP sequence number, else 0"),
    "dscp": (np.uint8, 1, "differentiated services code point, 0 to 63"),
}
"""Name of each column: (dtype, words a packet, meaning)."""

BATCH_PACKETS = 1 << 16
"""Most packets of a batch of a trace that is read, where nobody asks for another size."""

IPV4_PREFIX = 0xFFFF << 32
"""What stands above the 32 bits of an IPv4 address in the low word of a `src` or `dst`."""


@dataclass(frozen=True, slots=True)
class PacketBatch:
    """Packets as columns, in time order; `COLUMNS` says what each column means."""

    time_ns: NDArray[np.int64]
    src: NDArray[np.uint64]
    dst: NDArray[np.uint64]
    src_port: NDArray[np.uint16]
    dst_port: NDArray[np.uint16]
    protocol: NDArray[np.uint8]
    ip_bytes: NDArray[np.uint32]
    payload_bytes: NDArray[np.uint32]
    tcp_flags: NDArray[np.uint8]
    tcp_seq: NDArray[np.uint32]
    dscp: NDArray[np.uint8]

    @classmethod
    def empty(cls, packets: int) -> Self:
        """Make room for a number of packets; the values are not set."""
        return cls(
            *(np.empty((packets, words) if words > 1 else packets, dtype) for dtype, words, _ in COLUMNS.values())
        )

    @classmethod
    def of(cls, **columns: Any) -> Self:
        """Make a batch of the columns given by name; columns that are not given are zero."""
        packets = len(next(iter(columns.values())))
        made = {}
        for name, (dtype, words, _) in COLUMNS.items():
            shape = (packets, words) if words > 1 else (packets,)
            made[name] = np.ascontiguousarray(columns.pop(name), dtype) if name in columns else np.zeros(shape, dtype)
            if made[name].shape != shape:
                raise ValueError(f"column {name} has shape {made[name].shape}, and {shape} is needed")
        if columns:
            raise ValueError(f"no such columns: {', '.join(columns)}")
        return cls(**made)

    def __len__(self) -> int:
        return len(self.time_ns)

    def __getitem__(self, which: slice | NDArray[Any]) -> PacketBatch:
        """Take the packets of a slice (a view) or of an index or mask array (a copy)."""
        return PacketBatch(*(column[which] for column in self.columns()))

    def columns(self) -> tuple[NDArray[Any], ...]:
        """Return the columns in the order of `COLUMNS`."""
        found: tuple[NDArray[Any], ...] = _columns_of(self)
        return found

    def copy(self) -> PacketBatch:
        """Return a batch that shares no memory with this one."""
        return PacketBatch(*(column.copy() for column in self.columns()))


_columns_of = attrgetter(*COLUMNS)


def concatenate(batches: list[PacketBatch]) -> PacketBatch:
    """Join batches that follow each other in time."""
    if not batches:
        return PacketBatch.empty(0)
    return PacketBatch(*(np.concatenate(parts) for parts in zip(*(b.columns() for b in batches), strict=True)))


def since_ns(time_ns: NDArray[np.int64], start_ns: int) -> NDArray[np.uint64]:
    """Return how long after `start_ns` times are, none of which is earlier: no two 64-bit times are too far apart."""
    return time_ns.astype(np.uint64) - np.uint64(start_ns % 2**64)


def address_words(text: str) -> tuple[int, int]:
    """Turn '192.0.2.1' or '2001:db8::1' into the (high, low) words of the layout."""
    address = ipaddress.ip_address(text)
    value = int(address) | (IPV4_PREFIX if address.version == 4 else 0)
    return value >> 64, value & 0xFFFF_FFFF_FFFF_FFFF


def address_text(high: int, low: int) -> str:
    """Turn the (high, low) words of the layout into the usual text of an address."""
    if int(high) == 0 and int(low) >> 32 == 0xFFFF:
        return str(ipaddress.IPv4Address(int(low) & 0xFFFF_FFFF))
    return str(ipaddress.IPv6Address(int(high) << 64 | int(low)))
