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


def _snap(packet: bytes) -> bytes:
    return b"\xaa\xaa\x03\0\0\0" + _ethertype(packet) + packet


def _sized(body: bytes) -> bytes:
    return struct.pack(">H", len(body)) + body


def _pppoe(packet: bytes) -> bytes:
    return b"\x88\x64\x11\0\0\x07" + _sized(_ppp(packet) + packet)


def _inner(packet: bytes, first: int = 2) -> bytes:
    return bytes([first]) + MACS[1:] + _ethertype(packet) + packet


def _pseudowire(frame: bytes, word: bytes = b"") -> bytes:
    return MACS + b"\x88\x47" + _label(20, True) + word + frame


WIFI = b"\x08\x01\x2c\0" + bytes.fromhex("020000000001 020000000002 020000000003") + b"\x10\0"
WIFI_QUALITY = b"\x88\x03" + WIFI[2:] + MACS[:6] + b"\0\0"
RADIOTAP = struct.pack("<BBHIQBB", 0, 0, 18, 0b111, 5, 0x20, 12)


def _nflog(packet: bytes, order: str) -> bytes:
    head = struct.pack(">BBH", 2 if packet[0] >> 4 == 4 else 10, 0, 0) + struct.pack(order + "HHI", 8, 1, 0x00030008)
    return head + struct.pack(order + "HH2sxx", 6, 10, b"x\0") + struct.pack(order + "HH", 4 + len(packet), 9) + packet


LINKS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "ethernet": (1, lambda p: MACS + _ethertype(p) + p),
    "vlan": (1, lambda p: MACS + b"\x81\x00\x20\x05" + _ethertype(p) + p),
    "qinq": (1, lambda p: MACS + b"\x88\xa8\x00\x09\x81\x00\x00\x05" + _ethertype(p) + p),
    "mpls": (1, lambda p: MACS + b"\x88\x47" + _label(1000, False) + _label(17, True) + p),
    "vlan-mpls": (1, lambda p: MACS + b"\x81\x00\x00\x07\x88\x47" + _label(99, True) + p),
    "pppoe": (1, lambda p: MACS + _pppoe(p)),
    "vlan-pppoe": (1, lambda p: MACS + b"\x81\0\0\x07" + _pppoe(p)),
    "llc-snap": (1, lambda p: MACS + _sized(_snap(p))),
    "vlan-llc-snap": (1, lambda p: MACS + b"\x81\0\0\x07" + _sized(_snap(p))),
    "pseudowire": (1, lambda p: _pseudowire(_inner(p, 0x22))),
    "pseudowire-first-0": (1, lambda p: _pseudowire(_inner(p))),
    "pseudowire-first-4": (1, lambda p: _pseudowire(_inner(p, 0x46))),
    "pseudowire-first-6": (1, lambda p: _pseudowire(_inner(p, 0x6C))),
    "pseudowire-word": (1, lambda p: _pseudowire(_inner(p), b"\0\0\0\x09")),
    "pseudowire-word-vlan": (1, lambda p: _pseudowire(MACS + b"\x81\0\0\x05" + _ethertype(p) + p, bytes(4))),
    "vn-tag": (1, lambda p: MACS + b"\x89\x26\0\x05\0\x06" + _ethertype(p) + p),
    "e-tag": (1, lambda p: MACS + b"\x89\x3f\0\0\0\x05\0\0" + _ethertype(p) + p),
    "nsh": (1, lambda p: MACS + b"\x89\x4f\x0f\xc2\x02" + (b"\1" if p[0] >> 4 == 4 else b"\2") + b"\0\0\5\xff" + p),
    "nsh-ethernet": (1, lambda p: MACS + b"\x89\x4f\x0f\xc6\x01\x03\0\0\5\xff" + bytes(16) + _inner(p)),
    "backbone": (1, lambda p: MACS + b"\x88\xe7\0\0\0\x05" + _inner(p)),
    "backbone-vlan": (1, lambda p: MACS + b"\x88\xa8\0\x05\x88\xe7\0\0\0\x05" + _inner(p)),
    "fabric-path": (1, lambda p: MACS + b"\x89\x03\x04\x60" + _inner(p)),
    "fddi": (10, lambda p: b"\x50" + MACS + _snap(p)),
    "802.11": (105, lambda p: WIFI + _snap(p)),
    "802.11-quality": (105, lambda p: WIFI_QUALITY + _snap(p)),
    "radiotap": (127, lambda p: RADIOTAP + WIFI + _snap(p)),
    "radiotap-padded": (127, lambda p: RADIOTAP + b"\x88\x01" + WIFI[2:] + b"\0\0" + bytes(2) + _snap(p)),
    "nflog": (239, lambda p: _nflog(p, "<")),
    "nflog-big": (239, lambda p: _nflog(p, ">")),
    "cooked-llc": (113, lambda p: bytes.fromhex("00000001000602000000000200 00 0004") + _snap(p)),
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
        version, at = _plain_link(data, link_type, on_wire)
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


