"""File formats: pcap and pcapng in all their variants, and what is refused."""

from __future__ import annotations

import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mozart.errors import TraceError
from mozart.tests.needs import needs
from mozart.tests.packet_worlds import (
    Frame,
    Pcapng,
    frames_of,
    pcap,
    plain_rows,
    read_all,
    read_until_damage,
    same,
    udp,
)
from mozart.traces.reader import read

FRAMES = frames_of(50)
TIMES = [frame.time_ns for frame in FRAMES]


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nanoseconds", [True, False])
def test_pcap_in_both_byte_orders_and_units(order: str, nanoseconds: bool, tmp_path: Path) -> None:
    packets, trace = read_all(write(tmp_path / "a.pcap", pcap(FRAMES, order=order, nanoseconds=nanoseconds)))
    assert packets.time_ns.tolist() == TIMES
    assert packets.src_port.tolist() == list(range(50))
    assert trace.bytes_read == (tmp_path / "a.pcap").stat().st_size


def test_captured_length_and_wire_length_differ(tmp_path: Path) -> None:
    packets, _ = read_all(write(tmp_path / "a.pcap", pcap([Frame(5, FRAMES[0].data[:60], 1500)])))
    assert packets.time_ns.tolist() == [5]


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_blocks_of_all_kinds(order: str, tmp_path: Path) -> None:
    file = Pcapng(order).section().interface().interface(101, resolution=9)
    file.packet(FRAMES[0].data, 1_000_000).block(5, bytes(20)).packet(udp(), 2_000_000_001, interface=1)
    file.old_packet(FRAMES[3].data, 3_000_000).block(0x0BAD, b"custom" * 3).simple_packet(FRAMES[4].data)
    packets, _ = read_all(write(tmp_path / "a.pcapng", file.data))
    assert packets.time_ns.tolist() == [10**9, 2 * 10**9 + 1, 3 * 10**9, 3 * 10**9]
    assert packets.src_port.tolist() == [0, 1000, 3, 4]


def test_sections_forget_interfaces_and_change_byte_order(tmp_path: Path) -> None:
    file = Pcapng().section("<").interface(resolution=9).packet(FRAMES[0].data, 1)
    file.section(">").interface(101, resolution=6).packet(udp(), 2)
    file.section("<").packet(udp(), 3)
    packets, message, _ = read_until_damage(write(tmp_path / "a.pcapng", file.data))
    assert packets.time_ns.tolist() == [1, 2000]
    assert "0 are described before it" in message


def test_simple_packet_is_cut_by_the_snap_length(tmp_path: Path) -> None:
    data = FRAMES[0].data[:34] + bytes(2)
    file = Pcapng().section().interface(snap=34).simple_packet(data, on_wire=1000)
    (row,) = plain_rows(read_all(write(tmp_path / "a.pcapng", file.data))[0])
    assert (row.src_port, row.protocol) == (0, 17)


def test_many_interfaces(tmp_path: Path) -> None:
    file = Pcapng().section()
    for number in range(40):
        file.interface(101, resolution=number % 10).packet(udp(), 7, interface=number)
    packets, trace = read_all(write(tmp_path / "a.pcapng", file.data), reorder_window_packets=100)
    assert sorted(packets.time_ns.tolist()) == sorted(7 * 10 ** (9 - number % 10) for number in range(40))
    assert trace.reordered > 0


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(0, 27) | st.integers(128, 191), st.integers(-(2**31), 2**31))
@example(2**64 - 1, 128 + 63, 0)
@example(2**63 + 12345, 128 + 34, 5)
@example(2**40 + 1, 128 + 20, -5)
@example(1_500_000_000_123_456_789, 9, 0)
def test_time_resolutions(tmp_path_factory: pytest.TempPathFactory, ticks: int, resolution: int, offset_s: int) -> None:
    unit = Fraction(1, 2 ** (resolution - 128)) if resolution >= 128 else Fraction(1, 10**resolution)
    expected = int(ticks * unit * 10**9) + offset_s * 10**9
    file = Pcapng().section().interface(101, resolution=resolution, offset_s=offset_s).packet(udp(), ticks)
    path = write(tmp_path_factory.getbasetemp() / "time.pcapng", file.data)
    packets, message, _ = read_until_damage(path)
    if -(2**63) <= expected < 2**63 and not message:
        assert packets.time_ns.tolist() == [expected]
    else:
        assert expected > 2**63 - 1 - 10**9 - max(0, -offset_s) * 10**9
        assert "byte" in message
        assert len(packets) == 0


