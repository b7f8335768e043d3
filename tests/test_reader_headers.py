"""Headers of packets: the kernel against scapy, tshark and a plain twin, for every link type."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mozart.tests.needs import needs
from mozart.tests.packet_worlds import LINKS, MACS, Frame, Plain, decode_plainly, pcap, plain_rows, read_all
from mozart.traces.packets import address_words
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.ipsec import AH, ESP
from scapy.layers.sctp import SCTP, SCTPChunkData
from scapy.packet import Packet, Padding, Raw
from scapy.utils import RawPcapReader

FOUR, SIX = {"src": "192.0.2.7", "dst": "203.0.113.9"}, {"src": "2001:db8::7", "dst": "2001:db8:1::9"}
SEGMENT = TCP(sport=443, dport=50123, seq=0xFEDCBA98, flags="PA", options=[("Timestamp", (7, 8))])

PACKETS: dict[str, Packet] = {
    "tcp": IP(**FOUR, tos=0xB8) / SEGMENT / Raw(b"x" * 100),
    "syn": IP(**FOUR) / TCP(sport=1, dport=65535, flags="S", seq=1),
    "all-flags": IP(**FOUR) / TCP(flags="FSRPAUEC", seq=2**32 - 1),
    "udp": IP(**FOUR, tos=4) / UDP(sport=53, dport=40000) / Raw(b"abc"),
    "sctp": IP(**FOUR) / SCTP(sport=9, dport=10) / SCTPChunkData(data=b"abcd"),
    "icmp": IP(**FOUR) / ICMP() / Raw(b"ping"),
    "options": IP(**FOUR, options=[b"\x07\x07\x04\x00\x00\x00\x00", b"\x00"]) / SEGMENT / Raw(b"y" * 9),
    "first-fragment": IP(**FOUR, flags="MF") / UDP(sport=5, dport=6, len=3000) / Raw(b"z" * 80),
    "later-fragment": IP(**FOUR, flags="MF", frag=11, proto=17) / Raw(b"\x00\x35\x00\x35" * 10),
    "other-protocol": IP(**FOUR, proto=89) / Raw(b"ospf"),
    "tcp6": IPv6(**SIX, tc=0xB8, fl=0xFFFFF) / SEGMENT / Raw(b"x" * 50),
    "udp6": IPv6(**SIX) / UDP(sport=53, dport=40000) / Raw(b"abc"),
    "sctp6": IPv6(**SIX) / SCTP(sport=9, dport=10) / SCTPChunkData(data=b"abcd"),
    "icmp6": IPv6(**SIX) / ICMPv6EchoRequest(data=b"ping"),
    "chain6": IPv6(**SIX)
    / IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 12)])
    / IPv6ExtHdrRouting(addresses=["2001:db8::1"])
    / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])
    / UDP(sport=77, dport=88)
    / Raw(b"12345"),
    "first-fragment6": IPv6(**SIX) / IPv6ExtHdrFragment(m=1, id=5) / UDP(sport=3, dport=4) / Raw(b"q" * 24),
    "later-fragment6": IPv6(**SIX) / IPv6ExtHdrFragment(offset=9, nh=17) / Raw(b"r" * 24),
    "ah6": IPv6(**SIX) / AH(nh=6, payloadlen=4, icv=b"i" * 12) / TCP(sport=21, dport=22, seq=23) / Raw(b"s"),
    "esp6": IPv6(**SIX) / ESP(spi=1, seq=2, data=b"secret12"),
    "no-next6": IPv6(**SIX, nh=59),
}
LINKS_OF = {
    name: [link for link in LINKS if not (link == "raw-ipv6" and IP in p) and not (link == "raw-ipv4" and IPv6 in p)]
    for name, p in PACKETS.items()
}
EXTENSIONS = (IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, AH)


def as_scapy_reads(data: bytes) -> Plain:
    """Read an IP packet with scapy and take the columns from its layers."""
    ip = IP(data) if data[0] >> 4 == 4 else IPv6(data)
    words = address_words(ip.src), address_words(ip.dst)
    if isinstance(ip, IPv6):
        protocol, ip_bytes, dscp = ip.nh, ip.plen + 40, ip.tc >> 2
        fragment = ip.getlayer(IPv6ExtHdrFragment)
        later = fragment is not None and fragment.offset != 0
        for layer in (ip.getlayer(kind) for kind in EXTENSIONS):
            if layer is not None and not isinstance(layer.payload, EXTENSIONS):
                protocol = layer.nh
    else:
        protocol, ip_bytes, dscp, later = ip.proto, ip.len, ip.tos >> 2, ip.frag != 0
    transport = next((ip.getlayer(kind) for kind in (TCP, UDP, SCTP) if ip.getlayer(kind) is not None), None)
    if transport is None or later or ICMP in ip:
        return Plain(*words, 0, 0, protocol, ip_bytes, 0, 0, 0, dscp)
    payload = len(transport.payload) - (len(ip[Padding]) if Padding in ip else 0)
    tcp = (int(transport.flags), transport.seq) if TCP in ip else (0, 0)
    ports = transport.sport, transport.dport
    return Plain(*words, *ports, protocol, ip_bytes, payload, tcp[0], tcp[1], dscp)


def write_zoo(path: Path, link: str) -> list[str]:
    """Write all packets that a link can carry; return their names."""
    names = [name for name in PACKETS if link in LINKS_OF[name]]
    link_type, frame = LINKS[link]
    padding = b"\xee" * 6 if link in ("ethernet", "vlan", "fabric-path") else b""  # tshark takes four bytes for a sum
    frames = [Frame(10**18 + i, frame(bytes(PACKETS[name])) + padding) for i, name in enumerate(names)]
    path.write_bytes(pcap(frames, link_type))
    return names


@pytest.mark.parametrize("link", LINKS)
def test_packet_by_packet_as_scapy(link: str, tmp_path: Path) -> None:
    names = write_zoo(tmp_path / "zoo.pcap", link)
    packets, trace = read_all(tmp_path / "zoo.pcap")
    rows = dict(zip(names, plain_rows(packets), strict=True))
    rows.pop("ah6", None)  # scapy leaves what is behind an AH header as bytes
    assert rows == {name: as_scapy_reads(bytes(PACKETS[name])) for name in rows}
    assert not any(trace.skipped.values())
    with RawPcapReader(str(tmp_path / "zoo.pcap")) as scapy_file:
        assert packets.time_ns.tolist() == [m.sec * 10**9 + m.usec for _, m in scapy_file]


TSHARK_FIELDS = [
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "ip.len",
    "ipv6.plen",
    "ip.dsfield.dscp",
    "ipv6.tclass.dscp",
    "tcp.srcport",
    "tcp.dstport",
    "udp.srcport",
    "udp.dstport",
    "sctp.srcport",
    "sctp.dstport",
    "tcp.seq_raw",
    "tcp.flags",
    "tcp.len",
    "udp.length",
    "frame.time_epoch",
]


def as_tshark_reads(path: Path, *more: str) -> list[dict[str, str]]:
    """Run tshark without reassembly; return its fields, packet by packet."""
    options = [f"-o{name}:FALSE" for name in ("ip.defragment", "ipv6.defragment", "tcp.desegment_tcp_streams")]
    fields = [part for name in TSHARK_FIELDS for part in ("-e", name)]
    command = [
        "tshark",
        "-r",
        str(path),
        "-n",
        *more,
        *options,
        "-Tfields",
        "-Eoccurrence=f",
        "-Eseparator=/t",
        *fields,
    ]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [dict(zip(TSHARK_FIELDS, line.split("\t"), strict=True)) for line in out.splitlines()]


@needs("tshark")
@pytest.mark.parametrize("link", [link for link in LINKS if link != "nflog-big"])  # tshark shows that one as bytes
def test_packet_by_packet_as_tshark(link: str, tmp_path: Path) -> None:
    names = write_zoo(tmp_path / "zoo.pcap", link)
    told = []
    if link.startswith("pseudowire"):  # tshark has to be told, by the label, what follows it
        told = ["-d", f"mpls.label==20,{'pwethcw' if 'word' in link else 'pwethnocw'}"]
    packets, _ = read_all(tmp_path / "zoo.pcap")
    rows = zip(
        names,
        plain_rows(packets),
        packets.time_ns.tolist(),
        as_tshark_reads(tmp_path / "zoo.pcap", *told),
        strict=True,
    )
    for name, row, time_ns, fields in rows:
        four = fields["ip.src"] != ""
        assert row.src == address_words(fields["ip.src" if four else "ipv6.src"]), name
        assert row.dst == address_words(fields["ip.dst" if four else "ipv6.dst"]), name
        assert row.ip_bytes == (int(fields["ip.len"]) if four else int(fields["ipv6.plen"]) + 40), name
        assert row.dscp == int(fields["ip.dsfield.dscp" if four else "ipv6.tclass.dscp"]), name
        ports = next((kind for kind in ("tcp", "udp", "sctp") if fields[f"{kind}.srcport"]), None)
        expected = (int(fields[f"{ports}.srcport"]), int(fields[f"{ports}.dstport"])) if ports else (0, 0)
        assert (row.src_port, row.dst_port) == expected, name
        assert (row.tcp_seq, row.tcp_flags) == (
            int(fields["tcp.seq_raw"] or 0), int(fields["tcp.flags"] or "0", 16) & 255,
        ), name  # fmt: skip
        if fields["tcp.len"]:
            assert row.payload_bytes == int(fields["tcp.len"]), name
        seconds, _, rest = fields["frame.time_epoch"].partition(".")
        if seconds.isdecimal():
            assert time_ns == int(seconds) * 10**9 + int(rest.ljust(9, "0")), name


@pytest.mark.parametrize("name", PACKETS)
def test_every_snap_length_as_the_twin(name: str, tmp_path: Path) -> None:
    link = LINKS_OF[name][0]
    link_type, frame = LINKS[link]
    data = frame(bytes(PACKETS[name]))
    expected = [decode_plainly(data[:length], len(data), link_type) for length in range(len(data) + 1)]
    frames = [Frame(length, data[:length], len(data)) for length in range(len(data) + 1)]
    (tmp_path / "cut.pcap").write_bytes(pcap(frames, link_type))
    packets, trace = read_all(tmp_path / "cut.pcap")
    assert plain_rows(packets) == [row for row in expected if isinstance(row, Plain)]
    assert trace.skipped["cut_off"] == expected.count("cut_off") > 0


def test_four_bytes_of_tcp_are_enough_for_ports(tmp_path: Path) -> None:
    data = bytes(PACKETS["tcp"])
    (tmp_path / "cut.pcap").write_bytes(pcap([Frame(0, data[:24], len(data))], 101))
    (row,) = plain_rows(read_all(tmp_path / "cut.pcap")[0])
    assert (row.src_port, row.dst_port, row.ip_bytes) == (443, 50123, len(data))
    assert (row.payload_bytes, row.tcp_flags, row.tcp_seq) == (0, 0, 0)


def test_offloaded_segment_gets_its_length_from_the_record(tmp_path: Path) -> None:
    data = bytearray(LINKS["ethernet"][1](bytes(PACKETS["tcp"])))
    data[16:18] = b"\0\0"
    (tmp_path / "tso.pcap").write_bytes(pcap([Frame(0, bytes(data), 14 + 40_000)]))
    (row,) = plain_rows(read_all(tmp_path / "tso.pcap")[0])
    assert (row.ip_bytes, row.payload_bytes) == (40_000, 40_000 - 52)


def labelled(behind: bytes) -> bytes:
    return LINKS["ethernet"][1](b"\x45")[:12] + b"\x88\x47\0\x01\x41\x40" + behind


ARP = bytes.fromhex("0806 0001 0800 0604 0001") + bytes(20)
NOT_IP: dict[str, tuple[int, bytes]] = {
    "arp behind a label": (1, labelled(b"\x6c" + bytes(11) + ARP)),
    "arp behind a control word": (1, labelled(bytes(4) + b"\x6c" + bytes(11) + ARP)),
    "unknown frame that would be IPv6 beyond the wire": (
        1,
        labelled(bytes.fromhex("6c5e00005301 020000000001 ffff") + bytes(40)),
    ),
    "unknown frame that would be IPv4 beyond the wire": (
        1,
        labelled(bytes.fromhex("455e5e005301 020000000001 ffff") + bytes(40)),
    ),
    "associated channel of a pseudowire": (1, labelled(b"\x10\0\0\x21" + bytes(PACKETS["udp"]))),
    "spanning tree": (1, bytes.fromhex("0180c2000000 020000000001 0026 424203") + bytes(43)),
    "cisco discovery": (1, bytes.fromhex("01000ccccccc 020000000001 0040 aaaa03 00000c 2000") + bytes(56)),
    "pppoe control": (1, MACS + bytes.fromhex("8863 1109 0000 0004 01010000")),
    "pppoe link control": (1, MACS + bytes.fromhex("8864 1100 0001 0006 c021 0101 0004")),
    "encrypted 802.11": (105, b"\x08\x41" + bytes(22) + bytes(40)),
    "802.11 beacon": (105, b"\x80\x00" + bytes(22) + bytes(40)),
    "802.11 without data": (105, b"\x48\x01" + bytes(22)),
    "fddi station management": (10, b"\x41" + MACS + bytes(20)),
    "nflog of a bridge": (239, b"\x07\0\0\0" + b"\x18\0\x09\0" + bytes(20)),
}


@pytest.mark.parametrize("case", NOT_IP)
def test_no_ip_packet_is_invented(case: str, tmp_path: Path) -> None:
    link_type, data = NOT_IP[case]
    (tmp_path / "a.pcap").write_bytes(pcap([Frame(0, data)], link_type))
    packets, trace = read_all(tmp_path / "a.pcap")
    assert (len(packets), trace.skipped["not_ip"]) == (0, 1)


def test_jumbogram_keeps_its_length(tmp_path: Path) -> None:
    options = b"\x06\0\xc2\x04" + (100_000).to_bytes(4, "big")
    segment = bytes(TCP(sport=443, dport=5, seq=7, flags="A")) + b"x" * 50
    data = LINKS["ethernet"][1](bytes(IPv6(**SIX, nh=0, plen=0)) + options + segment)
    (tmp_path / "jumbo.pcap").write_bytes(pcap([Frame(0, data, 14 + 100_040), Frame(1, data)]))
    rows = plain_rows(read_all(tmp_path / "jumbo.pcap")[0])
    assert [(row.ip_bytes, row.payload_bytes, row.src_port) for row in rows] == [(100_040, 99_972, 443)] * 2


MUTABLE = sorted((name, link) for name in PACKETS for link in LINKS_OF[name])


@st.composite
def disturbed_frames(draw: st.DrawFn) -> tuple[int, list[Frame]]:
    """Frames of one link type: real ones with some bytes changed or cut, and random ones."""
    link_type = draw(st.sampled_from(sorted({number for number, _ in LINKS.values()})))
    worlds = [(name, link) for name, link in MUTABLE if LINKS[link][0] == link_type]
    frames = []
    for i in range(draw(st.integers(1, 12))):
        name, link = draw(st.sampled_from(worlds))
        data = bytearray(LINKS[link][1](bytes(PACKETS[name])))
        if draw(st.integers(0, 9)) == 0:
            data = bytearray(draw(st.binary(max_size=80)))
        for place, value in draw(st.lists(st.tuples(st.integers(0, 79), st.integers(0, 255)), max_size=4)):
            data[place : place + 1] = bytes([value])[: len(data) - place]
        cut = draw(st.integers(0, len(data))) if draw(st.booleans()) else len(data)
        on_wire = draw(st.sampled_from([len(data), cut, 0, 70_000]))
        frames.append(Frame(i, bytes(data[:cut]), on_wire))
    return link_type, frames


@settings(max_examples=300, deadline=None)
@given(disturbed_frames())
def test_kernel_equals_the_plain_twin(tmp_path_factory: pytest.TempPathFactory, world: tuple[int, list[Frame]]) -> None:
    link_type, frames = world
    path = tmp_path_factory.getbasetemp() / "disturbed.pcap"
    path.write_bytes(pcap(frames, link_type))
    packets, trace = read_all(path)
    expected = [decode_plainly(frame.data, frame.on_wire or 0, link_type) for frame in frames]
    assert plain_rows(packets) == [row for row in expected if isinstance(row, Plain)]
    for reason in ("not_ip", "cut_off", "malformed"):
        assert trace.skipped[reason] == expected.count(reason)