def _plain_link(data: bytes, link_type: int, on_wire: int) -> tuple[str, int]:
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
    if link_type == 239:
        return _plain_nflog(data)
    kind, at = _plain_first(data, link_type)
    while kind not in ("4", "6", "either", "none"):
        kind, at = _plain_step(data, kind, at, on_wire)
    return str(kind), at


Step = tuple[int | str, int]
"""What follows (an ethertype, "ethernet", "4", "6", "either", "none"), and where."""
FOLLOWING: dict[int, int | str] = {0x0800: "4", 0x86DD: "6"}
NSH_PROTOCOLS: dict[int, int | str] = {1: "4", 2: "6", 3: "ethernet", 4: 0x894F, 5: 0x8847}
PPP_PROTOCOLS: dict[int, int | str] = {0x21: "4", 0x57: "6", 0x281: 0x8847, 0x283: 0x8847}


def _plain_first(data: bytes, link_type: int) -> Step:
    """Read the link header."""
    if link_type == 9:
        return _plain_ppp(data, 0)
    if link_type == 10:
        return _plain_llc(data, 13) if _number(data, 12, 1) >= 0 and data[0] & 0x70 == 0x50 else ("none", 0)
    if link_type == 127:
        length = max(int.from_bytes(data[2:4], "little"), 8 if _number(data, 0, 8) >= 0 else 0)
        words = 1
        while len(data) >= 8 + 4 * words and data[3 + 4 * words] & 0x80:
            words += 1
        flags_at = 4 + 4 * words
        flags_at = (flags_at + 7) // 8 * 8 + 8 if data[4] & 1 else flags_at
        padded = data[4] & 2 != 0 and flags_at < len(data) and data[flags_at] & 0x20 != 0
        return _plain_wifi(data, length, padded)
    if link_type == 105:
        return _plain_wifi(data, 0, False)
    if link_type == 1:
        return "ethernet", 0
    length, type_at = {113: (16, 14), 276: (20, 0), 104: (4, 2)}[link_type]
    _number(data, 0, length)
    ethertype = _number(data, type_at, 2)
    llc = link_type != 104 and ethertype == 4
    return (ethertype if ethertype > 1500 or llc else "none"), length


def _plain_step(data: bytes, kind: int | str, at: int, on_wire: int) -> Step:
    """Go one header further."""
    tags = {0x8100: 4, 0x88A8: 4, 0x9100: 4, 0x9200: 4, 0x8926: 6, 0x893F: 8, 0x88E7: 18, 0x8903: 16, "ethernet": 14}
    if kind in tags:
        length = tags[kind]
        _number(data, at, length)
        return FOLLOWING.get(ethertype := _number(data, at + length - 2, 2), ethertype), at + length
    if kind in (0x8847, 0x8848):
        bottom = 0
        while not bottom:
            bottom, at = _number(data, at, 4) >> 8 & 1, at + 4
        return _plain_labelled(data, at, on_wire)
    if kind == 0x8864:
        _number(data, at, 6)
        return _plain_ppp(data, at + 6) if data[at : at + 2] == b"\x11\0" else ("none", at)
    if kind == 0x894F:
        first, length, protocol = _number(data, at, 1), _number(data, at + 1, 1) % 64 * 4, _number(data, at + 3, 1)
        if first >> 6 or length < 8:
            return "none", at
        return NSH_PROTOCOLS.get(protocol, "none"), at + length
    if kind == 0x8870 or (isinstance(kind, int) and kind <= 1500):
        return _plain_llc(data, at)
    return FOLLOWING.get(kind, "none") if isinstance(kind, int) else "none", at


def _plain_ppp(data: bytes, at: int) -> Step:
    at += 2 if data[at : at + 2] == b"\xff\x03" else 0
    protocol = _number(data, at, 1)
    at += 1
    if protocol % 2 == 0:
        protocol = _number(data, at - 1, 2)
        at += 1
    return PPP_PROTOCOLS.get(protocol, "none"), at


def _plain_llc(data: bytes, at: int) -> Step:
    start = _number(data, at, 3)
    if start == 0x060603:
        return "4", at + 3
    if start != 0xAAAA03:
        return "none", at
    vendor, ethertype = _number(data, at + 3, 3), _number(data, at + 6, 2)
    known = vendor in (0, 0xF8) and ethertype > 1500
    return (FOLLOWING.get(ethertype, ethertype) if known else "none"), at + 8


