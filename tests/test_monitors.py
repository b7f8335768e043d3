"""The monitor's table against a plain twin in all modes, its golden example, its records, and distinct counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mozart.monitors import ghost_kernels as gk
from mozart.monitors import layout_kernels as lk
from mozart.monitors import table_kernels as tk
from mozart.monitors.measures import DistinctDestinations, Volume
from mozart.monitors.modes import MODES
from mozart.monitors.records import CAPTURES, undercount
from mozart.monitors.table import Crossings, Table
from mozart.tests.oracle import HINT, PACKET, SELECT, TAGGED, PlainTable, rank_of_tagged

KINDS = {PACKET: tk.PACKET, TAGGED: tk.TAGGED, HINT: tk.HINT, SELECT: tk.SELECT}
Crossing = tuple[int, str, int, int]
"""(flow key, kind, bytes, luck)"""


def span_of(key: int) -> int:
    """The span of a flow's path in these tests: one to four."""
    return 1 + key % 4


def crossings(some: list[Crossing], first_ns: int = 1, item: list[int] | None = None) -> Crossings:
    """Crossings a nanosecond apart."""
    keys, kinds, sizes, luck = zip(*some, strict=True) if some else ((), (), (), ())
    n = len(some)
    return Crossings(
        np.array(keys, np.uint64),
        np.array([KINDS[k] for k in kinds], np.uint8),
        np.array(sizes, np.uint32),
        np.arange(first_ns, first_ns + n),
        np.array(luck, np.uint32),
        np.array([span_of(key) for key in keys], np.uint8),
        np.array(item if item is not None else [0] * n, np.uint64),
    )


def contents(table: Table) -> list[Any]:
    """What stands in each slot: (flow, packets, bytes, selected at, packets before it, sampled)."""
    slots = []
    for slot, flow in enumerate(table.fp.tolist()):
        s = table.stats[slot].tolist()
        selected = s[lk.SELECTED_NS] if s[lk.SELECTED_NS] >= 0 else None
        has_past = not (table.mode.keeps_ghosts and int(table.rank[slot]) & int(lk.STANDING) == int(lk.SELECTED))
        pre = s[lk.PRE_PACKETS] if selected is not None and has_past else 0
        sampled = has_past and s[lk.SAMPLED_NS] >= 0
        slots.append((flow, s[lk.PACKETS], s[lk.BYTES], selected, pre, sampled) if flow else None)
    return slots


def ghosts(table: Table) -> dict[int, tuple[int, int, int]]:
    """The ghosts by the slot where they stand: (flow, packets, bytes)."""
    found = {}
    for slot, rank in enumerate(table.rank):
        if table.mode.keeps_ghosts and gk.ghost_in(rank):
            flow, volume = table.stats[slot, gk.GHOST], int(table.stats[slot, gk.VOLUME])
            found[slot] = (int(flow.view(np.uint64)), volume >> 40, volume % 2**40)
    return found


def plain_ghosts(table: PlainTable) -> dict[int, tuple[int, int, int]]:
    """The same of the twin."""
    return {
        8 * place + way: (ghost.flow, len(ghost.packets), sum(size for _, size in ghost.packets))
        for (place, way), ghost in table.ghosts.items()
    }


def plain_contents(table: PlainTable) -> list[Any]:
    """The same of the twin."""
    return [
        (e.flow, len(e.packets), e.bytes, e.selected_ns, e.pre, e.sampled) if not isinstance(e, str) and e else None
        for bucket in table.buckets
        for e in bucket
    ]


def tables_after(mode: str, entries: int, probability: float, some: list[Crossing]) -> tuple[Table, PlainTable]:
    """Take crossings into a table and its twin, in two batches."""
    table, plain = Table(MODES[mode], entries, probability), PlainTable(mode, entries, probability)
    half = len(some) // 2
    table.observe(crossings(some[:half]))
    table.observe(crossings(some[half:], 1 + half))
    for now, (flow, kind, size, luck) in enumerate(some, 1):
        plain.cross(kind, flow, now, size if kind in (PACKET, TAGGED) else 0, luck, span=span_of(flow))
    return table, plain


def random_crossings(seed: int, count: int, flows: int, tagged: float = 0.3) -> list[Crossing]:
    """Crossings of a number of flows; some flows are tagged often, messages come now and then."""
    rng = np.random.default_rng(seed)
    keys = rng.integers(1, 2**64, flows, np.uint64).tolist()
    made = []
    for _ in range(count):
        flow = int(rng.integers(flows))
        kind = TAGGED if flow < flows * tagged and rng.random() < 0.5 else PACKET
        if rng.random() < 0.1:
            kind = str(rng.choice([HINT, SELECT]))
        made.append((keys[flow], kind, int(rng.integers(20, 1500)), int(rng.integers(2**32))))
    return made


