"""Pcap files written from columns: other tools understand them, and the reader gives the columns back."""

import importlib
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mozart.errors import TraceError
from mozart.tests.needs import need
from mozart.tests.needs import trace as real_trace
from mozart.traces.packets import COLUMNS, PacketBatch, address_words, concatenate
from mozart.traces.reader import read
from mozart.traces.writer import PcapWriter

TRANSPORT_BYTES = {6: 20, 17: 8, 132: 12}
SECOND_NS = 1_000_000_000


def packet(**columns: Any) -> PacketBatch:
    """Make one packet: if not said otherwise, TCP with 100 bytes of payload over IPv4."""
    plain = {
        "time_ns": 7 * SECOND_NS + 5,
        "src": address_words("192.0.2.1"),
        "dst": address_words("198.51.100.2"),
        "src_port": 1000,
        "dst_port": 80,
        "protocol": 6,
        "ip_bytes": 140,
        "payload_bytes": 100,
        "tcp_flags": 24,
        "tcp_seq": 4_000_000_000,
        "dscp": 46,
    }
    return PacketBatch.of(**{name: [value] for name, value in (plain | columns).items()})


def write(path: Path, batch: PacketBatch) -> Path:
    with PcapWriter(path) as writer:
        writer.write(batch)
    return path


def read_all(path: Path) -> PacketBatch:
    with read(path) as trace:
        batches = [batch.copy() for batch in trace]
        assert not any(trace.skipped.values())
    return concatenate(batches)


def assert_same(found: PacketBatch, expected: PacketBatch) -> None:
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