def _plain_wifi(data: bytes, at: int, padded: bool) -> Step:
    control, flags = _number(data, at, 1), _number(data, at + 1, 1)
    if control & 0x0F != 8 or control & 0x40 or flags & 0x40:
        return "none", at
    if _number(data, at + 22, 2) >> 8 & 15:
        return "none", at
    length, more = 24 + 6 * (flags & 3 == 3), 0
    if control & 0x80:
        more = 14 * (_number(data, at + length, 2) >> 15)
        length += 2 + 4 * (flags >> 7)
    return _plain_llc(data, at + length + (-length % 4 if padded else 0) + more)


def _plain_nflog(data: bytes) -> tuple[str, int]:
    family, at = _number(data, 0, 4) >> 24, 4
    while True:
        _number(data, at, 4)
        order: Any = "little" if data[at + 3] == 0 else "big"
        length, kind = (int.from_bytes(data[at + i : at + i + 2], order) for i in (0, 2))
        if kind & 0x7FFF == 9:
            return {2: "4", 10: "6", 0: "either"}.get(family, "none"), at + 4
        if length < 4:
            return "none", at
        at += length + -length % 4


def _plain_fits(data: bytes, version: int, at: int, on_wire: int) -> bool:
    """Say whether an IP packet of this version can stand there, as far as it is captured."""
    if at >= len(data):
        return at < on_wire
    if data[at] >> 4 != version or (version == 4 and data[at] & 15 < 5):
        return False
    place, more = {4: (2, 0), 6: (4, 40)}[version]
    return at + place + 2 > len(data) or at + more + _number(data, at + place, 2) <= on_wire


def _plain_frame(data: bytes, at: int, on_wire: int) -> int:
    """Say how much the bytes look like an Ethernet frame: 2 with a fitting IP packet, 1 with a known ethertype."""
    known = {0x8847, 0x8848, 0x8864, 0x893F, 0x8926, 0x894F, 0x88E7, 0x8903, 0x8870}
    known |= {0x0806, 0x88CC, 0x888E, 0x88E5, 0x8902, 0x88F7, 0x8863, 0x8809, 0x9000}
    vlans = {0x8100, 0x88A8, 0x9100, 0x9200}
    if at + 14 > len(data):
        return 0
    ethertype, at = _number(data, at + 12, 2), at + 14
    if ethertype not in known | vlans | set(FOLLOWING) and not 3 <= ethertype <= min(1500, on_wire - at):
        return 0
    while ethertype in vlans:
        if at + 4 > len(data):
            return 1
        ethertype, at = _number(data, at + 2, 2), at + 4
    if ethertype in FOLLOWING:
        return 2 * _plain_fits(data, 4 if ethertype == 0x0800 else 6, at, on_wire)
    return 2 if ethertype == 0x0806 and data[at : at + 6] == b"\0\1\x08\0\6\4" else 1


def _plain_labelled(data: bytes, at: int, on_wire: int) -> Step:
    """Decide what follows MPLS labels."""
    if at >= len(data):
        return "either", at
    first, header = data[at] >> 4, (data[at] & 15) * 4
    whole = first == 4 and header >= 20 and at + header <= len(data)
    if whole and sum(_number(data, at + i, 2) for i in range(0, header, 2)) % 0xFFFF == 0:
        return "either", at
    plain = _plain_frame(data, at, on_wire), "ethernet", at
    worded = _plain_frame(data, at + 4, on_wire) if first == 0 else 0, "ethernet", at + 4
    fits = first in (4, 6) and _plain_fits(data, first, at, on_wire)
    for likeness, what, where in (
        (worded[0] == 2, *worded[1:]), (plain[0] == 2, *plain[1:]), (fits, "either", at),
        (worded[0] == 1, *worded[1:]), (plain[0] == 1, *plain[1:]),
        (first == 4 and header < 20 and at + 2 <= len(data), "either", at),
    ):  # fmt: skip
        if likeness:
            return what, where
    if at + 18 > len(data) and len(data) < on_wire:
        raise IndexError
    return "none", at


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
        total = 40 + jumbo if (jumbo := _plain_jumbo(ip) if protocol == 0 else 0) else on_wire
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


def _plain_jumbo(ip: bytes) -> int:
    """Return the length of the jumbo payload option, or 0."""
    if len(ip) < 42:
        return 0
    options = ip[42 : 40 + (ip[41] + 1) * 8]
    while options:
        if options[:2] == b"\xc2\x04" and len(options) >= 6:
            return _number(options, 2, 4)
        options = options[2 + options[1] if options[0] and len(options) > 1 else 1 :]
    return 0


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
