"""Slices: a table of cuts over ten packets a second apart, in batches of three."""

from collections.abc import Iterator

import numpy as np
import pytest
from mozart.errors import SpecError, TraceError
from mozart.traces.packets import PacketBatch, concatenate
from mozart.traces.slice import Cut, cut
from mozart.traces.slice_command import packet_range

SECOND_NS = 1_000_000_000
START_NS = 1_500_000_000 * SECOND_NS


def trace(batches_taken: list[int] | None = None) -> Iterator[PacketBatch]:
    """Yield packets 0 to 9, at 0 s to 9 s; the IP length is the packet's number."""
    numbers = np.arange(10)
    everything = PacketBatch.of(time_ns=START_NS + numbers * SECOND_NS, ip_bytes=numbers)
    for start in range(0, 10, 3):
        if batches_taken is not None:
            batches_taken.append(start)
        yield everything[start : start + 3]


def taken(what: Cut) -> PacketBatch:
    return concatenate(list(cut(trace(), what)))


@pytest.mark.parametrize(
    ("what", "first", "end"),
    [
        (Cut(), 0, 10),
        (Cut(start_s=4), 4, 10),
        (Cut(end_s=4), 0, 4),
        (Cut(start_s=2, end_s=7), 2, 7),
        (Cut(start_s=1.5, end_s=1.9), 0, 0),
        (Cut(start_s=100), 0, 0),
        (Cut(end_s=100), 0, 10),
        (Cut(first_packet=3), 3, 10),
        (Cut(end_packet=3), 0, 3),
        (Cut(first_packet=2, end_packet=8), 2, 8),
        (Cut(first_packet=20), 0, 0),
        (Cut(start_s=2, end_packet=4), 2, 4),
    ],
)
def test_a_cut_takes_exactly_its_packets(what, first, end):
    assert taken(what).ip_bytes.tolist() == list(range(first, end))


def test_a_cut_at_a_time_of_several_packets_takes_all_of_them_or_none():
    batch = PacketBatch.of(time_ns=np.array([0, 5, 5, 5, 6]) * SECOND_NS, ip_bytes=range(5))
    assert concatenate(list(cut([batch], Cut(end_s=5)))).ip_bytes.tolist() == [0]
    assert concatenate(list(cut([batch], Cut(start_s=5, end_s=6)))).ip_bytes.tolist() == [1, 2, 3]


def test_stretching_keeps_the_first_packet_taken_and_multiplies_the_gaps_after_it():
    found = taken(Cut(start_s=4, end_s=8, stretch=2.5))
    assert ((found.time_ns - START_NS) / SECOND_NS).tolist() == [4, 6.5, 9, 11.5]
    assert ((taken(Cut(stretch=0.5)).time_ns - START_NS) / SECOND_NS).tolist() == [0.5 * i for i in range(10)]


def test_reading_stops_where_the_slice_ends():
    batches_taken: list[int] = []
    list(cut(trace(batches_taken), Cut(end_s=4)))
    assert batches_taken == [0, 3]


def test_no_packets_give_no_packets():
    assert list(cut([], Cut())) == []
    assert list(cut([PacketBatch.empty(0)], Cut(end_s=3))) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"start_s": 5, "end_s": 5}, "the slice ends at 5 s, not after its start at 5 s"),
        ({"start_s": -1}, "starts at 0 or later"),
        ({"start_s": float("nan")}, "starts at 0 or later"),
        ({"end_s": float("nan")}, "ends at nan s"),
        ({"first_packet": -1}, "starts at 0 or later"),
        ({"first_packet": 5, "end_packet": 5}, "packets 5:5 are none"),
        ({"stretch": 0}, "stretched by 0"),
        ({"stretch": float("inf")}, "stretched by inf"),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong, message):
    with pytest.raises(SpecError) as refused:
        Cut(**wrong)
    assert message in str(refused.value)


@pytest.mark.parametrize("factor", [1e12, 1e308])
def test_times_beyond_64_bits_are_refused(factor):
    with pytest.raises(TraceError, match="stretched by 1e"):
        taken(Cut(stretch=factor))


@pytest.mark.parametrize(("text", "expected"), [(":", (0, None)), ("3:9", (3, 9)), (":9", (0, 9)), ("3:", (3, None))])
def test_packet_ranges_are_read(text, expected):
    assert packet_range(text) == expected


@pytest.mark.parametrize("text", ["3", "", "a:b", "1:2:3", "1.5:2"])
def test_other_packet_ranges_are_refused(text):
    with pytest.raises(SpecError, match="give A:B"):
        packet_range(text)


def test_times_as_far_apart_as_64_bits_allow_are_cut_and_stretched():
    ends = PacketBatch.of(time_ns=[-(2**63), 0, 2**63 - 1])
    half = concatenate(list(cut([ends], Cut(stretch=0.5))))
    assert half.time_ns.tolist() == [-(2**63), -(2**62), 0]
    with pytest.raises(TraceError, match="stretched by 2"):
        list(cut([ends], Cut(stretch=2)))
    late = PacketBatch.of(time_ns=[2**63 - 10, 2**63 - 1])
    assert len(concatenate(list(cut([late], Cut(end_s=10))))) == 2
    assert list(cut([late], Cut(start_s=10))) == []
