"""The figures of a live run: what it missed beside its replay, and how long tags took."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from ..traces.figures import BLUE, GREY, SKY, VERMILION, few, headline, new_figure, save, styled
from .compare import as_beside

if TYPE_CHECKING:
    from .report import LiveResult


def draw(result: LiveResult, folder: str | Path) -> list[Path]:
    """Draw the figures that the run can show, and return the paths of the files."""
    paths: list[Path] = []
    rows = [row for row in result.evaluation.rows if row["not_captured_ratio"] is not None]
    if rows:
        shown = beside(rows, result.replay_rows, as_beside(result.late_rows, result.replay_rows))
        paths += save(shown, folder, "live-and-replay")
    if result.evaluation.in_force_ms:
        paths += save(tag_times(result.evaluation.in_force_ms, result.evaluation.tag_times_ms), folder, "event-to-tag")
    return paths


@styled
def beside(rows: list[dict[str, Any]], replayed: list[dict[str, Any]], late: list[dict[str, Any]]) -> Any:
    """Draw the share of selected flows not captured, live and in the replays that there are, task by task."""
    series = [(BLUE, "live", rows)]
    series += [(GREY, "replay", replayed)] * bool(replayed)
    series += [(SKY, "replay, tags as late", late)] * bool(late)
    figure, (axes,) = new_figure(1.3 + 0.25 * len(rows) * len(series))
    place, width = np.arange(len(rows)), 0.8 / len(series)
    largest = 0.01
    for number, (colour, label, some) in enumerate(series):
        by_task = {row["task"]: row["not_captured_ratio"] for row in some}
        shares = [by_task.get(row["task"]) for row in rows]
        at = place + width * (number - (len(series) - 1) / 2)
        bars = axes.barh(at, [share or 0.0 for share in shares], 0.95 * width, color=colour, label=label)
        told = ["no value" if share is None else f"{100 * share:.1f} %" for share in shares]
        axes.bar_label(bars, told, padding=3, fontsize="small")
        largest = max([largest, *(share for share in shares if share is not None)])
    reachable = {row["task"]: row["selected_flows"] - row["unreachable_flows"] for row in rows}
    names = [f"{task}\n({count:,} {'flow' if count == 1 else 'flows'})" for task, count in reachable.items()]
    axes.set_yticks(place, names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * largest)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    axes.set_xlabel("reachable selected flows not captured")
    figure.legend(loc="outside lower center", ncols=len(series), columnspacing=1.0)
    coarse = [f"{task}: {said}" for task, count in reachable.items() if (said := few(count, "flow", each=True))]
    headline(figure, f"mode {rows[0]['mode']}; in brackets: reachable flows, live", *coarse)
    return figure


@styled
def tag_times(in_force_ms: list[float], seen_ms: list[float]) -> Any:
    """Draw the share of selections whose tag was in force within a time, and was seen on a packet."""
    figure, (axes,) = new_figure(2.8)
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
    headline(figure, "selections of all tasks", few(len(in_force_ms), "selection", each=True))
    return figure
