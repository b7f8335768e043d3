"""Figures of a comparison: the paper's table as bars, device loads on the map, time and gap against size."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation, Transform
from numpy.typing import NDArray

from ..topologies.topology import Topology
from ..traces.figures import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    headline,
    interval,
    new_figure,
    save,
    styled,
)
from .comparison import Run, bound_text, summary
from .load_map import load_map
from .problem import RESOURCES, Problem
from .report import told
from .result import device_loads

COLOURS = (BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, GREY)
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
LINES: Any = ("-", "--", ":", "-.")
LEAST_GROUPS = 4
CROWDED_LETTERS = 40
"""Letters that stand side by side under the bars; more of them are turned."""

MOST_NAMED_DEVICES = 60
STEP_POINTS = 2.4
"""How far a curve is moved to the right of the one before."""

FEW_REPEATS = 5
"""Of fewer repeats a mean says little."""
Row = dict[str, Any]


def draw(runs: Sequence[Run], last: Problem, topology: Topology | None, folder: str | Path) -> list[Path]:
    """Draw what runs can show into a folder and return the paths: tables, loads of the last run's problem, scaling.

    Each topology, number of tasks and load has a table of its own; where the number of tasks varies, each topology and
    load has a figure of how algorithms scale. Loads are drawn on the map where there is a topology.
    """
    rows = summary(runs)
    paths: list[Path] = []
    for name, mine in _apart(rows, "topology", "tasks", "load"):
        paths += save(table(mine), folder, f"placement_table{name}")
    loads = device_loads(last, runs[-1].placement)
    if topology is not None:
        paths += save(load_map(topology, last, loads, told(runs[-1])), folder, "placement_map")
    else:
        paths += save(device_bars(last, loads, told(runs[-1])), folder, "placement_loads")
    for name, mine in _apart(rows, "topology", "load"):
        if len({row["tasks"] for row in mine}) > 1:
            paths += save(scaling(mine), folder, f"placement_scaling{name}")
    return paths


def _apart(rows: Sequence[Row], *columns: str) -> list[tuple[str, list[Row]]]:
    """Return the rows apart by columns, each part with an end for its file's name; empty where there is one part."""
    parts: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        parts.setdefault(tuple(row[column] for column in columns), []).append(row)
    if len(parts) == 1:
        return [("", next(iter(parts.values())))]
    return [(re.sub(r"[^\w.-]+", "-", "_" + "_".join(map(str, key))), part) for key, part in parts.items()]


@styled
def table(rows: Sequence[Row]) -> Any:
    """Draw the share of tasks that run and their average latency: a group of bars an algorithm, a bar a bound."""
    algorithms = list(dict.fromkeys(row["algorithm"] for row in rows))
    bounds = list(dict.fromkeys(row["max_latency_ms"] for row in rows))
    figure, panels = new_figure(3.6, rows=2)
    columns = (("placed_share", 100, "tasks that\nrun (%)"), ("avg_latency_ms", 1, "average\nlatency (ms)"))
    width = 0.8 / len(bounds)
    for axes, (column, scale, label) in zip(panels, columns, strict=True):
        for k, bound in enumerate(bounds):
            mine = {row["algorithm"]: row for row in rows if row["max_latency_ms"] == bound}
            there = [i for i, name in enumerate(algorithms) if name in mine and mine[name][column] is not None]
            at = [i + (k - (len(bounds) - 1) / 2) * width for i in there]
            values = [scale * mine[algorithms[i]][column] for i in there]
            most = 100.0 if column == "placed_share" else np.inf
            halves = [scale * (mine[algorithms[i]][f"{column}_95"] or 0.0) for i in there]
            errors = np.array([interval(v, h, most=most) for v, h in zip(values, halves, strict=True)]).T
            bars: Any = {"error_kw": {"linewidth": 0.7}, "capsize": 1.5} | ({"yerr": errors} if any(halves) else {})
            axes.bar(at, values, 0.92 * width, color=COLOURS[k % len(COLOURS)], label=bound_text(bound), **bars)
        axes.set_ylabel(label)
        axes.grid(axis="x", visible=False)
    panels[0].set_ylim(0, 100)
    panels[0].tick_params(axis="x", length=0)
    pad = max(0.5, (LEAST_GROUPS - len(algorithms)) / 2)
    panels[1].set_xlim(-pad, len(algorithms) - 1 + pad)
    crowded = sum(map(len, algorithms)) > CROWDED_LETTERS
    turned: Any = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    panels[1].set_xticks(range(len(algorithms)), algorithms, **turned)
    figure.align_ylabels(panels)
    if bounds != [None]:
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, columnspacing=1.2, handlelength=1.0)
    headline(figure, *_of(rows))
    return figure