def test_long_unknown_blocks_are_jumped_over(tmp_path: Path) -> None:
    file = Pcapng().section().interface(101).packet(udp(), 1).block(0x0BAD, bytes(5 << 20)).packet(udp(), 2)
    path = write(tmp_path / "a.pcapng", file.data)
    for block_bytes in (1 << 16, 1 << 20):
        packets, trace = read_all(path, block_bytes=block_bytes)
        assert packets.time_ns.tolist() == [1000, 2000]
        assert trace.bytes_read == len(file.data)
    packets, message, _ = read_until_damage(write(path, file.data[: 3 << 20]))
    assert len(packets) == 1
    begin = len(Pcapng().section().interface(101).packet(udp(), 1).data)
    assert f"ends at byte {3 << 20}, within the block that begins at byte {begin};" in message


def test_scapy_writes_what_we_read(tmp_path: Path) -> None:
    from scapy.layers.inet import IP, UDP
    from scapy.utils import PcapNgWriter

    with PcapNgWriter(str(tmp_path / "a.pcapng")) as out:
        for i in range(5):
            packet = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=i, dport=9)
            packet.time = 1000 + i
            out.write(packet)
    packets, _ = read_all(tmp_path / "a.pcapng")
    assert packets.time_ns.tolist() == [(1000 + i) * 10**9 for i in range(5)]
    assert packets.src_port.tolist() == [0, 1, 2, 3, 4]


def header(**changes: int) -> bytes:
    fields = {
        "magic": 0xA1B2C3D4,
        "major": 2,
        "minor": 4,
        "zone": 0,
        "digits": 0,
        "snap": 65535,
        "link": 1,
    } | changes
    return struct.pack("<IHHiIII", *fields.values())


