"""Selections: hold, delay, the completing packet, reverse tags; by hand and against a plain twin."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mozart.selectors.selection import Selections, Tags
from mozart.tests.oracle import PlainSelections
from numpy.typing import NDArray

S = 10**9
FLOW, OTHER = 11, 12


def select(selections: Selections, *rows: tuple[int, int, float, bool], reverse: Any = None) -> tuple[Tags, Any]:
    """Take sightings (flow, device, seconds, event is true); `reverse` are (flow, device) of the reverse flow."""
    key, where, at, true = zip(*rows, strict=True)
    back = reverse or [(0, -1)] * len(rows)
    return selections.select(
        np.array(key, np.uint64),
        np.array(where, np.int32),
        np.array([k for k, _ in back], np.uint64),
        np.array([w for _, w in back], np.int32),
        np.array(true, np.bool_),
        np.round(np.array(at) * S).astype(np.int64),
    )


def test_the_packet_at_which_the_event_is_true_is_the_last_untagged_one() -> None:
    tags, made = select(Selections(30, (0.0,)), *[(FLOW, 0, 1.0, i == 1) for i in range(4)])
    assert tags.forward.tolist() == [0, 0, 1, 1]
    assert tags.after.tolist() == [0, 0, 1, 1]
    assert [(s.flow, s.where, s.time_ns, s.row) for s in made] == [(0, 0, S, 1)]


def test_at_time_t_the_selection_holds_or_does_not() -> None:
    times = [0, 9, 10, 10.000000001, 11, 12]
    tags, made = select(Selections(10, (0.0,)), *[(FLOW, 0, at, at in (0, 11)) for at in times])
    assert tags.forward.tolist() == [0, 1, 1, 0, 0, 1]
    assert [s.time_ns // S for s in made] == [0, 11]
    assert tags.past.tolist() == [0, 1, 1, 1, 1, 1]


def test_an_event_that_stays_true_prolongs_the_selection_and_makes_no_new_one() -> None:
    selections = Selections(10, (0.0,))
    tags, made = select(selections, *[(FLOW, 0, at, at <= 16) for at in (0, 8, 16, 24, 27)])
    assert len(made) == 1
    assert tags.forward.tolist() == [0, 1, 1, 1, 0]
    assert selections.active_flows(26 * S, 40 * S).tolist() == [0]
    assert selections.active_flows(26 * S + 1, 40 * S).tolist() == []


def test_delays_are_kept_side_by_side() -> None:
    times = [0, 0.001001, 0.001000999, 2]
    tags, _ = select(Selections(30, (0.0, 1.001, 5000.0)), *[(FLOW, 0, at, at == 0) for at in times])
    assert tags.forward.tolist() == [0, 0b011, 0b001, 0b011]


def test_only_the_device_that_selected_tags_but_all_know_that_the_flow_is_selected() -> None:
    tags, made = select(
        Selections(30, (0.0,)),
        (FLOW, 0, 0, True), (FLOW, 1, 1, False), (FLOW, -1, 1, False), (OTHER, 0, 1, False), (FLOW, 1, 2, True),
        (FLOW, 1, 3, False),
    )  # fmt: skip
    assert tags.forward.tolist() == [0, 0, 0, 0, 0, 1]
    assert tags.after.tolist() == [0, 1, 1, 0, 1, 1]
    assert [(s.flow, s.where) for s in made] == [(0, 0), (0, 1)]


def test_an_answer_leaves_with_a_reverse_tag_where_its_flow_was_selected() -> None:
    reverse = [(0, -1), (FLOW, 0), (FLOW, 1), (FLOW, -1)]
    rows = [(FLOW, 0, 0, True), (OTHER, 0, 1, False), (OTHER, 1, 1, False), (OTHER, -1, 1, False)]
    tags, _ = select(Selections(30, (0.0,)), *rows, reverse=reverse)
    assert tags.reverse.tolist() == [0, 1, 0, 0]
    assert tags.forward.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("delays", [(), tuple(float(i) for i in range(9))])
def test_there_are_one_to_eight_delays(delays: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="between 1 and 8 detection delays"):
        Selections(30, delays)


@settings(max_examples=40, deadline=None)
@given(
    hold_ms=st.sampled_from([1, 40, 1000]),
    delays=st.lists(st.sampled_from([0.0, 1.5, 30.0, 200.0]), min_size=1, max_size=3),
    flows=st.integers(1, 40),
    seed=st.integers(0, 2**32),
)
def test_tags_equal_those_of_a_plain_twin(hold_ms: int, delays: list[float], flows: int, seed: int) -> None:
    columns = sightings(np.random.default_rng(seed), 200, flows, true_share=0.2)
    compare_with_a_twin(Selections(hold_ms / 1000, tuple(delays)), hold_ms, delays, columns, [0, 70, 200])


@pytest.mark.parametrize("seed", range(3))
def test_to_forget_what_has_ended_changes_no_tag_and_no_selection(seed: int) -> None:
    columns = sightings(np.random.default_rng(seed), 20_000, 6000, true_share=0.5)
    forgets = Selections(4.0, (0.0, 1.5), forgets=True)
    compare_with_a_twin(forgets, 4000, [0.0, 1.5], columns, range(0, 20_001, 250), past=False)
    assert forgets.flow_count < 2500
    assert len(np.unique(columns[0][columns[4]])) > 4000


def test_memory_follows_the_selections_in_force_and_not_the_days() -> None:
    selections = Selections(1.0, (0.0,), forgets=True)
    sizes, rng = [], np.random.default_rng(1)
    for hour in range(24):  # 2,000 new flows a second, many more in the fifth hour
        for part in range(4):
            n = 2000 if hour != 4 else 20_000
            keys = rng.integers(1, 2**64, n, np.uint64)
            at = (hour * 3600 + part) * S + np.linspace(0, S - 1, n).astype(np.int64)
            here = np.zeros(n, np.int32)
            tags, made = selections.select(keys, here, keys, here, np.ones(n, np.bool_), at)
            assert len(made) == n and not tags.forward.any()
            assert selections.keys()[[s.flow for s in made]].tolist() == keys.tolist()
        sizes.append(sum(column.nbytes for column in vars(selections).values() if isinstance(column, np.ndarray)))
    assert max(sizes[5:]) == max(sizes[:4]) < sizes[4]
    assert sizes[5] < 1_500_000


def sightings(rng: np.random.Generator, n: int, flows: int, true_share: float) -> tuple[NDArray[Any], ...]:
    """Random packets: keys, devices, those of the reverse flows, whether the event is true, times."""
    keys = rng.integers(1, 2**64, flows, np.uint64)
    key, back = keys[rng.integers(0, flows, n)], keys[rng.integers(0, flows, n)]
    where, back_where = rng.integers(-1, 2, n).astype(np.int32), rng.integers(-1, 2, n).astype(np.int32)
    true = (rng.random(n) < true_share) & (where >= 0)
    time_ns = np.cumsum(rng.choice([0, 1, 500_000, 20_000_000], n))
    return key, where, back, back_where, true, time_ns


def compare_with_a_twin(
    selections: Selections, hold_ms: int, delays: Any, columns: Any, cuts: Any, past: bool = True
) -> None:
    """Take packets in parts, and compare tags and selections with those of the plain rules."""
    key, where, back, back_where, true, time_ns = columns
    twins = [PlainSelections(hold_ms / 1000, delay) for delay in delays]
    for begin, end in itertools.pairwise(cuts):
        tags, found = selections.select(*(column[begin:end] for column in columns))
        made = [(s.where, s.time_ns, int(selections.keys()[s.flow])) for s in found]
        expected = []
        for i in range(begin, end):
            now, flow, here = int(time_ns[i]), int(key[i]), (int(key[i]), int(where[i]))
            there, row = (int(back[i]), int(back_where[i])), i - begin
            assert tags.forward[row] == mask(t.tags(here, now) for t in twins)
            assert tags.reverse[row] == mask(t.tags(there, now) for t in twins)
            assert tags.after[row] == mask(t.tags(flow, now) for t in twins)
            assert not past or tags.past[row] == mask(t.past(flow, now) for t in twins)
            if true[i]:
                new = [(t.event(flow, now), t.event(here, now)) for t in twins]
                expected += [(here[1], now, flow)] if new[0][1] else []
        assert made == expected


def mask(bits: Any) -> int:
    return sum(bool(bit) << d for d, bit in enumerate(bits))
