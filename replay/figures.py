"""The figures of a replay: capture against memory, the past against the detection delay, and the size of reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator, PercentFormatter, ScalarFormatter
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from ..monitors.modes import MODES
from ..traces.figures import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    VERMILION,
    few,
    headline,
    new_figure,
    save,
    styled,
)

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

HEIGHT_INCHES = 3.2
STEP_POINTS = 3.4
"""How far a mode's line is moved to the right of the one before."""

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
    figure, (axes,) = new_figure(HEIGHT_INCHES)
    together = lines(axes, rows, "memory_entries", lambda row: row["not_captured_ratio"])
    floor = sorted({(row["memory_entries"], row["floor_ratio"]) for row in rows if row["floor_ratio"] is not None})
    axes.plot(*zip(*floor, strict=True), color="black", linestyle=":", label="floor (of any table)", zorder=4)
    axes.set_ylabel("reachable selected flows\nnot captured")
    share(axes)
    memory(axes, rows)
    legend(figure, axes)
    tell(figure, rows, together, each=True)
    return figure


@styled
def past(rows: Sequence[Row], against: str) -> Any:
    """Draw the share of bytes from before the selection that the records hold."""
    figure, (axes,) = new_figure(HEIGHT_INCHES)
    together = lines(axes, rows, against, lambda row: _ratio(row["pre_event_captured_bytes"], row["pre_event_bytes"]))
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
    tell(figure, rows, together)
    return figure


@styled
def reports(rows: Sequence[Row]) -> Any:
    """Draw the size of the reports against memory."""
    figure, (axes,) = new_figure(HEIGHT_INCHES)
    together = lines(axes, rows, "memory_entries", lambda row: row["report_bytes"] or None)
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
    tell(figure, rows, together)
    return figure


def lines(axes: Axes, rows: Sequence[Row], against: str, value: Any) -> list[str]:
    """Draw one line a mode; rows without a value leave a gap. Returns the modes that lie on one line, a text a line.

    The later the thinner, and each a little to the right of the one before, so that none hides another.
    """
    modes = [mode for mode in MODES if any(row["mode"] == mode for row in rows)]
    drawn: dict[tuple[Any, ...], list[str]] = {}
    for i, mode in enumerate(modes):
        points = sorted((row[against], value(row)) for row in rows if row["mode"] == mode and value(row) is not None)
        if points:
            below = len(modes) - 1 - i
            colour, marker = LOOK.get(mode, (PURPLE, "x"))
            width = 1.1 + 0.6 * below
            beside = ScaledTranslation((i - (len(modes) - 1) / 2) * STEP_POINTS / 72, 0, axes.figure.dpi_scale_trans)
            x, y = zip(*points, strict=True)
            axes.update_datalim(list(points))
            shifted: Any = {"color": colour, "clip_on": False, "transform": axes.transData + beside}
            axes.plot(x, y, linewidth=width, zorder=2 + 0.1 * i, **shifted)
            axes.plot(
                x, y, marker=marker, linestyle="", markersize=4.4, markeredgecolor="white", markeredgewidth=0.4,
                zorder=5 + 0.1 * i, **shifted,
            )  # fmt: skip
            axes.plot([], [], color=colour, marker=marker, linewidth=width, markersize=4.5, label=mode)
            drawn.setdefault(tuple(points), []).append(mode)
    return [", ".join(together) for together in drawn.values() if len(together) > 1]


def tell(figure: Any, rows: Sequence[Row], together: Sequence[str], each: bool = False) -> None:
    """Say above a figure which task it is of, of how many flows (`each`: shares of them), and what lies on one line."""
    row = rows[0]
    selected, reachable = row["selected_flows"], row["selected_flows"] - row["unreachable_flows"]
    flows = f"{selected:,} {'flow' if selected == 1 else 'flows'} selected, {reachable:,} reachable"
    same = f"equal, drawn side by side: {'; '.join(together)}" if together else ""
    headline(figure, f"{row['task']}: {flows}", few(reachable, "reachable flow", each), same)


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
