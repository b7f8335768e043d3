"""Traffic of a live run: split by host it is the trace that it was, as frames that other tools find right."""

import importlib
import struct
from pathlib import Path

import numpy as np
import pytest
from mozart.errors import LiveError, SpecError
from mozart.live.evaluate import Evaluation
from mozart.live.frames import MARKER_NS, FrameWriter
from mozart.live.network import MTU
from mozart.live.report import LiveResult, tables
from mozart.live.traffic import LEAD_NS, left_out, parse, sites_of, split
from mozart.replay.vocabulary import load
from mozart.tasks import Spec
from mozart.tests.needs import need
from mozart.tests.needs import trace as real_trace
from mozart.topologies.catalogue import load as load_topology
from mozart.topologies.topology import Topology
from mozart.traces.packets import COLUMNS, PacketBatch, address_words, concatenate
from mozart.traces.reader import read
from mozart.traces.writer import PcapWriter

AUCKLAND, CAIDA = "auckland_20000125_87s.pcap.gz", "caida_nyc_20180315_0.024s.pcap.gz"
TASK = {
    "name": "all",
    "selector": {"event": "elephant", "at": "ingress-switch", "threshold_mbps": 1},
    "monitor": {"measure": "volume", "at": "path-switches"},
}
SYNTHETIC = {"synthetic": "caida-like", "duration_s": 2, "packets_per_s": 5000, "ipv6_share": 0.3, "seed": 3}


def spec_with(**traffic):
    return load({"topology": {"name": "b4"}, "traffic": traffic, "tasks": [TASK]})


def read_all(path: Path) -> tuple[PacketBatch, dict[str, int]]:
    with read(path) as trace:
        return concatenate([batch.copy() for batch in trace]), trace.skipped


def entering(spec: Spec, topology: Topology) -> tuple[PacketBatch, np.ndarray, np.ndarray]:
    """The packets that go from one host to another, by the reader and the sites alone."""
    batch, _ = read_all(Path((spec.traffic.trace or ())[0]))
    src, dst = sites_of(spec, topology).hosts_of(batch)
    keep = src != dst
    return batch[keep], src[keep], dst[keep]


@pytest.mark.parametrize("trace", [AUCKLAND, CAIDA], ids=["auckland", "caida"])
def test_the_files_of_all_hosts_hold_the_trace_packet_by_packet(trace, tmp_path):
    spec, topology = spec_with(trace=str(real_trace(trace))), load_topology("b4")
    traffic = split(spec, topology, tmp_path)
    batch, src, _ = entering(spec, topology)
    assert traffic.total == len(batch)
    assert traffic.cut == 0
    for number, host in enumerate(topology.hosts):
        expected = batch[src == number]
        found, skipped = read_all(traffic.files[host])
        assert skipped == {"not_ip": 1, "cut_off": 0, "malformed": 0, "out_of_order": 0}  # the marker is the one
        for name in COLUMNS:
            if name != "time_ns":
                np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=f"{host} {name}")
        stretched = (expected.time_ns - batch.time_ns[0]) / traffic.speed + MARKER_NS + LEAD_NS
        assert np.abs(found.time_ns - stretched).max() <= 1


def test_the_rate_is_kept_below_the_limit_or_the_speed_is_what_was_asked(tmp_path):
    spec, topology = spec_with(trace=str(real_trace(CAIDA))), load_topology("b4")
    slow = split(spec, topology, tmp_path / "slow", rate_pps=10_000)
    assert slow.total / slow.duration_s == pytest.approx(10_000, rel=0.01)
    assert slow.speed < 0.05
    fast = split(spec, topology, tmp_path / "fast", speed=0.5)
    assert fast.speed == 0.5
    assert fast.duration_s == pytest.approx(slow.duration_s * slow.speed / 0.5, rel=1e-6)
    cut_short = split(spec, topology, tmp_path / "short", duration_s=slow.duration_s / 2)
    assert cut_short.duration_s <= slow.duration_s / 2
    assert cut_short.total + cut_short.skipped["after_the_end"] >= slow.total
    assert 0.3 * slow.total < cut_short.total < 0.7 * slow.total


