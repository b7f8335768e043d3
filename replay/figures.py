"""The figures of a replay: capture against memory, the past against the detection delay, and the size of reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator, PercentFormatter, ScalarFormatter
from numpy.typing import NDArray

from ..monitors.modes import MODES
from ..traces.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION, new_figure, save, styled

LOOK = {
    "none": (GREY, "o"),
    "tag": (ORANGE, "^"),
    "two-mode": (GREEN, "s"),
    "mozart": (BLUE, "D"),
    "recent": (VERMILION, "v"),
}
"""Colour and marker of each mode, the same in all figures."""

LETTER_SHARE = 0.027
"""Width of a letter below the axis, as a share of the axis."""

Row = dict[str, Any]


def draw(rows: Sequence[Row], folder: str | Path) -> list[Path]:
    """Draw the figures of every task that the rows can show, and return the paths of the files."""
    paths = []
    for task in dict.fromkeys(row["task"] for row in rows):
        mine = [row for row in rows if row["task"] == task]
        delay = min(row["detection_delay_ms"] for row in mine)
        at_delay = [row for row in mine if row["detection_delay_ms"] == delay]
        if not any(row["selected_flows"] for row in mine):
            continue
        if len({row["memory_entries"] for row in mine}) > 1:
            paths += save(capture(at_delay), folder, f"{task}-not-captured")
            paths += save(reports(at_delay), folder, f"{task}-report-bytes")
        memory = sorted({row["memory_entries"] for row in mine})
        if len({row["detection_delay_ms"] for row in mine}) > 1:
            middle = memory[len(memory) // 2]
            at_memory = [row for row in mine if row["memory_entries"] == middle]
            paths += save(past(at_memory, "detection_delay_ms"), folder, f"{task}-pre-event")
        elif len(memory) > 1:
            paths += save(past(at_delay, "memory_entries"), folder, f"{task}-pre-event")
    return paths


@styled
def capture(rows: Sequence[Row]) -> Any:
    """Draw the share of selected flows that are not captured against memory."""
    figure, (axes,) = new_figure(2.9)
    lines(axes, rows, "memory_entries", lambda row: row["not_captured_ratio"])
    floor = sorted({(row["memory_entries"], row["floor_ratio"]) for row in rows if row["floor_ratio"] is not None})
    axes.plot(*zip(*floor, strict=True), color="black", linestyle=":", label="floor (of any table)", zorder=4)
    axes.set_ylabel("reachable selected flows\nnot captured")
    share(axes)
    memory(axes, rows)
    legend(figure, axes)
    return figure


@styled
def past(rows: Sequence[Row], against: str) -> Any:
    """Draw the share of bytes from before the selection that the records hold."""
    figure, (axes,) = new_figure(2.9)
    lines(axes, rows, against, lambda row: _ratio(row["pre_event_captured_bytes"], row["pre_event_bytes"]))
    axes.set_ylabel("bytes from before the\nselection captured")
    share(axes)
    if against == "memory_entries":
        memory(axes, rows)
    else:
        axes.set_xlabel(f"detection delay (ms), {rows[0]['memory_entries']:,} entries a monitor")
        axes.set_xscale("symlog", linthresh=10)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(left=-1)
        axes.set_xticks(sorted({row[against] for row in rows}))
    legend(figure, axes)
    return figure


@styled
def reports(rows: Sequence[Row]) -> Any:
    """Draw the size of the reports against memory."""
    figure, (axes,) = new_figure(2.9)
    lines(axes, rows, "memory_entries", lambda row: row["report_bytes"] or None)
    sizes = [row["report_bytes"] for row in rows if row["report_bytes"]]
    if sizes and max(sizes) >= 10 * min(sizes):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if max(sizes) < 1000 * min(sizes) else (1.0,)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:  # within a decade a logarithmic axis may have no number at all
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _bytes(value)))
    axes.set_ylabel("size of all reports")
    memory(axes, rows)
    legend(figure, axes)
    return figure


def lines(axes: Axes, rows: Sequence[Row], against: str, value: Any) -> None:
    """Draw one line a mode, the later the thinner, so that none hides another; rows without a value leave a gap."""
    modes = [mode for mode in MODES if any(row["mode"] == mode for row in rows)]
    for i, mode in enumerate(modes):
        points = sorted((row[against], value(row)) for row in rows if row["mode"] == mode and value(row) is not None)
        if points:
            below = len(modes) - 1 - i
            colour, marker = LOOK.get(mode, (PURPLE, "x"))
            axes.plot(
                *zip(*points, strict=True), color=colour, marker=marker, label=mode, clip_on=False,
                linewidth=1.3 + 0.55 * below, markersize=3.8 + 0.75 * below,
            )  # fmt: skip


def legend(figure: Any, axes: Axes) -> None:
    """Put the legend below the axes, where it hides no line."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, columnspacing=1.4)


def share(axes: Axes) -> None:
    """Make the y axis one of shares."""
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def memory(axes: Axes, rows: Sequence[Row]) -> None:
    """Make the x axis one of memory; sizes that lie too close for their numbers share one."""
    sizes = sorted({row["memory_entries"] for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, _apart([f"{size:,}" for size in sizes], np.log2(sizes)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("memory of each monitor (entries)")


def _apart(labels: Sequence[str], at: NDArray[np.float64]) -> list[str]:
    """Empty the labels that would touch the one before them; `at` is where they stand, in any unit."""
    width, free, kept = max(at[-1] - at[0], 1e-9), -np.inf, []
    for label, place in zip(labels, (at - at[0]) / width, strict=True):
        half = LETTER_SHARE * (len(label) + 1) / 2
        kept.append(label if place - half >= free else "")
        free = place + half if kept[-1] else free
    return kept


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _bytes(value: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"
