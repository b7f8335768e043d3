"""Figures of a trace: flow lengths, packet sizes and rate over time, as PNG and PDF.

`styled`, `new_figure` and `save` hold what all figures share: size and type for a column of a paper,
colours that colour-blind readers can tell apart (Okabe and Ito), no ornament, and no date in the files.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from ..errors import OutputError
from ..folders import make_folder
from .info import TimeBins, TraceInfo, tail

BLUE, ORANGE, GREEN, VERMILION, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
SKY, GREY = "#56B4E9", "#666666"
WIDTH_INCHES = 3.5
PIXELS_PER_INCH = 200
MOST_POINTS = 300
FEW = 30
"""Of fewer things a share moves by several percent with each, so the figure says so."""
LINE_LETTERS = 62
"""Letters of small type that fit across a figure."""
STYLE: Any = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.color": "#DDDDDD",
    "axes.axisbelow": True,
    "lines.linewidth": 1.3,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "pdf.fonttype": 42,
    "svg.hashsalt": "mozart",
}


styled = mpl.rc_context(STYLE)
"""Decorator of functions that draw."""


@styled
def new_figure(height_inches: float = 2.4, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """Make a figure as wide as a column, with axes one above the other that share their x axis."""
    figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
    FigureCanvasAgg(figure)
    grid: Any = figure.subplots(rows, 1, sharex=True, squeeze=False)
    return figure, list(grid[:, 0])


def headline(figure: Figure, *sentences: str) -> None:
    """Say above a figure what it is of; empty sentences are left out, long ones go on in the next line."""
    lines = [line for sentence in sentences if sentence for line in textwrap.wrap(sentence, LINE_LETTERS)]
    figure.suptitle("\n".join(lines), x=0.02, ha="left", fontsize=7, linespacing=1.3, parse_math=False)


def few(count: int, one: str, each: bool = False) -> str:
    """Return a sentence that warns of few things; empty where there are many, or none.

    `one` is what one of them is called; with `each` the figure shows shares of them.
    """
    if not 0 < count < FEW:
        return ""
    step = f"each is {100 / count:.3g} %" if each else "one of them can decide the figure"
    return f"only {count} {one}s: {step}" if count > 1 else f"only 1 {one}"


def interval(value: float, half: float, least: float = 0.0, most: float = np.inf) -> tuple[float, float]:
    """Return how far an error bar reaches below and above a value, within what the value can be."""
    return max(min(half, value - least), 0.0), max(min(half, most - value), 0.0)


@styled
def save(figure: Figure, folder: str | Path, name: str) -> list[Path]:
    """Write a figure as PNG and PDF into a folder, made where it is missing, and return the paths."""
    place = Path(folder)
    try:
        make_folder(place)
        paths = [place / f"{name}.{kind}" for kind in ("png", "pdf")]
        figure.savefig(paths[0], dpi=PIXELS_PER_INCH, metadata={"Software": None})
        figure.savefig(paths[1], metadata={"CreationDate": None})
    except OSError as error:
        raise OutputError(f"{folder}: figures cannot be written there: {error.strerror}") from error
    return paths


def draw_trace(info: TraceInfo, folder: str | Path) -> list[Path]:
    """Draw the three figures of a trace with packets into a folder, and return the files' paths."""
    return [
        *save(flow_lengths(info), folder, "flow-lengths"),
        *save(packet_sizes(info), folder, "packet-sizes"),
        *save(rate(info.time_bins, info.last_ns), folder, "rate"),
    ]


@styled
def flow_lengths(info: TraceInfo) -> Figure:
    """Draw the share of flows with at least x packets, both axes logarithmic, with the fitted tail."""
    packets = info.flow_packets()
    values, first = np.unique(packets, return_index=True)
    share = 1 - first / len(packets)
    figure, (axes,) = new_figure()
    axes.loglog(values, share, color=BLUE, drawstyle="steps-pre", label=f"{len(packets):,} flows")
    fit = tail(packets)
    if fit is not None:
        x = np.geomspace(fit.from_packets, values[-1])
        y = fit.flows / len(packets) * ((x - 0.5) / (fit.from_packets - 0.5)) ** -fit.exponent
        axes.loglog(x, y, color=VERMILION, linestyle="--", label=f"Pareto, exponent {fit.exponent:.2f}")
    axes.set_ylim(bottom=0.5 / len(packets))
    axes.set_xlabel("packets a flow, x")
    axes.set_ylabel("share of flows with\nat least x packets")
    axes.legend()
    headline(figure, f"{info.packets:,} packets, {len(packets):,} flows", few(len(packets), "flow", each=True))
    return figure


@styled
def packet_sizes(info: TraceInfo) -> Figure:
    """Draw the share of packets, and of bytes, in packets of at most x bytes."""
    sizes = np.arange(len(info.sizes))
    longest = int(np.flatnonzero(info.sizes)[-1])
    figure, (axes,) = new_figure()
    for counts, name, colour, line in (
        (info.sizes, "packets", BLUE, "-"),
        (info.sizes * sizes, "bytes", VERMILION, "--"),
    ):
        share = np.cumsum(counts) / counts.sum()
        axes.plot(
            sizes[: longest + 1],
            share[: longest + 1],
            color=colour,
            linestyle=line,
            drawstyle="steps-post",
            label=name,
        )
    axes.set_ylim(0, 1.02)
    axes.set_xlim(0, longest * 1.02)
    axes.set_xlabel("IP length x (bytes)")
    axes.set_ylabel("share in packets of\nat most x bytes")
    axes.legend()
    headline(figure, f"{info.packets:,} packets, {info.bytes:,} bytes", few(info.packets, "packet", each=True))
    return figure


@styled
def rate(bins: TimeBins, last_ns: int) -> Figure:
    """Draw packets/s and bit/s over time, in at most 300 whole bins."""
    used = (last_ns - bins.start_ns) // bins.width_ns + 1
    together = -(-used // MOST_POINTS)
    points = max(1, used // together)
    width_s = together * bins.width_ns / 1e9
    time_s = np.arange(points + 1) * width_s
    figure, panels = new_figure(2.8, rows=2)
    for axes, counts, scale, name, colour in (
        (panels[0], bins.packets, 1.0, "packets/s", BLUE),
        (panels[1], bins.bytes, 8.0, "bit/s", GREEN),
    ):
        rates = counts[: points * together].reshape(points, together).sum(axis=1) * scale / width_s
        axes.stairs(rates, time_s, baseline=None, color=colour, linewidth=1.0)
        axes.set_ylim(0, float(rates.max()) * 1.08)
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_ylabel(name)
    figure.align_ylabels(panels)
    panels[1].set_xlim(0, time_s[-1])
    panels[1].set_xlabel(f"time (s), in bins of {width_s * 1e3:.3g} ms")
    packets = int(bins.packets.sum())
    headline(figure, f"{packets:,} packets in {(last_ns - bins.start_ns) / 1e9:,.4g} s", few(packets, "packet"))
    return figure
