"""The exact truth against dictionaries, and the floor against trying everything."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mozart.replay import stream_kernels as sk
from mozart.replay.floor import fewest_missed, most_captured
from mozart.replay.flow_count import FlowCount
from mozart.replay.streams import After, Streams
from mozart.replay.truth import Selected

# streams


@settings(max_examples=30, deadline=None)
@given(capacity=st.sampled_from([1, 2, 8, 64]), flows=st.integers(1, 200), seed=st.integers(0, 2**32))
def test_streams_equal_a_dictionary(capacity: int, flows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 300
    key = rng.integers(1, 2**64, flows, np.uint64)[rng.integers(0, flows, n)]
    route, size = rng.integers(0, 3, n).astype(np.int32), rng.integers(20, 1500, n).astype(np.uint32)
    streams = Streams(capacity)
    parts = (slice(0, 1), slice(1, 120), slice(120, n))
    row = np.concatenate([streams.add(key[p], route[p], size[p]) for p in parts])
    expected: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0])
    for k, r, s in zip(key.tolist(), route.tolist(), size.tolist(), strict=True):
        expected[k, r][0] += 1
        expected[k, r][1] += s
    assert len(streams) == len(expected)
    names = zip(streams.key[: len(streams)].tolist(), streams.route[: len(streams)].tolist(), strict=True)
    volumes = zip(streams.packets.tolist(), streams.bytes.tolist(), strict=True)
    assert {name: list(volume) for name, volume in zip(names, volumes, strict=True)} == dict(expected)
    assert streams.key[row].tolist() == key.tolist()
    assert streams.route[row].tolist() == route.tolist()


def test_what_came_after_the_selection_is_counted_for_each_delay() -> None:
    after = After(2)
    size = np.array([10, 20, 30, 40], np.uint32)
    row = np.array([0, 1, 0, 0], np.int32)
    lasting, past = np.array([0, 0b11, 0b01, 0], np.uint8), np.array([0, 0b11, 0b11, 0b01], np.uint8)
    after.add(2, row, lasting, past, size)
    after.add(9000, np.array([8999], np.int32), np.array([1], np.uint8), np.array([1], np.uint8), size[:1])
    counted = after.volume[:, :, [sk.PAST_PACKETS, sk.PAST_BYTES, sk.SELECTED_PACKETS]].tolist()
    assert counted[0] == [[2, 70, 1], [1, 30, 0]]
    assert counted[1] == [[1, 20, 1], [1, 20, 1]]
    assert counted[8999] == [[1, 10, 1], [0, 0, 0]]


def test_selected_flows_are_found_by_key() -> None:
    keys = np.array([50, 20, 30, 40], np.uint64)
    selected = Selected(np.array([0, 3, 1], np.int32), keys)
    assert selected.find(np.array([20, 30, 40, 50, 60, 1], np.uint64)).tolist() == [1, -1, 3, 0, -1, -1]
    assert Selected(np.zeros(0, np.int32), keys).find(keys).tolist() == [-1] * 4


# flow count


def test_flows_are_counted_exactly_while_they_are_few() -> None:
    count = FlowCount(limit=100)
    keys = np.random.default_rng(1).integers(1, 2**64, 100, np.uint64)
    for part in (keys[:60], keys[30:], keys):
        count.add(part)
    assert (int(count), count.exact) == (100, True)


@pytest.mark.parametrize("flows", [50_000, 400_000])
def test_many_flows_are_counted_within_three_standard_errors(flows: int) -> None:
    count = FlowCount(limit=1000)
    keys = np.random.default_rng(flows).integers(1, 2**64, flows, np.uint64)
    for part in np.array_split(keys, 5):
        count.add(part)
        count.add(part[:100])
    assert not count.exact
    assert int(count) == pytest.approx(flows, rel=3 * 0.008)


# the floor

Flow = tuple[frozenset[int], int, int]


def best_by_trying(flows: list[Flow], entries: int) -> int:
    """Fewest flows missed over all choices of which flows each monitor keeps in each epoch."""
    most = 0
    for chosen in itertools.product(*[[None, *range(first, last + 1)] for _, first, last in flows]):
        load = Counter(
            (monitor, epoch)
            for (monitors, _, _), epoch in zip(flows, chosen, strict=True)
            if epoch is not None
            for monitor in monitors
        )
        if all(used <= entries for used in load.values()):
            most = max(most, sum(epoch is not None for epoch in chosen))
    return len(flows) - most


flow = st.tuples(st.frozensets(st.integers(0, 2), min_size=1, max_size=3), st.integers(0, 1), st.integers(0, 1)).map(
    lambda f: (f[0], min(f[1:]), max(f[1:]))
)


@settings(max_examples=40, deadline=None)
@given(flows=st.lists(flow, max_size=7), entries=st.integers(1, 3))
def test_no_table_beats_the_floor(flows: list[Flow], entries: int) -> None:
    assert fewest_missed(flows, entries) <= best_by_trying(flows, entries)


@settings(max_examples=30, deadline=None)
@given(flows=st.lists(st.frozensets(st.integers(0, 1), min_size=1), max_size=8), entries=st.integers(1, 3))
def test_the_floor_of_one_epoch_over_two_monitors_is_reached(flows: list[Any], entries: int) -> None:
    same_epoch: list[Flow] = [(monitors, 0, 0) for monitors in flows]
    assert fewest_missed(same_epoch, entries) == best_by_trying(same_epoch, entries)


@pytest.mark.parametrize(
    ("flows", "entries", "missed"),
    [
        ([], 1, 0),
        ([(frozenset({0}), 0, 0)] * 5, 5, 0),
        ([(frozenset({0}), 0, 0)] * 5, 3, 2),
        ([(frozenset({0}), 0, 0)] * 5 + [(frozenset({1}), 0, 0)] * 5, 3, 4),
        ([(frozenset({0, 1}), 0, 0)] * 5, 3, 2),
        ([(frozenset({0}), 0, 0)] * 3 + [(frozenset({0}), 1, 1)] * 3, 2, 2),  # each epoch has the whole table
        ([(frozenset({0}), 0, 1)] * 4, 2, 0),  # in any one of its epochs will do
    ],
)
def test_the_floor_of_small_worlds(flows: list[Flow], entries: int, missed: int) -> None:
    assert fewest_missed(flows, entries) == missed


def test_where_memory_is_enough_nothing_is_missed() -> None:
    assert most_captured({frozenset({0, 1}): 10, frozenset({1}): 6}, 16) == 16
    assert most_captured({frozenset({0, 1}): 10, frozenset({1}): 6}, 15) == 15
