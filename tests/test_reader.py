"""The trace reader as its users see it: real traces, several files, time order, compression, damage."""

from __future__ import annotations

import gzip
import lzma
import re
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from mozart.tests.needs import trace as real_trace
from mozart.tests.packet_worlds import (
    Frame,
    Pcapng,
    frames_of,
    pcap,
    read_all,
    read_until_damage,
    same,
    udp,
)
from mozart.traces.compression import PIECE_BYTES
from mozart.traces.flows import FlowTable
from mozart.traces.keys import FlowHash
from mozart.traces.packets import PacketBatch
from mozart.traces.reader import read
from mozart.traces.writer import PcapWriter

COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": lambda data: gzip.compress(data[:3000]) + gzip.compress(data[3000:]),
    "zstd": lambda data: zstd(data[:3000]) + b"\x51\x2a\x4d\x18\x03\0\0\0abc" + zstd(data[3000:], checksum=True),
    "xz": lambda data: lzma.compress(data[:3000]) + lzma.compress(data[3000:]),
}


def zstd(data: bytes, checksum: bool = False) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=checksum).compress(data)


@pytest.mark.parametrize(
    ("name", "packets", "flows", "duration_s"),
    [
        ("auckland_20000125_87s.pcap.gz", 31_249, 2_580, 87.5),
        ("caida_nyc_20180315_0.024s.pcap.gz", 10_000, 3_149, 0.024),
    ],
)
def test_real_traces_have_their_published_counts(name: str, packets: int, flows: int, duration_s: float) -> None:
    table = FlowTable(FlowHash.seeded(1))
    with read(real_trace(name)) as trace:
        times = []
        for batch in trace:
            table.add(batch)
            times += [batch.time_ns[0], batch.time_ns[-1]]
        assert (trace.packets, len(table)) == (packets, flows)
        assert not any(trace.skipped.values())
    assert (times[-1] - times[0]) / 1e9 == pytest.approx(duration_s, rel=0.03)


def test_files_in_the_order_given_and_patterns_sorted(tmp_path: Path) -> None:
    frames = frames_of(30)
    names = ["minute-0.pcap", "minute-1.pcap.gz", "minute-2.pcap"]
    total = 0
    for i, name in enumerate(names):
        data = pcap(frames[10 * i : 10 * i + 10])
        total += len(data)
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    expected = [frame.time_ns for frame in frames]
    for paths in ([tmp_path / name for name in names], [str(tmp_path / "minute-*")]):
        with read(*paths) as trace:
            assert [time for batch in trace for time in batch.time_ns.tolist()] == expected
            assert trace.bytes_read == total


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "a[1].pcap").write_bytes(pcap(frames_of(3)))
    assert len(read_all(tmp_path / "a[1].pcap")[0]) == 3
    with read(tmp_path / "a[1].pcap") as trace:
        assert [len(batch) for batch in trace] == [3]


