"""The figures of a live run: what it missed beside its replay, and how long tags took."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from ..traces.figures import BLUE, GREY, VERMILION, new_figure, save, styled

if TYPE_CHECKING:
    from .report import LiveResult


def draw(result: LiveResult, folder: str | Path) -> list[Path]:
    """Draw the figures that the run can show, and return the paths of the files."""
    paths: list[Path] = []
    rows = [row for row in result.evaluation.rows if row["not_captured_ratio"] is not None]
    if rows:
        paths += save(beside(rows, result.replay_rows), folder, "live-and-replay")
    if result.evaluation.in_force_ms:
        paths += save(tag_times(result.evaluation.in_force_ms, result.evaluation.tag_times_ms), folder, "event-to-tag")
    return paths


@styled
def beside(rows: list[dict[str, Any]], replayed: list[dict[str, Any]]) -> Any:
    """Draw the share of selected flows not captured, live and in the replay, task by task."""
    figure, (axes,) = new_figure(0.9 + 0.5 * len(rows))
    other = {row["task"]: row["not_captured_ratio"] for row in replayed}
    live = [row["not_captured_ratio"] for row in rows]
    beside = [other.get(row["task"]) or 0.0 for row in rows]
    place = np.arange(len(rows))
    for shares, offset, colour, label in ((live, -0.2, BLUE, "live"), (beside, 0.2, GREY, "replay")):
        bars = axes.barh(place + offset, shares, 0.38, color=colour, label=label)
        axes.bar_label(bars, [f"{100 * share:.1f} %" for share in shares], padding=3, fontsize="small")
    axes.set_yticks(place, [row["task"] for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * max(0.01, *live, *beside))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    axes.set_xlabel("reachable selected flows not captured")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@styled
def tag_times(in_force_ms: list[float], seen_ms: list[float]) -> Any:
    """Draw the share of selections whose tag was in force within a time, and was seen on a packet."""
    figure, (axes,) = new_figure(2.6)
    for times, colour, label in (
        (in_force_ms, BLUE, f"tag in force ({len(in_force_ms):,} selections)"),
        (seen_ms, VERMILION, f"first tagged packet ({len(seen_ms):,} flows that kept sending)"),
    ):
        if times:
            ordered = np.sort(times)
            axes.step(ordered, np.arange(1, len(ordered) + 1) / len(ordered), where="post", color=colour, label=label)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("time from the event (ms)")
    axes.set_ylabel("share of selections")
    figure.legend(loc="outside lower center", ncols=1)
    return figure
