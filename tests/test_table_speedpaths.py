"""What makes the table's kernel fast must not show: batches, lookups ahead, eight slots at a time. And `recent`."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mozart.monitors import bucket_kernels as bk
from mozart.monitors import layout_kernels as lk
from mozart.monitors import table_kernels as tk
from mozart.monitors.mark_kernels import marked
from mozart.monitors.modes import MODES
from mozart.monitors.table import Crossings, Table
from numba import njit
from numpy.typing import NDArray


def crossings(
    key: list[int] | NDArray[np.uint64], kind: int | NDArray[np.uint8] = tk.PACKET, size: int = 100
) -> Crossings:
    """Crossings a nanosecond apart, all of which the sampling admits."""
    n = len(key)
    return Crossings(
        np.asarray(key, np.uint64),
        np.broadcast_to(np.asarray(kind, np.uint8), n).copy(),
        np.full(n, size, np.uint32),
        np.arange(1, n + 1, dtype=np.int64),
        np.zeros(n, np.uint32),
        np.ones(n, np.uint8),
        np.empty(0, np.uint64),
    )


def random_crossings(seed: int, n: int, flows: int) -> Crossings:
    """Crossings of all kinds, where some flows send much more than others."""
    rng = np.random.default_rng(seed)
    keys = rng.integers(1, 2**64 - 1, flows, np.uint64)
    return Crossings(
        keys[(rng.random(n) ** 3 * flows).astype(np.int64)],
        rng.choice(4, n, p=[0.8, 0.1, 0.05, 0.05]).astype(np.uint8),
        rng.integers(0, 1501, n).astype(np.uint32),
        np.arange(1, n + 1, dtype=np.int64),
        rng.integers(0, 2**32, n, np.uint32),
        rng.integers(1, 5, n).astype(np.uint8),
        np.empty(0, np.uint64),
    )


def part(some: Crossings, start: int, end: int) -> Crossings:
    """Some of the crossings."""
    some_of = slice(start, end)
    return Crossings(
        some.key[some_of],
        some.kind[some_of],
        some.ip_bytes[some_of],
        some.time_ns[some_of],
        some.luck[some_of],
        some.span[some_of],
        some.item[some_of],
    )


def packets_of(table: Table, flow: int) -> int:
    """Packets recorded of a flow, 0 where it has no entry."""
    return int(table.stats[table.fp == np.uint64(flow), lk.PACKETS].sum())


@pytest.mark.parametrize("mode", list(MODES))
@settings(max_examples=15, deadline=None)
@given(
    entries=st.sampled_from([1, 8, 24, 61, tk.FAR + 9]),
    probability=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
    seed=st.integers(0, 2**32),
    cuts=st.lists(st.integers(0, 500), max_size=6),
)
def test_batches_do_not_show(mode: str, entries: int, probability: float, seed: int, cuts: list[int]) -> None:
    """One by one, all at once or cut anywhere, the same crossings make the same table."""
    some = random_crossings(seed, 500, 150)
    tables = []
    for ends in (range(1, 501), [500], [*sorted(cuts), 500]):
        table, start = Table(MODES[mode], entries, probability), 0
        for end in ends:
            table.observe(part(some, start, end))
            start = end
        tables.append(table)
    for other in tables[1:]:
        for column in ("fp", "rank", "stats"):
            assert np.array_equal(getattr(other, column), getattr(tables[0], column)), column
        assert np.array_equal(np.delete(other.counters, lk.LOGGED), np.delete(tables[0].counters, lk.LOGGED))


def test_a_flow_that_is_new_in_a_batch_is_found_again_in_it() -> None:
    some = crossings([5, 6, 5, 5, 6])
    some.luck[:] = 2**32 - 1
    some.luck[0] = 0  # flow 5 is drawn with its first packet, the others never
    table = Table(MODES["mozart"], 8, 0.5)
    table.observe(some)
    assert (packets_of(table, 5), packets_of(table, 6)) == (3, 0)


def test_a_flow_evicted_in_a_batch_is_not_counted_where_it_was() -> None:
    table = Table(MODES["recent"], 1, 1.0)
    table.observe(crossings([5, 5, 6, 5]))
    assert (packets_of(table, 5), packets_of(table, 6)) == (1, 0)
    assert table.counters[lk.EVICTIONS] == 2


@njit
def _masks(words, start, word):
    equal, above = bk.ways_equal(words, start, word), bk.ways_at_least(words, start, word)
    first = bk.first_way(equal)
    last = bk.last_way(above) if above else np.uint64(64)
    return equal, above, bk.least_word(words, start), first, last, bk.count_ways(above)


def test_eight_words_are_compared_as_unsigned_numbers() -> None:
    rng = np.random.default_rng(3)
    words = rng.choice(np.array([0, 1, 2, 2**63 - 1, 2**63, 2**64 - 1], np.uint64), 40)
    for start in range(33):
        for word in np.unique(words):
            bucket = words[start : start + 8]
            equal, above = np.flatnonzero(bucket == word), np.flatnonzero(bucket >= word)
            assert _masks(words, np.uint64(start), word) == (
                (1 << equal).sum(), (1 << above).sum(), bucket.min(),
                equal[0] if len(equal) else 64, above[-1] if len(above) else 64, len(above),
            )  # fmt: skip


# the mode recent


def test_the_rank_is_the_clock_and_the_square_root_of_the_bytes() -> None:
    table = Table(MODES["recent"], 1, 1.0)
    table.observe(crossings([5, 5, 5], size=1200))
    assert table.rank[0] == int(math.sqrt(3600) * tk.CLOCK_UNITS) + 1
    table.observe(crossings([6], size=400))  # evicts flow 5: the clock takes a 64th of the way to its rank
    clock = (int(math.sqrt(3600) * tk.CLOCK_UNITS) + 1) >> tk.CLOCK_SHIFT
    assert table.counters[lk.CLOCK] == clock
    assert table.rank[0] == clock + int(math.sqrt(400) * tk.CLOCK_UNITS) + 1


def test_a_large_flow_outlasts_a_storm_of_small_ones_but_not_for_ever() -> None:
    table = Table(MODES["recent"], 8, 1.0)
    rng = np.random.default_rng(4)
    table.observe(crossings([5] * 50, size=1500))
    table.observe(crossings([6] * 50, size=40))
    gone: dict[int, int] = {}
    for storm in range(200):
        table.observe(crossings(rng.integers(10, 2**64 - 1, 50, np.uint64), size=40))
        for flow in (5, 6):
            if flow not in gone and not packets_of(table, flow):
                gone[flow] = storm
    assert 0 < gone[6] < gone[5] < 199


def test_an_announced_flow_stands_above_unselected_ones_and_makes_way_for_tagged_ones() -> None:
    table = Table(MODES["recent"], 8, 1.0)
    table.observe(crossings(list(range(1, 9))))
    table.observe(crossings([1, 2], tk.HINT))
    table.observe(crossings(list(range(100, 150))))
    assert (packets_of(table, 1), packets_of(table, 2)) == (1, 1)
    table.observe(crossings([2, 200, 201, 202, 203, 204, 205, 206], tk.TAGGED))
    assert (packets_of(table, 1), packets_of(table, 2)) == (0, 2)
    report = table.records()
    assert set(report.flow.tolist()) == {2, *range(200, 207)}
    assert table.counters[lk.SELECTED_FLOWS] == 8


def test_where_all_are_announced_an_untagged_flow_is_refused() -> None:
    table = Table(MODES["recent"], 8, 1.0)
    table.observe(crossings(list(range(1, 9))))
    table.observe(crossings(list(range(1, 9)), tk.HINT))
    table.observe(crossings([100]))
    assert packets_of(table, 100) == 0
    assert table.counters[lk.REFUSED_SAMPLES] == 1


def test_what_was_known_before_an_eviction_has_no_bound() -> None:
    table = Table(MODES["recent"], 8, 1.0)
    table.observe(crossings([1]))
    table.observe(crossings([1], tk.HINT))
    assert table.records().missed_packets_bound.tolist() == [0.0]
    table.observe(crossings(list(range(2, 12))))
    assert table.records().missed_packets_bound.tolist() == [np.inf]


@njit
def marked_of(marks: NDArray[np.uint64], keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which flows the marks say the table may hold."""
    return np.array([bool(marked(marks, key)) for key in keys])


@pytest.mark.parametrize("mode", ["none", "mozart"])
def test_marks_tell_of_all_flows_held_and_of_few_others_however_many_came_and_went(mode: str) -> None:
    table = Table(MODES[mode], 64, 1.0)
    others = np.random.default_rng(0).integers(1, 2**64 - 1, 2000, np.uint64)
    for seed in range(200):
        table.observe(random_crossings(seed, 50, 500))
        assert marked_of(table.marks, table.fp[table.occupied()]).all()
    assert marked_of(table.marks, others).mean() < 0.3
    table.start_epoch()
    assert not marked_of(table.marks, others).any()
