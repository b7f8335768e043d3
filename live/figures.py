"""The figures of a live run: what it missed beside its replay, and how long tags took."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import PercentFormatter

from ..traces.figures import BLUE, GREY, new_figure, save, styled

if TYPE_CHECKING:
    from .report import LiveResult


def draw(result: LiveResult, folder: str | Path) -> list[Path]:
    """Draw the figures that the run can show, and return the paths of the files."""
    paths: list[Path] = []
    rows = [row for row in result.evaluation.rows if row["not_captured_ratio"] is not None]
    if rows:
        paths += save(beside(rows, result.replay_rows), folder, "live-and-replay")
    if result.evaluation.tag_times_ms:
        paths += save(tag_times(result.evaluation.tag_times_ms), folder, "event-to-tag")
    return paths


@styled
def beside(rows: list[dict[str, Any]], replayed: list[dict[str, Any]]) -> Any:
    """Draw the share of selected flows not captured, live and in the replay, task by task."""
    figure, (axes,) = new_figure(2.4)
    other = {row["task"]: row["not_captured_ratio"] for row in replayed}
    names = [row["task"] for row in rows]
    place = np.arange(len(names))
    axes.barh(place - 0.2, [row["not_captured_ratio"] for row in rows], 0.38, color=BLUE, label="live")
    axes.barh(place + 0.2, [other.get(name) or 0.0 for name in names], 0.38, color=GREY, label="replay")
    axes.set_yticks(place, names)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    axes.set_xlabel("reachable selected flows not captured")
    axes.legend(loc="best")
    return figure


@styled
def tag_times(times_ms: list[float]) -> Any:
    """Draw the share of selections whose first tagged packet came within a time."""
    figure, (axes,) = new_figure(2.4)
    ordered = np.sort(times_ms)
    axes.step(ordered, np.arange(1, len(ordered) + 1) / len(ordered), where="post", color=BLUE)
    axes.set_xscale("log")
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("from the event to the first tagged packet (ms)")
    axes.set_ylabel("flows that kept sending")
    return figure