def test_scapy_finds_every_frame_right(tmp_path):
    """Lengths, addresses of the sites, and checksums, which scapy works out anew."""
    need("scapy")
    scapy = importlib.import_module("scapy.all")
    spec, topology = spec_with(**SYNTHETIC), load_topology("b4")
    traffic = split(spec, topology, tmp_path)
    frames = scapy.rdpcap(str(traffic.files["h7"]))
    assert frames[0].type == 0x88B5
    assert len(frames) == traffic.packets["h7"] + 1
    kinds = set()
    for frame in frames[1:400]:
        assert frame.src == "02:00:00:00:00:07"
        assert frame.dst.startswith("02:00:00:00:00:") and frame.dst != frame.src
        packet = frame.payload
        wire = bytes(frame)
        declared = packet.len if packet.name == "IP" else packet.plen + 40
        assert len(wire) == 14 + declared
        again = frame.copy()
        for layer in ("IP", "TCP", "UDP"):
            if layer in again:
                del again[layer].chksum
        assert bytes(again) == wire
        kinds.add((packet.name, packet.payload.name))
    assert len(kinds) >= 4  # IPv4 and IPv6, TCP and UDP


@pytest.mark.parametrize("batch_packets", [None, 1])
def test_fragments_of_one_datagram_can_be_put_together_again(tmp_path, monkeypatch, batch_packets):
    """Three datagrams, one of them between the fragments of another, and a last fragment without a first."""
    scapy = pytest.importorskip("scapy.all")
    monkeypatch.setattr("mozart.live.frames.HELD", 4 if batch_packets else 64)
    ends = {"src": "192.0.2.1", "dst": "198.51.100.77"}
    large = scapy.fragment(scapy.IP(id=7, **ends) / scapy.UDP(sport=5, dport=6) / bytes(4000), 1480)
    other = scapy.fragment(scapy.IP(id=8, src="192.0.2.1", dst="198.51.100.1") / scapy.UDP(sport=7) / bytes(1600), 1480)
    whole = scapy.IP(src="192.0.2.1", dst="198.51.100.9") / scapy.UDP(sport=9, dport=9) / bytes(8)
    alone = scapy.fragment(scapy.IP(src="192.0.2.1", dst="198.51.100.9", proto=6) / scapy.TCP() / bytes(1500), 800)[1:]
    six = (
        scapy.IPv6(src="2001:db8::1", dst="2001:db8::2") / scapy.IPv6ExtHdrFragment() / scapy.UDP(sport=3) / bytes(2400)
    )
    packets = [large[0], other[0], large[1], whole, other[1], large[2], *alone, *scapy.fragment6(six, 1280)]
    for number, packet in enumerate(packets):
        packet.time = 1 + number / 1000
    scapy.wrpcap(str(tmp_path / "in.pcap"), packets, linktype=101)
    prefixes = {"h1": ["192.0.2.0/24", "2001:db8::1/128"], "h2": ["198.51.100.0/24", "2001:db8::2/128"]}
    traffic = {"trace": str(tmp_path / "in.pcap"), "map": "prefix", "prefixes": prefixes}
    spec = load({"topology": {"name": "line", "n": 2}, "traffic": traffic, "tasks": [TASK]})
    if batch_packets:
        monkeypatch.setattr("mozart.live.frames.FrameWriter.write", one_by_one(FrameWriter.write))
    split(spec, load_topology("line", n=2), tmp_path)
    frames = [frame.payload for frame in scapy.rdpcap(str(tmp_path / "h1.pcap"))[1:]]
    four = [frame for frame in frames if frame.name == "IP"]
    numbers = [(frame.id, frame.frag, frame.flags.MF) for frame in four]
    (a, *_), (b, *_) = numbers[:2]
    assert a != b and 0 not in (a, b)
    assert numbers[:6] == [(a, 0, 1), (b, 0, 1), (a, 185, 1), (0, 0, 0), (b, 185, 0), (a, 370, 0)]
    assert numbers[6][0] not in (0, a, b) and numbers[6][1:] == (1, 0)
    for frame in four:
        again = frame.copy()
        del again.chksum
        assert bytes(again) == bytes(frame)
    together = {packet.id: packet for packet in scapy.defrag(scapy.PacketList(four[:-1]))[1]}
    for number, data in ((a, 4000), (b, 1600)):
        datagram = together[number]
        assert (datagram.frag, datagram[scapy.UDP].len) == (0, data + 8)
        again = scapy.IP(bytes(datagram))
        del again[scapy.UDP].chksum
        assert bytes(again[scapy.UDP]) == bytes(datagram[scapy.UDP])
    later = [frame[scapy.IPv6ExtHdrFragment] for frame in frames if frame.name == "IPv6"]
    assert [(each.offset, each.m) for each in later] == [(0, 1), (154, 0)] and later[0].id == later[1].id > 0
    read_back, _ = read_all(tmp_path / "h1.pcap")
    given, _ = read_all(tmp_path / "in.pcap")
    for name in COLUMNS:
        if name != "time_ns":
            np.testing.assert_array_equal(getattr(read_back, name), getattr(given, name), err_msg=name)


