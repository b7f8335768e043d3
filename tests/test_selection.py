"""Selections: hold, delay, the completing packet, reverse tags; by hand and against a plain twin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mozart.selectors.selection import Selections, Tags
from mozart.tests.oracle import PlainSelections

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
    rng = np.random.default_rng(seed)
    n = 200
    keys = rng.integers(1, 2**64, flows, np.uint64)
    key, back = keys[rng.integers(0, flows, n)], keys[rng.integers(0, flows, n)]
    where, back_where = rng.integers(-1, 2, n).astype(np.int32), rng.integers(-1, 2, n).astype(np.int32)
    true = (rng.random(n) < 0.2) & (where >= 0)
    time_ns = np.cumsum(rng.choice([0, 1, 500_000, 20_000_000], n))
    selections = Selections(hold_ms / 1000, tuple(delays))
    columns: Any = (key, where, back, back_where, true, time_ns)
    parts = [slice(0, 70), slice(70, n)]
    taken = [selections.select(*(column[part] for column in columns)) for part in parts]
    forward, reverse, after, past = (
        np.concatenate([getattr(tags, name) for tags, _ in taken]).tolist()
        for name in ("forward", "reverse", "after", "past")
    )
    made = [(s.where, s.time_ns, int(selections.keys()[s.flow])) for _, some in taken for s in some]
    twins = [PlainSelections(hold_ms / 1000, delay) for delay in delays]
    expected = []
    for i in range(n):
        now, flow, here = int(time_ns[i]), int(key[i]), (int(key[i]), int(where[i]))
        there = (int(back[i]), int(back_where[i]))
        assert forward[i] == mask(t.tags(here, now) for t in twins)
        assert reverse[i] == mask(t.tags(there, now) for t in twins)
        assert after[i] == mask(t.tags(flow, now) for t in twins)
        assert past[i] == mask(t.past(flow, now) for t in twins)
        if true[i]:
            new = [(t.event(flow, now), t.event(here, now)) for t in twins]
            expected += [(here[1], now, flow)] if new[0][1] else []
    assert made == expected


def mask(bits: Any) -> int:
    return sum(bool(bit) << d for d, bit in enumerate(bits))