@settings(max_examples=40, deadline=None)
@given(
    mode=st.sampled_from(list(MODES)),
    entries=st.integers(1, 40),
    probability=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    flows=st.integers(1, 70),
    tagged=st.sampled_from([0.1, 0.5, 1.0]),
    seed=st.integers(0, 2**32),
)
def test_the_table_equals_its_plain_twin_slot_by_slot(
    mode: str, entries: int, probability: float, flows: int, tagged: float, seed: int
) -> None:
    table, plain = tables_after(mode, entries, probability, random_crossings(seed, 250, flows, tagged))
    assert (contents(table), ghosts(table)) == (plain_contents(plain), plain_ghosts(plain))
    names = (lk.SELECTED_COLLISIONS, lk.REFUSED_SAMPLES, lk.EVICTIONS, lk.MOVES, lk.GHOSTS, lk.FORGOTTEN)
    counted = [int(table.counters[name]) for name in names]
    assert counted == [
        plain.collisions, plain.refused, plain.evictions, plain.moves, len(plain.ghosts), plain.forgotten,
    ]  # fmt: skip
    flows_held = [e[0] for e in contents(table) if e]
    assert len(flows_held) == len(set(flows_held)) <= entries


def nearly_all_selected(seed: int) -> list[Crossing]:
    """Packets of 62 flows, all of which are selected sooner or later: a table of 64 has to move some."""
    return [c for c in random_crossings(seed, 1200, 62, 1.0) if c[1] in (PACKET, TAGGED)]


@pytest.mark.parametrize("mode", ["mozart", "recent"])
def test_the_table_moves_selected_flows_as_its_twin_does(mode: str) -> None:
    moves = 0
    for seed in range(6):
        table, plain = tables_after(mode, 64, 1.0, nearly_all_selected(seed))
        assert (contents(table), ghosts(table)) == (plain_contents(plain), plain_ghosts(plain))
        assert int(table.counters[lk.MOVES]) == plain.moves
        moves += plain.moves
    assert moves >= 6


@settings(max_examples=25, deadline=None)
@given(mode=st.sampled_from(["mozart", "recent"]), entries=st.integers(1, 24), seed=st.integers(0, 2**32))
def test_a_selected_flow_leaves_only_for_one_of_no_larger_span_or_a_past(mode: str, entries: int, seed: int) -> None:
    table = Table(MODES[mode], entries, 1.0)
    selected: set[int] = set()
    some = (c for c in random_crossings(seed, 150, 60, 0.5) if c[1] != HINT)
    for i, crossing in enumerate(some):
        table.observe(crossings([crossing], i + 1))
        past = {flow: pre for flow, _, _, at, pre, _ in filter(None, contents(table)) if at is not None}
        now = set(past)
        for gone in selected - now:
            assert now - selected == {crossing[0]}
            assert span_of(crossing[0]) <= span_of(gone) or past[crossing[0]]
        selected = now


def best(keys: list[int], count: int) -> set[int]:
    """The flows that rank highest: of the smallest span, and within that by the hash."""
    return set(sorted(keys, key=lambda key: rank_of_tagged(key, span_of(key)))[-count:])


@pytest.mark.parametrize("entries", [8, 60, 512])
def test_overfull_monitors_keep_the_same_flows(entries: int) -> None:
    """Of the flows that cross it each keeps the highest ranks, whatever the order they came in."""
    keys = np.random.default_rng(entries).integers(1, 2**64, 2 * entries, np.uint64)
    for order in (keys, keys[::-1], np.random.default_rng(1).permutation(keys)):
        table = Table(MODES["mozart"], entries, 0.0)
        table.observe(crossings([(key, TAGGED, 100, 0) for key in order.tolist()]))
        kept = {flow for flow, *_ in held(table)}
        assert len(kept) == entries
        assert len(kept & best(keys.tolist(), entries)) >= 0.98 * entries
        assert int(table.counters[lk.SELECTED_COLLISIONS]) == entries


