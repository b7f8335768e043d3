"""A live run beside the replay of what was really sent: column by column, and which flows both selected."""

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


def compare(live: Sequence[Row], replayed: Sequence[Row]) -> list[dict[str, Any]]:
    """Return {task, column, live, replay, difference} for each column of each task that both ran.

    The difference is live minus replay, None where one of them has no value.
    """
    beside = {row["task"]: row for row in replayed}
    return [
        {"task": row["task"], "column": column, "live": value, "replay": other, "difference": _minus(value, other)}
        for row in live
        if row["task"] in beside
        for column, value in row.items()
        if column not in SETTING and column in beside[row["task"]]
        for other in [beside[row["task"]][column]]
    ]


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


def _cells(column: str, row: Row) -> list[str]:
    difference = _text(column, row["difference"])
    return [_text(column, row["live"]), _text(column, row["replay"]), difference]


def _text(column: str, value: float | None) -> str:
    if value is None:
        return "-"
    if "ratio" in column or "error" in column:
        return f"{100 * value:.2f} %"
    return f"{value:,.0f}"
