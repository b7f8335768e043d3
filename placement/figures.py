"""Figures of a comparison: the paper's table as bars, the map with device loads, time and gap against size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .comparison import Run
from .problem import RESOURCES, Problem
from .result import Placement, device_loads

FORMATS = ("png", "pdf")


def bound_text(bound_ms: float | None) -> str:
    """Return a latency bound as figures and tables show it."""
    if bound_ms is None:
        return "own bounds"
    return "no bound" if math.isinf(bound_ms) else f"≤ {bound_ms:g} ms"


def plot_table(rows: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Draw a summary: share of tasks and average latency for each algorithm, a bar for each bound."""
    from matplotlib.figure import Figure

    algorithms = list(dict.fromkeys(row["algorithm"] for row in rows))
    bounds = list(dict.fromkeys(row["max_latency_ms"] for row in rows))
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    columns = (("placed_share", 100, "tasks that run (%)"), ("avg_latency_ms", 1, "average latency (ms)"))
    for axes, (column, scale, label) in zip(panels, columns, strict=True):
        width = 0.8 / len(bounds)
        for k, bound in enumerate(bounds):
            mine = {row["algorithm"]: row for row in rows if row["max_latency_ms"] == bound}
            at = [i + (k - (len(bounds) - 1) / 2) * width for i in range(len(algorithms))]
            values = [scale * (mine.get(a, {}).get(column) or 0.0) for a in algorithms]
            errors = [scale * (mine.get(a, {}).get(f"{column}_95") or 0.0) for a in algorithms]
            axes.bar(at, values, width, yerr=errors, capsize=2, label=bound_text(bound))
        axes.set_xticks(range(len(algorithms)), algorithms, rotation=25, ha="right")
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
    panels[1].legend(title="latency", frameon=False)
    return _save(figure, folder / "placement_table")


def plot_loads(problem: Problem, placement: Placement, folder: Path) -> list[Path]:
    """Draw how much of each device's scarce resource the placed modules use."""
    from matplotlib.figure import Figure

    loads = device_loads(problem, placement)
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    for k, resource in enumerate(RESOURCES):
        have = [d for d in problem.devices if getattr(d, resource) > 0]
        shares = [100 * loads[d.name][resource] / getattr(d, resource) for d in have]
        at = [list(problem.index).index(d.name) + (k - 0.5) * 0.2 for d in have]
        axes.bar(at, shares, 0.6, label=("memory" if k == 0 else "CPU"))
    axes.set_xticks(range(len(problem.devices)), [d.name for d in problem.devices], rotation=90)
    axes.axhline(100, color="black", linewidth=0.8)
    axes.set_ylabel("used (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    return _save(figure, folder / "placement_loads")


def plot_scaling(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Draw time and gap against the number of tasks, a line for each algorithm."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    panels = figure.subplots(1, 2)
    for algorithm in dict.fromkeys(run.row["algorithm"] for run in runs):
        rows = sorted((r.row for r in runs if r.row["algorithm"] == algorithm), key=lambda row: row["tasks"])
        sizes = [row["tasks"] for row in rows]
        panels[0].plot(sizes, [row["build_s"] + row["solve_s"] for row in rows], "o-", label=algorithm)
        known = [(row["tasks"], 100 * row["gap"]) for row in rows if row["gap"] is not None]
        if known:
            panels[1].plot(*zip(*known, strict=True), "o-", label=algorithm)
    panels[0].set_yscale("log")
    for axes, label in zip(panels, ("time (s)", "gap to the bound (%)"), strict=True):
        axes.set_xlabel("tasks")
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
    return _save(figure, folder / "placement_scaling")


def _save(figure: Any, stem: Path) -> list[Path]:
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_suffix(f".{kind}") for kind in FORMATS]
    for path in paths:
        figure.savefig(path, dpi=150)
    return paths
