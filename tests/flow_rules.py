"""What holds between the flows of a run, its rows, and the oracle's flows."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from mozart.replay.flows import Flows

SETTING = ("task", "mode", "memory_entries", "detection_delay_ms")
PLACE = (*SETTING, "src", "dst", "src_port", "dst_port", "protocol", "selection", "epoch", "monitor")
OWN = ("distinct", "bound_bytes")
"""Columns that the oracle does not have."""
REAL = ("event_value", "estimate_bytes")


def same_flows(flows: Flows, expected: Sequence[Mapping[str, Any]]) -> None:
    """Compare flows with the oracle's, row by row."""
    mine = sorted(flows.rows(), key=place)
    theirs = sorted(expected, key=place)
    assert [place(row) for row in mine] == [place(row) for row in theirs]
    for row, other in zip(mine, theirs, strict=True):
        differs = {name: (row[name], other[name]) for name in row if name not in (*OWN, *REAL)}
        assert {name: pair for name, pair in differs.items() if pair[0] != pair[1]} == {}, row
        for name in REAL:
            assert row[name] == other[name] or row[name] == pytest.approx(other[name], rel=1e-9), name
        if row["bound_bytes"] is not None:
            assert row["bound_bytes"] >= row["estimate_bytes"] - 1e-6 and math.isfinite(row["bound_bytes"])


def place(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what tells rows apart, as texts so that null sorts too."""
    return tuple(f"{row[name]!s:>12}" for name in PLACE)


def flows_add_up(flows: Flows, rows: Iterable[dict[str, Any]]) -> None:
    """Compare the sums of flows with the rows: selected, reachable and captured flows, volumes, mean error."""
    by_setting: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for row in flows.rows():
        if row["event"] is None:
            continue  # nobody selected it
        by_setting[tuple(row[name] for name in SETTING)].append(row)
    for row in rows:
        mine = sums_of(by_setting[tuple(row[name] for name in SETTING)])
        for name, value in mine.items():
            assert value == row[name] or value == pytest.approx(row[name], rel=1e-9), (row["mode"], name)


def sums_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the rows of a run say of one setting, from its flows alone."""
    monitors: dict[Any, dict[Any, bool]] = defaultdict(lambda: defaultdict(bool))
    reachable: dict[Any, bool] = defaultdict(bool)
    volumes: dict[Any, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    errors = []
    for row in rows:
        flow = tuple(row[name] for name in ("src", "dst", "src_port", "dst_port", "protocol"))
        reachable[flow] |= False
        if row["monitor"] is None:
            continue
        reachable[flow] |= row["why_not"] != "unreachable"
        monitors[flow][row["monitor"]] |= row["captured"]
        if row["true_bytes"] is not None:
            recorded, later = row["bytes"] or 0, row["true_bytes"] - row["pre_event_bytes"]
            parts = row["true_bytes"], recorded, row["pre_event_bytes"], max(recorded - later, 0)
            volumes[flow] = [a + b for a, b in zip(volumes[flow], parts, strict=True)]
        if row["bytes"] is not None:
            errors.append(abs(row["estimate_bytes"] / row["true_bytes"] - 1))
    whole = {flow for flow, found in monitors.items() if all(found.values())}
    on = {flow for flow, some in reachable.items() if some}
    names = ("selected_bytes", "captured_bytes", "pre_event_bytes", "pre_event_captured_bytes")
    volume = [sum(volumes[flow][i] for flow in on) for i in range(len(names))]
    return {
        "selected_flows": len(reachable),
        "unreachable_flows": len(reachable) - len(on),
        "captured_flows": len(whole & on),
        "unreachable_captured_flows": len(whole - on),
        "volume_error": math.fsum(errors) / len(errors) if errors else None,
        **dict(zip(names, volume, strict=True)),
    }