def _of(rows: Sequence[Row]) -> list[str]:
    """Say what rows are of: tasks, network, load, and over how many problems the means are."""
    tasks, places = ({row[name] for row in rows} for name in ("tasks", "topology"))
    size = f"{min(tasks):,} tasks" if len(tasks) == 1 else f"{min(tasks):,} to {max(tasks):,} tasks"
    where = f" on {', '.join(map(str, places))}, load {rows[0]['load']:g}" if None not in places else ""
    repeats = sorted({row["repeats"] for row in rows})
    means = f"means of {repeats[0]}" if len(repeats) == 1 else f"means of {repeats[0]} to {repeats[-1]}"
    if repeats[-1] == 1:
        return [f"{size}{where}: one problem, so there is no interval"]
    few = "; few: the intervals are wide" if repeats[0] < FEW_REPEATS else ""
    return [f"{size}{where}: {means} problems, with 95 % intervals{few}"]


@styled
def device_bars(problem: Problem, loads: Mapping[str, Mapping[str, float]], caption: str = "") -> Any:
    """Draw the share of each device's memory or CPU that the placed modules use: for problems without a topology.

    `caption` says which placement it is.
    """
    figure, panels = new_figure(3.2, rows=2)
    for axes, resource, label in zip(panels, RESOURCES, ("memory used (%)", "CPU used (%)"), strict=True):
        for at, device in enumerate(problem.devices):
            if getattr(device, resource) > 0:
                share = 100 * loads[device.name][resource] / getattr(device, resource)
                axes.bar(at, share, 0.8, color=BLUE if resource == RESOURCES[0] else ORANGE)
        axes.set_ylim(0, 100)
        axes.set_ylabel(label)
        axes.grid(axis="x", visible=False)
    panels[0].tick_params(axis="x", length=0)
    names = [device.name for device in problem.devices]
    if len(names) <= MOST_NAMED_DEVICES:
        panels[1].set_xticks(range(len(names)), names, rotation=90, fontsize=6)
    else:
        panels[1].set_xlabel("device, in the order of the problem")
    figure.align_ylabels(panels)
    headline(figure, caption)
    return figure


@styled
def scaling(rows: Sequence[Row]) -> Any:
    """Draw mean time, and mean gap with its interval, against tasks: a colour an algorithm, a kind of line a bound."""
    figure, (times, gaps) = new_figure(4.2, rows=2)
    algorithms = list(dict.fromkeys(row["algorithm"] for row in rows))
    bounds = list(dict.fromkeys(row["max_latency_ms"] for row in rows))
    keys = []
    for i, algorithm in enumerate(algorithms):
        look: Any = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "markersize": 4}
        keys.append(Line2D([], [], label=algorithm, **look))
        for k, bound in enumerate(bounds):
            mine = [row for row in rows if (row["algorithm"], row["max_latency_ms"]) == (algorithm, bound)]
            beside = (i * len(bounds) + k - (len(algorithms) * len(bounds) - 1) / 2) * STEP_POINTS / 72
            line = {**look, "linestyle": LINES[k % len(LINES)], "clip_on": False, "zorder": 3}
            x, y, _ = _points(mine, "seconds", 1)
            times.plot(x, y, transform=_moved(times, beside), **line)
            times.update_datalim(list(zip(x, y, strict=True)))
            x, y, half = _points(mine, "gap", 100)
            if len(x):
                errors = np.array([interval(v, h, most=100.0) for v, h in zip(y, half, strict=True)]).T
                gaps.errorbar(x, y, errors, capsize=1.5, elinewidth=0.7, transform=_moved(gaps, beside), **line)
                gaps.update_datalim([(x[0], 0.0), (x[-1], float((y + errors[1]).max()))])
    _finish_scaling(times, gaps, sorted({row["tasks"] for row in rows}))
    if len(bounds) > 1:
        keys += [
            Line2D([], [], color="black", linestyle=LINES[k % len(LINES)], label=bound_text(bound))
            for k, bound in enumerate(bounds)
        ]
    figure.align_ylabels([times, gaps])
    figure.legend(handles=keys, loc="outside lower center", ncols=3, columnspacing=1.2)
    headline(figure, *_of(rows))
    return figure


def _moved(axes: Axes, inches: float) -> Transform:
    """Return the axes' coordinates moved to the right, so that equal curves stand side by side."""
    return axes.transData + ScaledTranslation(inches, 0, axes.figure.dpi_scale_trans)


def _points(rows: Sequence[Row], column: str, scale: float) -> NDArray[np.float64]:
    """Return number of tasks, mean and half width of the interval, shape (3, rows that have the column)."""
    known = sorted((row["tasks"], row[column], row[f"{column}_95"] or 0.0) for row in rows if row[column] is not None)
    return np.array(known, np.float64).reshape(-1, 3).T * np.array([[1.0], [scale], [scale]])


def _finish_scaling(times: Axes, gaps: Axes, sizes: Sequence[int]) -> None:
    times.set_yscale("log")
    times.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    times.yaxis.set_minor_locator(NullLocator())
    times.set_ylabel("time (s)")
    gaps.set_ylabel("gap to the\nbound (%)")
    gaps.set_ylim(bottom=0)
    gaps.set_xscale("log")
    gaps.set_xticks(sizes, [f"{size:,}" for size in sizes])
    gaps.xaxis.set_minor_locator(NullLocator())
    gaps.set_xlabel("tasks (equal curves stand side by side)")