def test_a_table_too_large_to_be_searched_for_the_lowest_rank_equals_its_twin() -> None:
    """250 buckets: of those that had to go the bar tells, so that the flows below it need no search."""
    keys = np.random.default_rng(8).integers(1, 2**64, 3000, np.uint64).tolist()
    table, plain = tables_after("mozart", 2000, 0.0, [(key, TAGGED, 100, 0) for key in keys])
    assert (contents(table), ghosts(table)) == (plain_contents(plain), plain_ghosts(plain))
    assert int(table.counters[lk.BAR]) == plain.bar
    assert min(int(rank) - 2**63 for rank in table.rank) < plain.bar


def test_a_flow_that_ranks_below_one_that_had_to_go_does_not_come_in() -> None:
    keys = sorted(range(1, 18), key=lambda key: rank_of_tagged(key, span_of(key)))
    lowest, second, *rest = keys
    table = Table(MODES["mozart"], 8, 0.0)
    table.observe(crossings([(key, TAGGED, 100, 0) for key in (second, *rest[:7], rest[7])]))
    before = held(table)
    assert second not in {flow for flow, *_ in before}
    table.observe(crossings([(lowest, TAGGED, 100, 0)] * 3, 10))
    assert held(table) == before
    assert int(table.counters[lk.SELECTED_COLLISIONS]) == 4


@pytest.mark.parametrize(("mode", "stays"), [("mozart", True), ("recent", False)])
def test_of_selected_flows_the_last_to_go_is_one_with_bytes_from_before_its_tag(mode: str, stays: bool) -> None:
    keys = sorted(range(1, 40), key=lambda key: rank_of_tagged(key, span_of(key)))
    table = Table(MODES[mode], 8, 1.0)
    table.observe(crossings([(keys[0], PACKET, 70, 0), (keys[0], TAGGED, 30, 0)]))
    table.observe(crossings([(key, TAGGED, 100, 0) for key in keys[1:]], 3))
    assert {flow for flow, *_ in held(table)} == (best(keys, 7) | {keys[0]} if stays else best(keys, 8))


@pytest.mark.parametrize("seed", range(4))
def test_selected_flows_push_others_out_of_the_last_slots_as_in_the_twin(seed: int) -> None:
    """Between the selected flows stand others, so that a move may have to end where one of them is."""
    keys = np.random.default_rng(seed).integers(1, 2**64, 200, np.uint64).tolist()
    others: list[Crossing] = [(key, PACKET, 100, 0) for key in keys[:136]]
    selected: list[Crossing] = [(key, TAGGED, 100, 0) for key in keys[136:]]
    table, plain = tables_after("mozart", 64, 1.0, others + selected)
    assert (contents(table), ghosts(table)) == (plain_contents(plain), plain_ghosts(plain))
    assert (int(table.counters[lk.MOVES]), int(table.counters[lk.EVICTIONS])) == (plain.moves, plain.evictions)
    assert plain.moves > 0


@pytest.mark.parametrize("seed", range(4))
def test_recent_forgets_quiet_flows_as_its_twin_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    keys = rng.integers(1, 2**64, 80, np.uint64)[rng.zipf(1.3, 1500) % 80].tolist()
    sizes = rng.integers(40, 1500, 1500).tolist()
    table, plain = tables_after("recent", 24, 1.0, [(k, PACKET, s, 0) for k, s in zip(keys, sizes, strict=True)])
    assert (contents(table), ghosts(table)) == (plain_contents(plain), plain_ghosts(plain))
    assert int(table.counters[lk.EVICTIONS]) == plain.evictions > 300
    assert int(table.counters[lk.CLOCK]) == plain.clock


def test_a_flow_that_only_a_hint_announced_makes_way_for_a_tagged_one_and_for_no_other() -> None:
    table = Table(MODES["recent"], 1, 1.0)
    table.observe(crossings([(1, PACKET, 100, 0), (1, HINT, 0, 0), (2, PACKET, 5000, 0)]))
    assert held(table) == {(1, 1, 100)}
    table.observe(crossings([(4, TAGGED, 40, 0), (3, TAGGED, 40, 0)], 4))  # 3 has a larger span than 4
    assert held(table) == {(4, 1, 40)}
    assert int(table.counters[lk.SELECTED_COLLISIONS]) == 1


def test_a_resident_flow_is_counted_exactly() -> None:
    some = random_crossings(3, 400, 20)
    table, _ = tables_after("mozart", 64, 1.0, some)
    packets = [(flow, size) for flow, kind, size, _ in some if kind in (PACKET, TAGGED)]
    for flow, count, size, *_ in filter(None, contents(table)):
        assert (count, size) == (sum(f == flow for f, _ in packets), sum(s for f, s in packets if f == flow))