REFUSED: dict[str, tuple[bytes, list[str]]] = {
    "empty": (b"", ["is empty", "pcap or pcapng"]),
    "two bytes": (b"\xa1\xb2", ["has only 2 bytes"]),
    "unknown magic": (b"hello world", ["68 65 6c 6c", "byte 0", "editcap"]),
    "modified pcap": (header(magic=0xA1B2CD34), ["modified pcap", "editcap"]),
    "cut header": (header()[:20], ["byte 20", "24 bytes"]),
    "old version": (header(major=1), ["version 1.4", "byte 4"]),
    "link type of pcap": (header(link=189), ["link type 189", "276 (Linux cooked 2)", "tshark"]),
    "link type of pcapng": (
        Pcapng().section().interface(6).interface(189).packet(b"usb", 1, interface=1).packet(b"ring", 2).data,
        ["link type 189", "interface 1", "byte 68"],
    ),
    "impossible length": (header() + struct.pack("<IIII", 0, 0, 10**6, 10**6), ["byte 24", "262144"]),
    "cut packet header": (header() + bytes(10), ["ends at byte 34", "begins at byte 24"]),
    "cut packet": (pcap(FRAMES[:1])[:-1], ["begins at byte 24"]),
    "cut section": (Pcapng().section().data[:9], ["ends at byte 9"]),
    "cut section body": (Pcapng().section().data[:20], ["ends at byte 20", "begins at byte 0"]),
    "no byte order": (b"\x0a\x0d\x0d\x0a" + bytes(24), ["byte 0", "1a2b3c4d"]),
    "pcapng 2": (Pcapng().section().data[:12] + b"\2\0" + Pcapng().section().data[14:], ["version 2.0"]),
    "short block": (Pcapng().section().data + struct.pack("<III", 6, 8, 8), ["byte 28", "length of 8"]),
    "odd block": (
        Pcapng().section().data + struct.pack("<III", 9, 13, 13) + b"\0",
        ["byte 28", "length of 13"],
    ),
    "long packet block": (
        Pcapng().section().data + struct.pack("<III", 6, 1 << 21, 0),
        ["byte 28", "2097152"],
    ),
    "two lengths": (Pcapng().section().data + struct.pack("<III", 9, 12, 16), ["byte 28", "by its last"]),
    "no interface": (Pcapng().section().packet(b"", 0).data, ["byte 28", "0 are described"]),
    "captured too much": (
        Pcapng().section().interface().block(6, struct.pack("<IIIII", 0, 0, 0, 5, 5)).data,
        ["byte 48", "more captured bytes"],
    ),
    "late time": (Pcapng().section().interface().packet(b"", 2**64 - 1).data, ["byte 48", "2262"]),
    "absurd unit": (Pcapng().section().interface(resolution=99).data, ["byte 28", "10^-99 s"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_named(case: str, tmp_path: Path) -> None:
    data, texts = REFUSED[case]
    path = write(tmp_path / "bad", data)
    with pytest.raises(TraceError) as caught, read(path) as trace:
        list(trace)
    for text in (str(path), *texts):
        assert text in str(caught.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"none\.pcap: there is no such file"):
        read(tmp_path / "none.pcap")
    with pytest.raises(TraceError, match="no file matches"):
        read(str(tmp_path / "*.pcap"))
    with pytest.raises(TraceError, match="directory"):
        list(read(tmp_path))
    with pytest.raises(TraceError, match="no trace given"):
        read()


def test_unused_interface_of_another_link_type_does_no_harm(tmp_path: Path) -> None:
    file = Pcapng().section().interface(189).interface(101).packet(udp(), 1, interface=1)
    packets, _ = read_all(write(tmp_path / "a.pcapng", file.data))
    assert len(packets) == 1


def test_packets_of_another_link_type_are_not_ip(tmp_path: Path) -> None:
    file = Pcapng().section().interface(189).packet(b"usb", 1).interface(101).packet(udp(), 2, interface=1)
    file.packet(b"usb", 3).section().interface(6).packet(b"token ring", 4)
    packets, trace = read_all(write(tmp_path / "a.pcapng", file.data))
    assert (packets.time_ns.tolist(), trace.skipped["not_ip"]) == ([2000], 3)


@pytest.mark.parametrize(("major", "minor"), [(2, 2), (2, 3), (543, 0)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_old_versions_have_the_two_lengths_in_either_order(major: int, minor: int, order: str, tmp_path: Path) -> None:
    data = pcap([Frame(5, FRAMES[0].data[:44], 1500), Frame(6, FRAMES[1].data, 1600)], order=order)
    first = 24 + 8
    old = bytearray(data)
    old[4:8] = struct.pack(order + "HH", major, minor)
    old[first : first + 8] = old[first + 4 : first + 8] + old[first : first + 4]
    packets, trace = read_all(write(tmp_path / "a.pcap", bytes(old)))
    assert plain_rows(packets) == plain_rows(read_all(write(tmp_path / "b.pcap", data))[0])
    assert not any(trace.skipped.values())


@pytest.mark.parametrize("second", ["pcap", "other byte order", "pcapng"])
@pytest.mark.parametrize("first", ["pcap", "pcapng"])
def test_files_joined_with_cat_are_named_as_that(first: str, second: str, tmp_path: Path) -> None:
    ngs = Pcapng().section().interface().packet(FRAMES[0].data, 1).data
    kinds = {"pcap": pcap(FRAMES[:1]), "other byte order": pcap(FRAMES, order=">"), "pcapng": ngs}
    path = write(tmp_path / "a", kinds[first] + kinds[second])
    packets, message, skipped = read_until_damage(path)
    if first == second == "pcapng":  # that is what sections are for
        assert (len(packets), message) == (2, "")
        return
    kind = "pcapng" if second == "pcapng" else "pcap"
    assert f"a second {kind} file begins at byte {len(kinds[first])}: traces were joined with cat" in message
    assert len(packets) == 1 and not any(skipped.values())


def test_empty_packet_of_2055_is_no_file(tmp_path: Path) -> None:
    data = pcap(FRAMES[:1]) + struct.pack("<IIII", 0xA1B2C3D4, 5, 0, 0) + pcap(FRAMES[1:2])[24:]
    packets, trace = read_all(write(tmp_path / "a.pcap", data), reorder_window_packets=5)
    assert (len(packets), trace.skipped["malformed"]) == (2, 1)


def converted(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@needs("tshark")
@pytest.mark.parametrize("case", ["modified pcap", "another format", "joined"])
def test_hint_of_an_error_leads_to_the_packets(case: str, tmp_path: Path) -> None:
    bad, good, sound = tmp_path / "bad", tmp_path / "good", write(tmp_path / "sound", pcap(FRAMES, nanoseconds=False))
    if case == "modified pcap":
        records = b"".join(
            struct.pack("<IIIIIHBB", *divmod(f.time_ns // 1000, 10**6), len(f.data), len(f.data), 1, 0x0800, 0, 0)
            + f.data
            for f in FRAMES
        )
        write(bad, header(magic=0xA1B2CD34) + records)
    elif case == "another format":
        converted("editcap", "-F", "netmon2", str(sound), str(bad))
    else:
        write(bad, pcap(FRAMES[:20]) + pcap(FRAMES[20:]))
    message = read_until_damage(bad)[1]
    if case == "joined":
        assert "mergecap -w OUT.pcapng FILE FILE" in message
        parts = [str(write(tmp_path / name, pcap(part))) for name, part in (("1", FRAMES[:20]), ("2", FRAMES[20:]))]
        converted("mergecap", "-w", str(good), *parts)
    else:
        assert "editcap -F pcap TRACE OUT.pcap" in message
        converted("editcap", "-F", "pcap", str(bad), str(good))
    assert plain_rows(read_all(good)[0]) == plain_rows(read_all(sound)[0])


@needs("tshark")
def test_hint_on_a_link_type_leads_to_the_packets(tmp_path: Path) -> None:
    ring = bytes.fromhex("1040 020000000002 020000000001 aaaa03 000000 0800")
    bad = write(tmp_path / "ring.pcap", pcap([Frame(f.time_ns, ring + f.data[14:]) for f in FRAMES], 6))
    assert "tshark -r TRACE -U IP -w OUT.pcapng" in read_until_damage(bad)[1]
    converted("tshark", "-r", str(bad), "-U", "IP", "-w", str(tmp_path / "good"))
    sound = write(tmp_path / "sound", pcap(FRAMES))
    assert plain_rows(read_all(tmp_path / "good")[0]) == plain_rows(read_all(sound)[0])


@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
def test_blocks_may_be_cut_anywhere(kind: str, tmp_path: Path) -> None:
    if kind == "pcap":
        data = pcap(frames_of(6))
    else:
        file = Pcapng().section().interface(resolution=9).interface(101, resolution=9)
        for i, frame in enumerate(frames_of(3)):
            file.packet(frame.data, frame.time_ns).block(77, bytes(i * 9)).packet(udp(), frame.time_ns, interface=1)
        data = file.data
    path = write(tmp_path / "a", data)
    whole, _ = read_all(path)
    assert len(whole) == 6
    for block_bytes in range(1, len(data) + 1):
        parts, _ = read_all(path, block_bytes=block_bytes)
        assert same(parts, whole), block_bytes


def test_standard_input(tmp_path: Path) -> None:
    script = (
        "from mozart.traces.reader import read\n"
        "with read('-') as trace:\n"
        "    print(sum(len(batch) for batch in trace), trace.bytes_read)"
    )
    data = pcap(FRAMES)
    done = subprocess.run([sys.executable, "-c", script], input=data, capture_output=True, check=True)
    assert done.stdout.split() == [b"50", str(len(data)).encode()]


def test_batches_have_the_size_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", pcap(frames_of(1000)))
    with read(path, batch_packets=64, reorder_window_packets=10) as trace:
        sizes = [len(batch) for batch in trace]
    assert sizes == [64] * 15 + [40]
    assert np.sum(sizes) == trace.packets == 1000
