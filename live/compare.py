"""A live run beside the replay of what was really sent: column by column, and which flows both selected.

Beside them stands the *late* replay, whose tags come as late as half of them came in the run: where it is as the run
is, and the other replay is not, the difference is due to the time that a tag takes. By itself it calls flows
unreachable that send nothing more when their tag is there, and leaves them out. Beside the run they count, captured
or not; volumes, which are without them, are not compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rich.table import Table

Row = Mapping[str, Any]

SETTING = ("task", "mode", "memory_entries", "detection_delay_ms", "probability")
"""Columns that say which row it is; all others are compared."""
NOT_CAPTURED = "not_captured_ratio"


def compare(live: Sequence[Row], replayed: Sequence[Row], late: Sequence[Row] = ()) -> list[dict[str, Any]]:
    """Return a row for each column of each task that both ran: task, column, live, replay, difference, and so on.

    The differences are live minus replay, and live minus late replay; None where one of them has no value.
    """
    beside = {row["task"]: row for row in replayed}
    later = {row["task"]: row for row in as_beside(late, replayed)}
    return [
        {
            "task": row["task"],
            "column": column,
            "live": value,
            "replay": beside[row["task"]][column],
            "difference": _minus(value, beside[row["task"]][column]),
            "late_replay": later.get(row["task"], {}).get(column),
            "late_difference": _minus(value, later.get(row["task"], {}).get(column)),
        }
        for row in live
        if row["task"] in beside
        for column, value in row.items()
        if column not in SETTING and column in beside[row["task"]]
    ]


def as_beside(late: Sequence[Row], replayed: Sequence[Row]) -> list[dict[str, Any]]:
    """Return what can be compared of the late replay's rows: flows selected, and captured of those reached at once."""
    beside = {row["task"]: row for row in replayed}
    found = []
    for row in late:
        if (other := beside.get(row["task"])) is not None:
            reachable = other["selected_flows"] - other["unreachable_flows"]
            more = max(row["unreachable_captured_flows"] - other["unreachable_captured_flows"], 0)
            captured = min(row["captured_flows"] + more, reachable)
            shown = {name: row[name] for name in (*SETTING, "selected_flows") if name in row}
            missed = 1 - captured / reachable if reachable else None
            found.append({**shown, "captured_flows": captured, NOT_CAPTURED: missed})
    return found


def _minus(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def overlaps(
    live: Mapping[str, NDArray[np.uint64]], replayed: Mapping[str, NDArray[np.uint64]]
) -> list[dict[str, Any]]:
    """Return for each task how many flows the run selected, the replay, and both, and `share`: both of the replay's."""
    found = []
    for task in live:
        if task in replayed:
            both = len(np.intersect1d(live[task], replayed[task]))
            share = both / len(replayed[task]) if len(replayed[task]) else None
            found.append(
                {"task": task, "live": len(live[task]), "replay": len(replayed[task]), "both": both, "share": share}
            )
    return found


def table(compared: Sequence[Row], selected: Sequence[Row]) -> Table:
    """Return the comparison as a table: columns downwards; live, replay and difference of each task across."""
    from rich import box
    from rich.table import Table

    tasks = list(dict.fromkeys(row["task"] for row in compared))
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="live beside the replay of what was sent")
    shown.title_justify, shown.title_style = "left", "italic"
    shown.add_column("")
    for task in tasks:
        for name in (task, "replay", "difference"):
            shown.add_column(name, justify="right", no_wrap=True)
    cells = {(row["task"], row["column"]): row for row in compared}
    for column in dict.fromkeys(row["column"] for row in compared):
        line = [cells.get((task, column)) for task in tasks]
        values = [_cells(column, row) if row else ["-"] * 3 for row in line]
        shown.add_row(column.replace("_", " "), *(cell for three in values for cell in three))
    shares = {row["task"]: row["share"] for row in selected}
    last = [[_text("ratio", shares.get(task)), "", ""] for task in tasks]
    shown.add_row("replay's selected flows selected live", *(cell for three in last for cell in three))
    return shown


def late_lines(live: Sequence[Row], replayed: Sequence[Row], late: Sequence[Row]) -> list[str]:
    """Return a sentence for each task whose tags took time: what it missed, and what the replays missed."""
    beside = {row["task"]: row for row in replayed}
    later = {row["task"]: row for row in as_beside(late, replayed)}
    return [
        f"{row['task']}: {_text(NOT_CAPTURED, row[NOT_CAPTURED])} not captured; {_text(NOT_CAPTURED, at_once)} by the "
        f"replay, {_text(NOT_CAPTURED, later[row['task']][NOT_CAPTURED])} with tags that come "
        f"{later[row['task']]['detection_delay_ms']:.1f} ms late, as half of them did"
        for row in live
        if row["task"] in beside and row["task"] in later
        for at_once in [beside[row["task"]][NOT_CAPTURED]]
        if later[row["task"]]["detection_delay_ms"] > row["detection_delay_ms"]
    ]


def _cells(column: str, row: Row) -> list[str]:
    difference = _text(column, row["difference"])
    return [_text(column, row["live"]), _text(column, row["replay"]), difference]


def _text(column: str, value: float | None) -> str:
    if value is None:
        return "-"
    if "ratio" in column or "error" in column:
        return f"{100 * value:.2f} %"
    return f"{value:,.0f}"