def test_the_example_of_the_slides() -> None:
    """MOZART (SOSR 2016), slides 18 to 20: a selected flow takes a slot, others are not admitted."""
    f1, f2, f3, f5, f6, f7 = (i << 32 | i for i in (1, 2, 3, 5, 6, 7))
    table = Table(MODES["mozart"], 3, 1.0)
    table.observe(crossings([(f1, TAGGED, 10240, 0), (f2, TAGGED, 2048, 0), (f3, PACKET, 500, 0)]))
    assert held(table) == {(f1, 1, 10240), (f2, 1, 2048), (f3, 0, 500)}
    table.observe(crossings([(f7, TAGGED, 1024, 0)], 4))
    assert held(table) == {(f1, 1, 10240), (f2, 1, 2048), (f7, 1, 1024)}
    table.observe(crossings([(f5, PACKET, 100, 0), (f6, PACKET, 100, 0)], 5))
    assert held(table) == {(f1, 1, 10240), (f2, 1, 2048), (f7, 1, 1024)}
    assert {flow for flow, *_ in ghosts(table).values()} == {f3, f5, f6}  # beside the table, without an entry


def held(table: Table) -> set[tuple[int, int, int]]:
    """The entries as the slides write them: flow, selected, bytes."""
    return {(flow, int(at is not None), size) for flow, _, size, at, *_ in filter(None, contents(table))}


@pytest.mark.parametrize("entries", [1, 7, 8, 9, 64, 100])
def test_selected_flows_fill_the_table_to_its_last_slots(entries: int) -> None:
    keys = np.random.default_rng(entries).integers(1, 2**64, entries, np.uint64).tolist()
    table = Table(MODES["mozart"], entries, 0.0)
    table.observe(crossings([(key, TAGGED, 100, 0) for key in keys]))
    assert len(table.occupied()) >= 0.97 * entries
    assert len(table.occupied()) + int(table.counters[lk.SELECTED_COLLISIONS]) == entries


def test_a_table_without_entries_and_a_probability_that_is_none_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one entry"):
        Table(MODES["mozart"], 0, 0.1)
    with pytest.raises(ValueError, match="between 0 and 1"):
        Table(MODES["mozart"], 1, 1.1)


# records


def records_by_flow(table: Table) -> dict[int, dict[str, Any]]:
    records = table.records()
    names = [name for name in records.__dataclass_fields__ if name != "measured"]
    return {
        int(flow): {name: getattr(records, name)[i].item() for name in names} for i, flow in enumerate(records.flow)
    }


def test_a_record_says_how_it_came_to_be() -> None:
    table = Table(MODES["mozart"], 16, 0.5)
    never, always = 2**32 - 1, 0
    table.observe(
        crossings([(1, PACKET, 100, never), (1, PACKET, 200, always), (1, TAGGED, 50, never), (2, TAGGED, 70, never),
                   (3, PACKET, 90, always)])
    )  # fmt: skip
    records = records_by_flow(table)
    assert set(records) == {1, 2}  # 3 is not selected, so it is not reported
    one, two = records[1], records[2]
    assert (CAPTURES[one["capture"]], CAPTURES[two["capture"]]) == ("sampled", "selected")
    assert (one["packets"], one["bytes"], one["pre_packets"], one["pre_bytes"]) == (2, 250, 1, 200)
    assert (one["first_ns"], one["last_ns"], one["selected_ns"]) == (2, 3, 3)
    assert one["missed_packets"] == 1.0  # (1 - p) / p
    assert one["estimate_bytes"] == 250 + 125
    assert two["estimate_bytes"] == 70


def test_without_coordination_all_entries_are_reported() -> None:
    table = Table(MODES["none"], 16, 1.0)
    table.observe(crossings([(1, TAGGED, 100, 0), (2, PACKET, 70, 0)]))
    assert {flow: r["selected"] for flow, r in records_by_flow(table).items()} == {1: False, 2: False}
    assert table.report_bytes(table.records()) == 2 * 72


def test_a_table_that_refused_a_sample_gives_no_bound() -> None:
    table = Table(MODES["none"], 1, 0.5)
    table.observe(crossings([(1, PACKET, 100, 0)]))
    assert records_by_flow(table)[1]["missed_packets_bound"] == pytest.approx(np.log(0.05) / np.log(0.5))
    table.observe(crossings([(2, PACKET, 100, 0)], 2))
    assert records_by_flow(table)[1]["missed_packets_bound"] == np.inf