def test_batches_are_reused_and_copies_stay(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(pcap(frames_of(20)))
    with read(tmp_path / "a.pcap", batch_packets=10, reorder_window_packets=0) as trace:
        first = next(trace)
        kept = first.copy()
        next(trace)
        assert first.src_port[0] == 10
        assert kept.src_port.tolist() == list(range(10))


def test_leaving_early_ends_the_thread(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(pcap(frames_of(60_000)))
    with read(tmp_path / "a.pcap", batch_packets=10) as trace:
        next(trace)
        (thread,) = [t for t in threading.enumerate() if "a.pcap" in t.name]
    assert not thread.is_alive()
    assert list(trace) == []


def sorted_plainly(times: list[int], window: int) -> tuple[list[tuple[int, int]], int, int]:
    """Keep the last `window` packets and give out the earliest whenever there are more, one packet at a time.

    Returns ([(time, number)], packets put before others, packets that came too late).
    """
    kept: list[tuple[int, int]] = []
    given: list[tuple[int, int]] = []
    moved = late = 0
    for number, time in enumerate(times):
        if given and time < given[-1][0]:
            late += 1
            continue
        moved += any(time < other for other, _ in kept)
        kept = sorted([*kept, (time, number)])
        if len(kept) > window:
            given.append(kept.pop(0))
    return given + kept, moved, late


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(0, 60), max_size=120).map(lambda gaps: [i + gap for i, gap in enumerate(gaps)]),
    st.integers(0, 20),
    st.integers(1, 50),
)
def test_time_order_is_mended_within_the_window(
    tmp_path_factory: pytest.TempPathFactory, times: list[int], window: int, batch_packets: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "disordered.pcap"
    path.write_bytes(pcap([Frame(time, udp(ports=(i, 1))) for i, time in enumerate(times)], 101))
    packets, trace = read_all(path, batch_packets=batch_packets, reorder_window_packets=window)
    expected, moved, late = sorted_plainly(times, window)
    assert list(zip(packets.time_ns.tolist(), packets.src_port.tolist(), strict=True)) == expected
    assert (trace.reordered, trace.skipped["out_of_order"]) == (moved, late)
    assert trace.packets == len(packets)


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_compression_is_known_by_its_first_bytes(kind: str, tmp_path: Path) -> None:
    data = pcap(frames_of(200))
    (tmp_path / "trace").write_bytes(COMPRESSIONS[kind](data))
    packets, trace = read_all(tmp_path / "trace")
    assert packets.src_port.tolist() == list(range(200))
    assert trace.bytes_read == len(data)


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_a_truncated_file_gives_what_is_before(kind: str, tmp_path: Path) -> None:
    frames = frames_of(60)
    data = COMPRESSIONS[kind](pcap(frames))
    path = tmp_path / "trace"
    counts = []
    for length in [*range(1, len(data), 97), len(data) - 1]:
        path.write_bytes(data[:length])
        packets, message, _ = read_until_damage(path)
        assert packets.time_ns.tolist() == [frame.time_ns for frame in frames[: len(packets)]]
        between_packets = kind == "plain" and packets_end_at(frames, len(packets)) == length
        assert str(path) in message or between_packets, length
        counts.append(len(packets))
    assert counts == sorted(counts)
    assert counts[-1] >= 59


def packets_end_at(frames: list[Frame], count: int) -> int:
    return len(pcap(frames[:count]))


DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "xz": lzma.LZMADecompressor,
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
}
LONG = frames_of(4000)
LONG_PRESSED = {
    "gzip": gzip.compress(pcap(LONG)),
    "xz": lzma.compress(pcap(LONG)),
    "zstd": zstd(pcap(LONG), checksum=True),
}


def decompressed_byte_by_byte(kind: str, data: bytes) -> bytes:
    decompressor, plain = DECOMPRESSORS[kind](), b""
    for value in data:
        plain += decompressor.decompress(bytes([value]))
    return plain


@pytest.mark.parametrize("kind", DECOMPRESSORS)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.97, 0.9999])
def test_damage_within_compressed_data_loses_nothing_before_it(kind: str, share: float, tmp_path: Path) -> None:
    data = bytearray(LONG_PRESSED[kind])
    place = 40 + int(share * (len(data) - 41))
    path = tmp_path / "trace"
    path.write_bytes(decompressed_byte_by_byte(kind, bytes(data[:place])))
    before, _, _ = read_until_damage(path)
    data[place:] = bytes(value ^ 0xFF for value in data[place:])
    path.write_bytes(data)
    packets, message, _ = read_until_damage(path)
    assert set(before.time_ns.tolist()) <= set(packets.time_ns.tolist())
    assert len(before) > 4000 * share - 2500  # zstd gives whole blocks only
    assert str(path) in message


@pytest.mark.parametrize("kind", DECOMPRESSORS)
def test_a_wrong_checksum_comes_behind_all_packets(kind: str, tmp_path: Path) -> None:
    data = bytearray(LONG_PRESSED[kind])
    place = len(data) - {"gzip": 8, "zstd": 4, "xz": 28}[kind]
    data[place] ^= 0xFF
    (tmp_path / "trace").write_bytes(data)
    packets, message, _ = read_until_damage(tmp_path / "trace")
    assert len(packets) == len(LONG)
    at = int(re.findall(r"at byte (\d+)", message)[0])
    assert abs(at - place) <= 8


@pytest.mark.parametrize("kind", DECOMPRESSORS)
def test_junk_behind_the_end_comes_behind_all_packets(kind: str, tmp_path: Path) -> None:
    (tmp_path / "trace").write_bytes(LONG_PRESSED[kind] + b"junk behind the end")
    packets, message, _ = read_until_damage(tmp_path / "trace")
    assert len(packets) == len(LONG)
    assert f"at byte {len(LONG_PRESSED[kind])}" in message or kind != "zstd"
    assert str(tmp_path / "trace") in message