V6 = {"src": address_words("2001:db8::1"), "dst": address_words("2001:db8::2")}
CASES = {
    "plain TCP": packet(),
    "TCP with 12 bytes of options": packet(ip_bytes=152),
    "TCP with options of TCP and IPv4": packet(ip_bytes=140 + 40 + 24),
    "UDP": packet(protocol=17, ip_bytes=128, tcp_flags=0, tcp_seq=0),
    "UDP behind IPv4 options": packet(protocol=17, ip_bytes=132, tcp_flags=0, tcp_seq=0),
    "SCTP": packet(protocol=132, ip_bytes=132, tcp_flags=0, tcp_seq=0),
    "ICMP": packet(protocol=1, src_port=0, dst_port=0, payload_bytes=0, tcp_flags=0, tcp_seq=0),
    "GRE": packet(protocol=47, src_port=0, dst_port=0, payload_bytes=0, tcp_flags=0, tcp_seq=0),
    "IP header only": packet(
        protocol=1, src_port=0, dst_port=0, ip_bytes=20, payload_bytes=0, tcp_flags=0, tcp_seq=0
    ),
    "later fragment of UDP": packet(
        protocol=17, src_port=0, dst_port=0, ip_bytes=1500, payload_bytes=0, tcp_flags=0, tcp_seq=0
    ),
    "TCP cut behind its ports": packet(ip_bytes=1500, payload_bytes=0, tcp_flags=0, tcp_seq=0),
    "TCP with a wrong offset": packet(ip_bytes=1500, payload_bytes=0),
    "offloaded segment beyond 65,535 bytes": packet(ip_bytes=70_000, payload_bytes=69_960),
    "IPv6 TCP": packet(**V6, ip_bytes=160),
    "IPv6 TCP with options": packet(**V6, ip_bytes=172),
    "IPv6 TCP behind an extension header, with options": packet(**V6, ip_bytes=160 + 44),
    "IPv6 UDP behind an extension header": packet(**V6, protocol=17, ip_bytes=156, tcp_flags=0, tcp_seq=0),
    "IPv6 UDP behind an authentication header": packet(
        **V6, protocol=17, ip_bytes=160, tcp_flags=0, tcp_seq=0
    ),
    "IPv6 later fragment": packet(
        **V6, protocol=17, src_port=0, dst_port=0, ip_bytes=1500, payload_bytes=0, tcp_flags=0, tcp_seq=0
    ),
    "IPv6 ICMP": packet(**V6, protocol=58, src_port=0, dst_port=0, payload_bytes=0, tcp_flags=0, tcp_seq=0),
    "IPv6 jumbogram": packet(**V6, ip_bytes=100_000, payload_bytes=99_940),
    "first moment of pcap": packet(time_ns=0),
    "last moment of pcap": packet(time_ns=(SECOND_NS << 32) - 1),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_reader_gives_back_every_column(name, tmp_path):
    assert_same(read_all(write(tmp_path / "x.pcap", CASES[name])), CASES[name])


@st.composite
def packets(draw: Any) -> PacketBatch:
    """A packet as networks have it: any addresses, ports, flags, and options of whole words."""
    if draw(st.booleans()):
        low = st.integers(0, 2**32 - 1).map(lambda address: (0, 0xFFFF << 32 | address))
        header = 20 + draw(st.integers(0, 10)) * 4
    else:
        low = st.tuples(st.integers(1, 2**64 - 1), st.integers(0, 2**64 - 1))
        header = 40 + draw(st.integers(0, 30)) * 8
    protocol = draw(st.sampled_from([6, 6, 17, 132, 1, 58, 47]))
    has_ports = protocol in TRANSPORT_BYTES
    is_tcp = protocol == 6
    payload = draw(st.integers(0, 1400))
    options = draw(st.integers(0, 10)) * 4 if is_tcp else 0
    port = st.integers(0, 65535 if has_ports else 0)
    return packet(
        time_ns=draw(st.integers(0, 2**60)),
        src=draw(low),
        dst=draw(low),
        src_port=draw(port),
        dst_port=draw(port),
        protocol=protocol,
        ip_bytes=header + TRANSPORT_BYTES.get(protocol, 0) + options + payload,
        payload_bytes=payload if has_ports else 0,
        tcp_flags=draw(st.integers(0, 255 if is_tcp else 0)),
        tcp_seq=draw(st.integers(0, 2**32 - 1 if is_tcp else 0)),
        dscp=draw(st.integers(0, 63)),
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(packets(), min_size=1, max_size=20))
def test_any_packets_come_back(tmp_path_factory, drawn):
    batch = concatenate(sorted(drawn, key=lambda one: int(one.time_ns[0])))
    path = tmp_path_factory.mktemp("any") / "x.pcap"
    assert_same(read_all(write(path, batch)), batch)


@pytest.mark.parametrize("name", ["auckland_20000125_87s.pcap.gz", "caida_nyc_20180315_0.024s.pcap.gz"])
def test_real_traces_come_back(name, tmp_path):
    with read(real_trace(name)) as trace:
        batch = concatenate([batch.copy() for batch in trace])
    assert_same(read_all(write(tmp_path / "x.pcap.zst", batch)), batch)


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".xz"])
def test_the_suffix_says_the_compression_and_the_bytes_are_the_same_each_time(suffix, tmp_path):
    batch = concatenate([CASES["plain TCP"]] * 1000)
    first = write(tmp_path / f"a.pcap{suffix}", batch)
    second = write(tmp_path / f"b.pcap{suffix}", batch)
    assert_same(read_all(first), batch)
    assert first.read_bytes() == second.read_bytes()
    assert (first.stat().st_size < 20_000) == bool(suffix)


def test_more_packets_than_the_buffer_holds_are_all_written(tmp_path):
    batch = concatenate([CASES["plain TCP"], CASES["IPv6 UDP behind an extension header"]] * 20_000)
    assert_same(read_all(write(tmp_path / "x.pcap", batch)), batch)


