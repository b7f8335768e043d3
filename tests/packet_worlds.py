"""Small trace files for the tests of the reader, written byte by byte, and a plain twin of its header loop.

`pcap` and `pcapng` write files in either byte order; `LINKS` puts a link header before an IP packet;
`decode_plainly` reads one packet as `traces/header_kernels.py` does, without its speed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mozart.errors import TraceError
from mozart.traces.packets import PacketBatch, concatenate
from mozart.traces.reader import TraceReader


class Frame(NamedTuple):
    """One packet of a file."""

    time_ns: int
    data: bytes
    on_wire: int | None = None
    """Length on the wire where it is not that of the data."""


def pcap(frames: Iterable[Frame], link_type: int = 1, order: str = "<", nanoseconds: bool = True) -> bytes:
    """Write a pcap file."""
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link_type)]
    for frame in frames:
        seconds, rest = divmod(frame.time_ns, 10**9)
        on_wire = len(frame.data) if frame.on_wire is None else frame.on_wire
        header = seconds, rest if nanoseconds else rest // 1000, len(frame.data), on_wire
        out += [struct.pack(order + "IIII", *header), frame.data]
    return b"".join(out)


@dataclass
class Pcapng:
    """A pcapng file in the making; each method adds a block."""

    order: str = "<"
    data: bytes = b""

    def block(self, kind: int, body: bytes) -> Pcapng:
        """Any block."""
        body += bytes(-len(body) % 4)
        length = struct.pack(self.order + "I", len(body) + 12)
        self.data += struct.pack(self.order + "I", kind) + length + body + length
        return self

    def section(self, order: str | None = None) -> Pcapng:
        """Begin a section, in another byte order where one is given."""
        self.order = order or self.order
        return self.block(0x0A0D0D0A, struct.pack(self.order + "IHHq", 0x1A2B3C4D, 1, 0, -1))

    def interface(self, link_type: int = 1, snap: int = 0, resolution: int | None = None, offset_s: int = 0) -> Pcapng:
        """Describe an interface; `resolution` is the byte of if_tsresol."""
        options = b""
        if resolution is not None:
            options += struct.pack(self.order + "HHB3x", 9, 1, resolution)
        if offset_s:
            options += struct.pack(self.order + "HHq", 14, 8, offset_s)
        options += struct.pack(self.order + "HH", 0, 0) if options else b""
        return self.block(1, struct.pack(self.order + "HHI", link_type, 0, snap) + options)

    def packet(self, data: bytes, ticks: int, interface: int = 0, on_wire: int | None = None) -> Pcapng:
        """Add an enhanced packet block."""
        lengths = len(data), len(data) if on_wire is None else on_wire
        head = struct.pack(self.order + "IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, *lengths)
        return self.block(6, head + data)

    def old_packet(self, data: bytes, ticks: int, interface: int = 0) -> Pcapng:
        """Add a packet block of the obsolete kind."""
        head = struct.pack(self.order + "HHIIII", interface, 7, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
        return self.block(2, head + data)

    def simple_packet(self, data: bytes, on_wire: int | None = None) -> Pcapng:
        """Add a simple packet block, which has no time."""
        return self.block(3, struct.pack(self.order + "I", len(data) if on_wire is None else on_wire) + data)


def udp(
    src: str = "192.0.2.1", dst: str = "198.51.100.2", ports: tuple[int, int] = (1000, 53), payload: int = 4
) -> bytes:
    """Make an IPv4 packet with UDP in it; the checksum is left 0."""
    total = 28 + payload
    addresses = bytes(map(int, src.split("."))) + bytes(map(int, dst.split(".")))
    header = struct.pack(">BBHHHBBH", 0x45, 0, total, 1, 0, 64, 17, 0) + addresses
    return header + struct.pack(">HHHH", *ports, 8 + payload, 0) + bytes(payload)


def frames_of(count: int, gap_ns: int = 1000, start_ns: int = 1_500_000_000_123_456_000) -> list[Frame]:
    """Make UDP packets in Ethernet frames, the i-th with source port i, `gap_ns` apart."""
    ethernet = LINKS["ethernet"][1]
    return [Frame(start_ns + i * gap_ns, ethernet(udp(ports=(i % 65536, 53), payload=i % 30))) for i in range(count)]


def _ethertype(packet: bytes) -> bytes:
    return b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd"


def _label(number: int, bottom: bool) -> bytes:
    return struct.pack(">I", number << 12 | bottom << 8 | 64)


def _ppp(packet: bytes) -> bytes:
    return b"\x00\x21" if packet[0] >> 4 == 4 else b"\x00\x57"


MACS = bytes.fromhex("020000000002020000000001")
LINKS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "ethernet": (1, lambda p: MACS + _ethertype(p) + p),
    "vlan": (1, lambda p: MACS + b"\x81\x00\x20\x05" + _ethertype(p) + p),
    "qinq": (1, lambda p: MACS + b"\x88\xa8\x00\x09\x81\x00\x00\x05" + _ethertype(p) + p),
    "mpls": (1, lambda p: MACS + b"\x88\x47" + _label(1000, False) + _label(17, True) + p),
    "vlan-mpls": (1, lambda p: MACS + b"\x81\x00\x00\x07\x88\x47" + _label(99, True) + p),
    "raw-12": (12, lambda p: p),
    "raw-14": (14, lambda p: p),
    "raw-101": (101, lambda p: p),
    "raw-ipv4": (228, lambda p: p),
    "raw-ipv6": (229, lambda p: p),
    "cooked": (113, lambda p: bytes.fromhex("00000001000602000000000200 00") + _ethertype(p) + p),
    "cooked-2": (276, lambda p: _ethertype(p) + bytes.fromhex("0000000000020001000602000000000100 00") + p),
    "ppp": (9, lambda p: _ppp(p) + p),
    "ppp-hdlc": (9, lambda p: b"\xff\x03" + _ppp(p) + p),
    "ppp-short": (9, lambda p: _ppp(p)[1:] + p),
    "cisco-hdlc": (104, lambda p: b"\x0f\x00" + _ethertype(p) + p),
    "loopback-little": (0, lambda p: struct.pack("<I", 2 if p[0] >> 4 == 4 else 30) + p),
    "loopback-big": (0, lambda p: struct.pack(">I", 2 if p[0] >> 4 == 4 else 24) + p),
    "openbsd-loopback": (108, lambda p: struct.pack(">I", 2 if p[0] >> 4 == 4 else 24) + p),
}
"""Name: (link type of the file, puts the link header before an IP packet)."""


def read_all(*paths: Path | str, **options: Any) -> tuple[PacketBatch, TraceReader]:
    """Read a trace to its end; return all packets in one batch, and the reader with its counters."""
    with TraceReader([str(path) for path in paths], **options) as trace:
        return concatenate([batch.copy() for batch in trace]), trace


def read_until_damage(path: Path, **options: Any) -> tuple[PacketBatch, str, dict[str, int]]:
    """Read a trace to its end or to damage; return the packets, the error's text or "", and the skipped
    packets."""
    batches: list[PacketBatch] = []
    message = ""
    with TraceReader([str(path)], **options) as trace:
        try:
            for batch in trace:
                batches.append(batch.copy())
        except TraceError as error:
            message = str(error)
        return concatenate(batches), message, trace.skipped


def same(left: PacketBatch, right: PacketBatch) -> bool:
    """Say whether two batches have the same packets."""
    return all(np.array_equal(a, b) for a, b in zip(left.columns(), right.columns(), strict=True))


class Plain(NamedTuple):
    """The columns of one packet, but for its time."""

    src: tuple[int, int]
    dst: tuple[int, int]
    src_port: int
    dst_port: int
    protocol: int
    ip_bytes: int
    payload_bytes: int
    tcp_flags: int
    tcp_seq: int
    dscp: int


def plain_rows(batch: PacketBatch) -> list[Plain]:
    """Turn a batch into plain numbers."""
    columns = [column.tolist() for column in batch.columns()[1:]]
    return [Plain(tuple(row[0]), tuple(row[1]), *row[2:]) for row in zip(*columns, strict=True)]


def decode_plainly(data: bytes, on_wire: int, link_type: int) -> Plain | str:
    """Read one packet; return its columns, or the reason why it is not measured."""
    on_wire = max(on_wire, len(data))
    short = "cut_off" if on_wire > len(data) else "malformed"
    try:
        version, at = _plain_link(data, link_type)
    except IndexError:
        return short
    if version == "none":
        return "not_ip"
    if at >= len(data):
        return short
    found = {4: "4", 6: "6"}.get(data[at] >> 4, "other")
    if version == "either" and found == "other":
        return "not_ip"
    if version != "either" and version != found:
        return "malformed"
    ip = data[at:]
    return _plain_ipv4(ip, on_wire - at, short) if found == "4" else _plain_ipv6(ip, on_wire - at, short)


def _number(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise IndexError
    return int.from_bytes(data[at : at + size], "big")


def _plain_link(data: bytes, link_type: int) -> tuple[str, int]:
    """Return ("4", "6", "either" or "none"; where the IP header begins); IndexError where the header is
    cut."""
    if link_type in (12, 14, 101):
        return "either", 0
    if link_type in (228, 229):
        return {228: "4", 229: "6"}[link_type], 0
    if link_type in (0, 108):
        family = _number(data, 0, 4)
        if family > 0xFFFF:
            family = int.from_bytes(data[:4], "little")
        return {2: "4", 10: "6", 24: "6", 28: "6", 30: "6"}.get(family, "none"), 4
    if link_type == 9:
        return _plain_ppp(data)
    length, type_at = {1: (14, 12), 113: (16, 14), 276: (20, 0), 104: (4, 2)}[link_type]
    _number(data, 0, length)
    return _plain_ethertype(data, _number(data, type_at, 2), length)


def _plain_ppp(data: bytes) -> tuple[str, int]:
    at = 2 if data[:2] == b"\xff\x03" else 0
    protocol = _number(data, at, 1)
    at += 1
    if protocol % 2 == 0:
        protocol = _number(data, at - 1, 2)
        at += 1
    if protocol in (0x0281, 0x0283):
        return _plain_ethertype(data, 0x8847, at)
    return {0x21: "4", 0x57: "6"}.get(protocol, "none"), at


def _plain_ethertype(data: bytes, ethertype: int, at: int) -> tuple[str, int]:
    while ethertype in (0x8100, 0x88A8, 0x9100, 0x9200):
        _number(data, at, 4)
        ethertype = _number(data, at + 2, 2)
        at += 4
    if ethertype in (0x8847, 0x8848):
        while True:
            label = _number(data, at, 4)
            at += 4
            if label >> 8 & 1:
                break
        return ("either" if at >= len(data) or data[at] >> 4 in (4, 6) else "none"), at
    return {0x0800: "4", 0x86DD: "6"}.get(ethertype, "none"), at


def _plain_ipv4(ip: bytes, on_wire: int, short: str) -> Plain | str:
    header = (ip[0] & 15) * 4
    if header < 20:
        return "malformed"
    if len(ip) < header:
        return short
    total = _number(ip, 2, 2) or on_wire
    if total < header:
        return "malformed"
    src, dst = (0, 0xFFFF << 32 | _number(ip, 12, 4)), (0, 0xFFFF << 32 | _number(ip, 16, 4))
    first = _number(ip, 6, 2) % 0x2000 == 0
    transport = _plain_transport(ip[header:total], ip[9] if first else -1, total - header)
    return Plain(src, dst, *transport[:2], ip[9], total, *transport[2:], ip[1] >> 2)


def _plain_ipv6(ip: bytes, on_wire: int, short: str) -> Plain | str:
    if len(ip) < 40:
        return short
    total, protocol, at, first = 40 + _number(ip, 4, 2), ip[6], 40, True
    if total == 40 and protocol != 59:
        total = on_wire
    inside = ip[:total]
    try:
        while first and protocol in (0, 43, 44, 51, 60):
            _number(inside, at, 8 if protocol == 44 else 2)
            first = protocol != 44 or _number(inside, at + 2, 2) < 8
            size = {44: 8, 51: (inside[at + 1] + 2) * 4}.get(protocol, (inside[at + 1] + 1) * 8)
            protocol, at = inside[at], at + size
    except IndexError:
        first = False
    transport = _plain_transport(inside[at:], protocol if first else -1, total - at)
    words = [_number(ip, place, 8) for place in (8, 16, 24, 32)]
    dscp = _number(ip, 0, 2) >> 6 & 63
    return Plain((words[0], words[1]), (words[2], words[3]), *transport[:2], protocol, total, *transport[2:], dscp)


def _plain_transport(data: bytes, protocol: int, length: int) -> tuple[int, int, int, int, int]:
    """Return (source port, destination port, payload bytes, TCP flags, sequence number)."""
    if protocol not in (6, 17, 132):
        return 0, 0, 0, 0, 0
    ports = struct.unpack(">HH", data[:4]) if len(data) >= 4 else (0, 0)
    if protocol != 6:
        return *ports, max(length - {17: 8, 132: 12}[protocol], 0), 0, 0
    if len(data) < 14:
        return *ports, 0, 0, 0
    header = (data[12] >> 4) * 4
    return *ports, max(length - header, 0) if header >= 20 else 0, data[13], _number(data, 4, 4)