def test_damage_in_a_file_on_standard_input_and_in_a_pipe(tmp_path: Path) -> None:
    data = bytearray(LONG_PRESSED["gzip"])
    data[-8] ^= 0xFF
    (tmp_path / "trace").write_bytes(data)
    program = "from mozart.tests.packet_worlds import read_until_damage as r; p, m, _ = r('-'); print(len(p), m)"
    for command in ("exec $0 -c '$1' < $2", "cat $2 | $0 -c '$1'"):
        words = command.replace("'$1'", '"$1"')
        run = ["sh", "-c", words, sys.executable, program, str(tmp_path / "trace")]
        out = subprocess.run(run, capture_output=True, text=True, check=True).stdout
        count, _, message = out.partition(" ")
        assert message.startswith("standard input: the gzip data is damaged")
        in_a_piece = PIECE_BYTES // (packets_end_at(LONG, 1) - packets_end_at(LONG, 0))
        assert int(count) >= len(LONG) - (in_a_piece + 1 if "cat" in command else 0)


def worlds() -> dict[str, bytes]:
    ng = Pcapng().section().interface(resolution=9).interface(101)
    for frame in frames_of(8):
        ng.packet(frame.data, frame.time_ns).packet(udp(), frame.time_ns // 1000, interface=1)
    return {
        "pcap": pcap(frames_of(16)),
        "pcapng": ng.data,
        "gzip": gzip.compress(ng.data),
        "zstd": zstd(ng.data),
        "xz": lzma.compress(ng.data),
    }


WORLDS = worlds()


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(WORLDS)),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4), st.booleans()), min_size=1, max_size=4),
    st.floats(0, 1),
)
def test_mutated_files_give_a_prefix_and_never_crash(
    tmp_path_factory: pytest.TempPathFactory,
    world: str,
    changes: list[tuple[float, bytes, bool]],
    length: float,
) -> None:
    """Every mutated file ends, with the packets before the damage, alike however it is cut into blocks."""
    original = WORLDS[world]
    data, first = bytearray(original), len(original)
    for place, value, insert in changes:
        at = int(place * len(data))
        data[at : at if insert else at + len(value)] = value
        first = min(first, at)
    data = data[: max(first, int(length * len(data)))]
    path = tmp_path_factory.getbasetemp() / "mutated"
    path.write_bytes(data)
    packets, message, skipped = read_until_damage(path)
    again = read_until_damage(path, block_bytes=37)
    assert same(packets, again[0])
    assert (message, skipped) == again[1:]
    assert len(packets) + sum(skipped.values()) <= 20
    path.write_bytes(original[:first])
    before, _, _ = read_until_damage(path)
    assert set(before.time_ns.tolist()) <= set(packets.time_ns.tolist()) or skipped["out_of_order"]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([b"", pcap([])[:24], Pcapng().section().interface().data]), st.binary(max_size=300))
def test_random_bytes_never_crash(tmp_path_factory: pytest.TempPathFactory, head: bytes, rest: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random"
    path.write_bytes(head + rest)
    read_until_damage(path)


def test_a_batch_stays_as_it_was_until_as_many_more_were_taken_as_there_are_buffers(tmp_path: Path) -> None:
    path = tmp_path / "thousand.pcap"
    with PcapWriter(path) as writer:
        columns = {"src_port": np.arange(1000), "protocol": np.full(1000, 6), "ip_bytes": np.full(1000, 60)}
        writer.write(PacketBatch.of(time_ns=np.arange(1000), src=np.full((1000, 2), 7), **columns))
    given: list[PacketBatch] = []
    copies: list[PacketBatch] = []
    for batch in read(path, batch_packets=64, reorder_window_packets=8, buffers=3):
        given.append(batch)
        copies.append(batch.copy())
        for old, copy in zip(given[-3:], copies[-3:], strict=True):
            assert np.array_equal(old.time_ns, copy.time_ns) and np.array_equal(old.src, copy.src)
    assert [int(t) for copy in copies for t in copy.time_ns] == list(range(1000))