def test_scapy_reads_the_same_fields_and_right_checksums(tmp_path):
    need("scapy")
    scapy = importlib.import_module("scapy.all")
    names = [
        "plain TCP",
        "TCP with options of TCP and IPv4",
        "UDP",
        "IPv6 TCP",
        "IPv6 UDP behind an extension header",
    ]
    batch = concatenate([CASES[name] for name in names])
    read_by_scapy = scapy.rdpcap(str(write(tmp_path / "x.pcap", batch)))
    for i, found in enumerate(read_by_scapy):
        transport = found.getlayer("TCP") or found.getlayer("UDP")
        assert (transport.sport, transport.dport) == (1000, 80)
        assert found.wirelen == batch.ip_bytes[i]
        assert round(found.time * SECOND_NS) == batch.time_ns[i]
        if found.version == 4:
            assert (found.src, found.dst, found.tos >> 2) == ("192.0.2.1", "198.51.100.2", 46)
            assert found.len == batch.ip_bytes[i]
            written = found.chksum
            del found.chksum
            assert scapy.IP(bytes(found)).chksum == written
        else:
            assert (found.src, found.dst, found.tc >> 2) == ("2001:db8::1", "2001:db8::2", 46)
        if found.haslayer("TCP"):
            assert (int(transport.flags), transport.seq) == (24, 4_000_000_000)
    assert len(read_by_scapy) == len(names)


def test_the_file_holds_headers_only_and_says_how_long_the_packets_were(tmp_path):
    data = write(tmp_path / "x.pcap", packet()).read_bytes()
    assert struct.unpack("=IHHiIII", data[:24]) == (0xA1B23C4D, 2, 4, 0, 0, 65535, 101)
    assert struct.unpack("=IIII", data[24:40]) == (7, 5, 40, 140)
    assert len(data) == 24 + 16 + 40


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"ip_bytes": 19}, "an IP length of 19 bytes"),
        ({"ip_bytes": 120}, "an IP length of 120 bytes with 100 bytes of payload"),
        ({"time_ns": -1}, "time -1 ns"),
        ({"time_ns": SECOND_NS << 32}, "1970 to 2106"),
    ],
)
def test_what_no_packet_can_be_is_refused_by_its_number(columns, message, tmp_path):
    with pytest.raises(TraceError) as refused, PcapWriter(tmp_path / "x.pcap") as writer:
        writer.write(concatenate([packet(), packet(**columns)]))
    assert message in str(refused.value)
    assert "packet 2 (192.0.2.1 to 198.51.100.2, protocol 6" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_writer_leaves_nothing_and_keeps_the_older_file(tmp_path):
    older = write(tmp_path / "x.pcap", packet())
    before = older.read_bytes()
    with pytest.raises(KeyboardInterrupt), PcapWriter(older) as writer:
        writer.write(concatenate([packet()] * 50))
        raise KeyboardInterrupt
    assert older.read_bytes() == before
    assert list(tmp_path.iterdir()) == [older]


def test_a_pipe_is_written_through_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe.pcap"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        write(pipe, packet())
        data, _ = reader.communicate()
    assert len(data) == 24 + 16 + 40
    assert pipe.is_fifo()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(TraceError, match=r"nowhere/x\.pcap: cannot be written: No such file"):
        PcapWriter(tmp_path / "nowhere" / "x.pcap")


FULL_DISK = """
import resource, signal, sys
from mozart.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("suffix", ["pcap", "pcap.gz", "pcap.zst", "pcap.xz", "parquet"])
@pytest.mark.parametrize("packets", [3_000, 300_000])
def test_a_full_disk_leaves_nothing_and_the_message_names_the_file(suffix, packets, tmp_path):
    random = np.random.default_rng(1)
    words = random.integers(0, 2**32, (packets, 2), np.uint64)
    source = write(tmp_path / "in.pcap", PacketBatch.of(
        time_ns=np.arange(packets), src=np.stack([words[:, 0], words[:, 1]], axis=1), ip_bytes=np.full(packets, 40),
    ))  # fmt: skip
    out = tmp_path / "out" / f"x.{suffix}"
    out.parent.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, "trace", "convert", source, out], capture_output=True, text=True
    )
    assert done.stderr == f"mozart: {out}: cannot be written: File too large\n"
    assert (done.returncode, done.stdout) == (1, "")
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1"])
def test_a_pipe_may_be_named_by_the_link_that_stands_for_it(name, tmp_path):
    source = write(tmp_path / "in.pcap", packet())
    command = [sys.executable, "-m", "mozart.cli", "trace", "convert", source, name]
    done = subprocess.run(command, capture_output=True)
    assert (done.returncode, done.stdout) == (0, source.read_bytes()), done.stderr