def one_by_one(write):
    """Give a writer its packets one at a time."""

    def single(self, batch, destination):
        for row in range(len(batch)):
            write(self, batch[row : row + 1], destination[row : row + 1])

    return single


def test_synthetic_traffic_says_what_it_left_out(tmp_path):
    spec, topology = spec_with(**SYNTHETIC), load_topology("b4")
    traffic = split(spec, topology, tmp_path)
    assert traffic.speed == 1.0
    assert traffic.skipped["same_site"] > 0
    assert traffic.skipped["impossible"] == 0
    assert traffic.total == sum(traffic.packets.values()) > 5000
    assert set(traffic.files) == set(topology.hosts)
    assert traffic.to_dict()["total"] == traffic.total


def trace_of(path: Path, ends: list[tuple[str, str]], **columns: list[int]) -> str:
    """Write a trace of packets of protocol 99, a second apart, with the given addresses."""
    words = [(address_words(a), address_words(b)) for a, b in ends]
    plain = {"protocol": [99] * len(ends), "ip_bytes": [60] * len(ends)} | columns
    times = [10**9 * (i + 1) for i in range(len(ends))]
    with PcapWriter(path) as writer:
        writer.write(PacketBatch.of(time_ns=times, src=[w[0] for w in words], dst=[w[1] for w in words], **plain))
    return str(path)


def test_prefixes_say_which_host_sends_and_other_packets_are_counted(tmp_path):
    prefixes = {"h1": ["192.0.2.0/24"], "h2": ["2001:db8::/32", "198.51.100.0/24"]}
    lost, local = ("192.0.2.1", "203.0.113.1"), ("192.0.2.1", "192.0.2.9")
    routed = [("192.0.2.1", "198.51.100.1"), ("198.51.100.1", "192.0.2.1")]
    topology = load_topology("line", n=2)

    def spec(ends):
        traffic = {"trace": trace_of(tmp_path / "x.pcap", ends), "map": "prefix", "prefixes": prefixes}
        return load({"topology": {"name": "line", "n": 2}, "traffic": traffic, "tasks": [TASK]})

    traffic = split(spec([lost, *routed, local, routed[0]]), topology, tmp_path)
    assert traffic.packets == {"h1": 2, "h2": 1}
    assert (traffic.skipped["same_site"], traffic.skipped["no_site"]) == (1, 1)
    with pytest.raises(SpecError, match="nothing would be sent"):
        split(spec([lost, local]), topology, tmp_path)


