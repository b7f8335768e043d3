"""A comparison as text and as JSON: the paper's table with means and intervals, and every row."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from .comparison import Run, bound_text, summary
from .explain import Explanation

HEADS = ("algorithm", "latency", "tasks %", "of best %", "avg ms", "gap %", "optimal", "s")
LEGEND = {
    "latency": "greatest latency allowed between a task's selector and its monitors",
    "tasks %": "tasks that run, of all; ± half the width of the 95 % interval of the mean over repeats",
    "of best %": "tasks that run, of the most that any run without a latency bound places",
    "avg ms": "latency between selectors and monitors, mean over the tasks that run",
    "gap %": "how far the weight of the tasks that run may be from the best, by the proved bound; - without one",
    "optimal": "runs proved optimal, of all repeats",
    "s": "time to build and to solve",
}
"""What the columns mean."""


def document(runs: Sequence[Run], explained: Sequence[Explanation] = ()) -> dict[str, Any]:
    """Return the JSON output: rows, means over repeats, and the placement of the last row; no bound is null.

    Rows say which problem they are of where there is more than one. What was to be explained is of the last row.
    """
    several = len({run.instance for run in runs}) > 1
    rows = []
    for run in runs:
        which: dict[str, Any] = {}
        if several and run.instance:
            which = {name: getattr(run.instance, name) for name in ("topology", "load", "seed")}
        rows.append(_finite({**which, **run.row}))
    return {
        "rows": rows,
        "means": [_finite(row) for row in summary(runs)],
        "placement": runs[-1].placement.to_json(),
        "explained": [each.to_json() for each in explained],
    }


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isinf(v) else v for k, v in row.items()}


def told(run: Run) -> str:
    """Return a run in a few words."""
    row = run.row
    where = f"{run.instance.topology} load {run.instance.load:g} seed {run.instance.seed}: " if run.instance else ""
    return (
        f"{where}{row['algorithm']}, {bound_text(row['max_latency_ms'])}: {row['placed_tasks']} of {row['tasks']} "
        f"tasks, {row['status']}"
    )


def tables(runs: Sequence[Run]) -> Iterator[str]:
    """Yield the lines of the means: a table for each topology, size and load, named where there are several."""
    parts = [
        (setting, list(rows))
        for setting, rows in groupby(summary(runs), lambda m: (m["topology"], m["tasks"], m["load"]))
    ]
    for number, ((topology, tasks, load), rows) in enumerate(parts):
        if len(parts) > 1:
            yield from [""] * bool(number)
            yield f"{topology}, {tasks:,} tasks, load {load:g}, mean of {max(row['repeats'] for row in rows)}"
        yield from _table(rows)
    yield from ("", *(f"  {head:9}  {meaning}" for head, meaning in LEGEND.items()))


def _table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "{:12} {:>10} {:>13} {:>13} {:>13} {:>7} {:>8} {:>7}".format(*HEADS)
    for row in rows:
        gap = "-" if row["gap"] is None else f"{100 * row['gap']:.2f}"
        yield (
            f"{row['algorithm']:12} {bound_text(row['max_latency_ms']):>10} "
            f"{_interval(row, 'placed_share', 100):>13} {_interval(row, 'relative_share', 100):>13} "
            f"{_interval(row, 'avg_latency_ms', 1):>13} {gap:>7} {row['optimal']:>3} of {row['repeats']:<2}"
            f"{row['seconds']:7.2f}"
        )


def _interval(row: dict[str, Any], column: str, scale: float) -> str:
    """Return a mean and its interval, with more digits where the mean is small, as latencies in a data centre are."""
    if row[column] is None:
        return "-"
    value, half = scale * row[column], row[f"{column}_95"]
    digits = 1 if value == 0 or value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{digits}f}" + ("" if half is None else f" ± {scale * half:.{digits}f}")


def explanations(explained: Sequence[Explanation], width: int) -> Iterator[str]:
    """Yield the lines that explain tasks, at most so wide; what goes on hangs below."""
    for each in explained:
        for line in str(each).splitlines():
            indent = len(line) - len(line.lstrip())
            yield from textwrap.wrap(line, width, subsequent_indent=" " * (indent + 4), break_on_hyphens=False)


def moves(run: Run) -> Iterator[str]:
    """Yield the lines that say what a placement moves."""
    found = run.placement.moves
    yield f"{len(found)} modules move" + (", proved the fewest" if run.placement.moves_proved else "")
    for move in found:
        yield f"  {move.task} {move.module}: {move.source} -> {move.to or 'stops'}"