@pytest.mark.parametrize("probability", [0.02, 0.3])
def test_the_undercount_keeps_its_expectation_and_bound(probability: float) -> None:
    """Of 4000 long flows, the packets missed before the record began."""
    rng = np.random.default_rng(1)
    missed = rng.geometric(probability, 4000) - 1
    expected, bound = undercount(probability, True)
    assert missed.mean() == pytest.approx(expected, rel=0.1)
    assert 0.93 <= (missed <= bound).mean() <= 0.99


def test_large_entries_are_preserved_and_small_new_ones_removed() -> None:
    table = Table(MODES["none"], 16, 1.0, preserve_bytes=1000, early_removal_bytes=300)
    table.observe(crossings([(1, PACKET, 1000, 0), (2, PACKET, 300, 0), (3, PACKET, 299, 0)]))
    table.start_epoch()
    assert {e[0] for e in contents(table) if e} == {1, 2}
    table.observe(crossings([(1, PACKET, 40, 0), (2, PACKET, 400, 0)], 10))
    records = records_by_flow(table)
    assert {CAPTURES[r["capture"]] for r in records.values()} == {"preserved"}
    assert records[2]["estimate_bytes"] == 400
    table.start_epoch()
    assert not [e for e in contents(table) if e]  # neither is large, and none is new


def test_a_new_epoch_starts_anew() -> None:
    table = Table(MODES["mozart"], 9, 1.0)
    table.observe(crossings(random_crossings(1, 200, 30)))
    table.start_epoch()
    fresh = Table(MODES["mozart"], 9, 1.0)
    assert len(table.records()) == 0
    some = crossings(random_crossings(2, 200, 30))
    table.observe(some)
    fresh.observe(some)
    assert contents(table) == contents(fresh)
    assert np.array_equal(table.counters, fresh.counters)


# distinct counts


def distinct_of(table: Table) -> dict[int, float]:
    records = table.records()
    return dict(zip(records.flow.tolist(), records.measured["distinct_destinations"].tolist(), strict=True))


@pytest.mark.parametrize(("distinct", "error"), [(1, 0.02), (5, 0.06), (64, 0.1), (1000, 0.13), (5000, 0.13)])
def test_distinct_counts_keep_their_error(distinct: int, error: float) -> None:
    """40 sketches, each of other items that come twice: the standard deviation is the stated one."""
    estimates = []
    for seed in range(40):
        items = np.random.default_rng(seed).integers(1, 2**64, distinct, np.uint64).tolist() * 2
        table = Table(MODES["none"], 1, 1.0, DistinctDestinations())
        table.observe(crossings([(9, PACKET, 40, 0)] * len(items), item=items))
        estimates.append(distinct_of(table)[9])
    assert np.sqrt(np.mean((np.array(estimates) / distinct - 1) ** 2)) <= error * 1.35


@pytest.mark.parametrize(("mode", "probability"), [("mozart", 0.0), ("recent", 1.0)])
def test_a_sketch_goes_with_its_flow_and_not_with_its_slot(mode: str, probability: float) -> None:
    """In a table where entries move, are evicted and come back, as in one where nothing ever leaves."""
    some = nearly_all_selected(5)
    items = np.random.default_rng(6).integers(1, 2**64, len(some), np.uint64)
    table = Table(MODES[mode], 64, probability, DistinctDestinations())
    table.observe(crossings(some, item=items.tolist()))
    assert int(table.counters[lk.MOVES]) > 0
    counts = dict(zip(table.records().flow.tolist(), table.records().packets.tolist(), strict=True))
    for flow, estimate in distinct_of(table).items():
        mine = [item for (f, *_), item in zip(some, items.tolist(), strict=True) if f == flow][-counts[flow] :]
        alone = Table(MODES["none"], 1, 1.0, DistinctDestinations())
        alone.observe(crossings([(flow, PACKET, 40, 0)] * len(mine), item=mine))
        assert estimate == distinct_of(alone)[flow]


def test_messages_are_not_counted_as_destinations() -> None:
    table = Table(MODES["recent"], 8, 0.0, DistinctDestinations())
    table.observe(crossings([(1, SELECT, 0, 0), (1, HINT, 0, 0)], item=[5, 6]))
    assert distinct_of(table) == {1: 0.0}


def test_a_plain_measure_adds_nothing() -> None:
    table = Table(MODES["tag"], 8, 0.0, Volume())
    table.observe(crossings([(1, TAGGED, 10, 0)]))
    assert table.records().measured == {}