def test_long_packets_are_cut_to_the_mtu_and_counted(tmp_path):
    ends = [("192.0.2.1", "198.51.100.77")] * 2
    lengths = {"protocol": [6, 6], "ip_bytes": [40_000, 1500], "payload_bytes": [39_960, 1460]}
    spec = spec_with(trace=trace_of(tmp_path / "long.pcap", ends, **lengths))
    traffic = split(spec, load_topology("b4"), tmp_path)
    assert traffic.cut == 1
    found, _ = read_all(next(iter(traffic.files.values())))
    assert found.ip_bytes.tolist() == [MTU, 1500]
    assert found.payload_bytes.tolist() == [MTU - 40, 1460]


def test_all_files_begin_with_a_marker_at_the_same_time(tmp_path):
    for host in ("h1", "h300"):
        writer = FrameWriter(tmp_path / host, host)
        writer.close()
    for host, number in (("h1", b"\x00\x01"), ("h300", b"\x01\x2c")):
        content = (tmp_path / host).read_bytes()
        assert struct.unpack("<4I", content[24:40]) == (MARKER_NS // 10**9, 0, 60, 60)
        assert content[40:54] == 2 * (b"\x02\0\0\0" + number) + b"\x88\xb5"


@pytest.mark.parametrize("wrong", [{"rate_pps": 0}, {"speed": -1.0}, {"duration_s": float("inf")}])
def test_impossible_numbers_are_refused(wrong, tmp_path):
    with pytest.raises(SpecError, match="must be above 0"):
        split(spec_with(**SYNTHETIC), load_topology("b4"), tmp_path, **wrong)


def test_standard_input_is_refused(tmp_path):
    with pytest.raises(SpecError, match="reads its trace twice"):
        split(spec_with(trace="-"), load_topology("b4"), tmp_path)


def test_what_tcpreplay_prints_is_understood():
    text = (
        "Actual: 1201 packets (104020 bytes) sent in 4.99 seconds\nRated: 20845.6 Bps, 0.166 Mbps, 240.68 pps\n"
        "Statistics for network device: h1-eth0\n\tSuccessful packets:        1199\n\tFailed packets:            2\n"
    )
    assert parse(text) == type(parse(text))(1200, 2, 4.99)
    with pytest.raises(LiveError, match="did not say what it sent; it said: no such device"):
        parse("no such device\n")


def test_what_is_left_out_of_the_traffic_is_said(tmp_path):
    ethernet = bytes(12)
    ipv4 = bytes.fromhex("4500001c00000000401100000a0000010a00000200350035000800000000")[:28]
    frames = [
        ethernet + b"\x81\x00\x00\x05\x08\x00" + ipv4,
        ethernet + b"\x08\x00" + ipv4,
        ethernet + b"\x08\x06" + bytes(28),  # ARP
    ]
    records = b"".join(struct.pack("<IIII", 1 + i, 0, len(f), len(f)) + f for i, f in enumerate(frames))
    trace = tmp_path / "tagged.pcap"
    trace.write_bytes(bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000") + records)
    prefixes = {"h1": ["10.0.0.1/32"], "h2": ["10.0.0.2/32"]}
    traffic = {"trace": str(trace), "map": "prefix", "prefixes": prefixes}
    spec = load({"topology": {"name": "line", "n": 2}, "traffic": traffic, "tasks": [TASK]})
    found = split(spec, load_topology("line", n=2), tmp_path / "traffic")
    assert (found.total, found.vlan_tagged, found.skipped["not_ip"]) == (2, 1, 1)
    assert left_out(found.to_dict()) == ["not sent: not ip 1", "sent without their VLAN tags: 1 packets of the trace"]
    assert left_out({**found.to_dict(), "cut": 3, "vlan_tagged": 0, "skipped": {"same_site": 2}}) == [
        "not sent: same site 2",
        "cut to 9,000 bytes: 3 packets",
    ]
    evaluation = Evaluation(packets={"sent": 2, "delivered": 2, "tagged": 0, "arrived_tagged": 0})
    result = LiveResult(load_topology("line", n=2), evaluation, traffic=found.to_dict())
    assert "not sent: not ip 1" in map(str, tables(result))
