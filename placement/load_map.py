"""A map of the network with what placed modules use: memory of switches, CPU of hosts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from ..topologies.labels import Clutter
from ..topologies.layout import switch_places
from ..topologies.picture import HEIGHT, INK, MARGIN, MOST_HOSTS_DRAWN, RADIUS, WIDTH_INCHES
from ..topologies.topology import Topology
from ..traces.figures import styled
from .problem import Problem

LEGEND_INCHES = 0.6
MOST_TOLD = 40
"""Devices of a kind up to which names and shares are written."""

HOST_DISTANCE, HOST_SIZE, HOST_AREA = 0.05, 0.018, 55.0
"""Shares of the drawing's width, and the area of a square of that size in square points."""

WIDEST_STEP = 0.6
"""Angle between the hosts of a fan where there is room."""

LETTER, LINE = 0.0088, 0.022
"""Width of a letter and height of a line of small type, as shares of the drawing's width."""

DARK = 0.4
"""Share from which words on the colour are white."""

MEMORY = LinearSegmentedColormap.from_list("memory", ["#EAF3FA", "#0072B2", "#00304D"])
CPU = LinearSegmentedColormap.from_list("cpu", ["#FDF3DC", "#E69F00", "#7A4B00"])
GREY, BORDER = "#BBBBBB", "#555555"
Loads = Mapping[str, Mapping[str, float]]
Point = NDArray[np.float64]


@styled
def load_map(topology: Topology, problem: Problem, loads: Loads, caption: str = "") -> Figure:
    """Draw the topology with each device coloured by the share of its memory or CPU that `loads` say is used.

    `loads` is of `result.device_loads`; devices that the problem has not (any more) are empty, with a cross.
    """
    spots = switch_places(topology, HEIGHT)
    places = dict(zip(topology.switches, spots, strict=True))
    figure = Figure()
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_aspect("equal")
    axes.axis("off")
    clutter = Clutter(-MARGIN, 1 + MARGIN)
    _draw_links(axes, topology, places, clutter)
    scale = _scale(spots)
    for place in spots:
        clutter.add_box(place, (2.2 * RADIUS * scale, 2.2 * RADIUS * scale), 4.0)
    memory, cpu = (_shares(problem, loads, name) for name in ("memory_entries", "cpu_percent"))
    hosts = _draw_hosts(axes, topology, places, cpu, scale, clutter)
    _draw_switches(axes, places, memory, scale, clutter)
    heights = [place[1] for place in (*spots, *hosts)]
    low, high = min(heights) - 0.05, max(heights) + 0.05
    axes.set(xlim=(-MARGIN, 1 + MARGIN), ylim=(low, high))
    map_inches = WIDTH_INCHES * (high - low) / (1 + 2 * MARGIN)
    height = map_inches + LEGEND_INCHES
    figure.set_size_inches(WIDTH_INCHES, height)
    axes.set_position((0.0, LEGEND_INCHES / height, 1.0, map_inches / height))
    _legend(figure, height, memory, cpu if hosts else {})
    figure.text(0.01, LEGEND_INCHES / height, caption, fontsize=6, color=BORDER, va="bottom", parse_math=False)
    return figure


def _draw_links(axes: Axes, topology: Topology, places: Mapping[str, Point], clutter: Clutter) -> None:
    for link in topology.links:
        if link.a in places and link.b in places:
            a, b = places[link.a], places[link.b]
            axes.plot([a[0], b[0]], [a[1], b[1]], color=GREY, linewidth=0.9, zorder=1, solid_capstyle="round")
            clutter.add_line(a, b, 1.0)


def _scale(spots: NDArray[np.float64]) -> float:
    """Return 1, or less where switches stand too close for circles of full size."""
    if len(spots) < 2:
        return 1.0
    distance = np.sqrt(((spots[:, None] - spots[None]) ** 2).sum(axis=2))
    np.fill_diagonal(distance, np.inf)
    return float(min(1.0, distance.min() / (3.5 * RADIUS)))


def _shares(problem: Problem, loads: Loads, resource: str) -> dict[str, float]:
    """Return the used share of a resource for each device that has any of it."""
    have = {device.name: getattr(device, resource) for device in problem.devices}
    return {name: loads[name][resource] / amount for name, amount in have.items() if amount > 0}


def _draw_switches(
    axes: Axes, places: Mapping[str, Point], shares: Mapping[str, float], scale: float, clutter: Clutter
) -> None:
    for name, place in places.items():
        share = shares.get(name)
        named = len(places) <= MOST_TOLD
        _mark(axes, place, share, MEMORY, "o", 290 * scale**2, 3, crossed=not named)
        if not named:
            continue
        colour = "white" if share is not None and share >= DARK else INK
        axes.text(
            place[0],
            place[1],
            name,
            color=colour,
            ha="center",
            va="center_baseline",
            fontsize=6.5,
            zorder=5,
            parse_math=False,
        )
        _tell(axes, place, _percent(share), 1.25 * RADIUS * scale, clutter)


def _draw_hosts(
    axes: Axes,
    topology: Topology,
    places: Mapping[str, Point],
    shares: Mapping[str, float],
    scale: float,
    clutter: Clutter,
) -> list[Point]:
    """Draw hosts around their switches, where they hide least; returns where they are (nowhere: too many)."""
    spots: dict[str, Point] = {}
    if len(topology.hosts) > MOST_HOSTS_DRAWN:
        return []
    for switch, place in places.items():
        mine = [host for host in topology.hosts if topology.switch_of(host) == switch]
        room = min((float(np.hypot(*(place - other))) for name, other in places.items() if name != switch), default=1.0)
        size = min(HOST_SIZE * scale, 0.7 * room / max(len(mine), 1))
        ends = _fan(place, len(mine), HOST_DISTANCE * scale, room, size, clutter)
        for host, end in zip(mine, ends, strict=True):
            axes.plot([place[0], end[0]], [place[1], end[1]], color=GREY, linewidth=0.7, zorder=1)
            _mark(axes, end, shares.get(host), CPU, "s", HOST_AREA * (size / HOST_SIZE) ** 2, 4)
            spots[host] = end
    if len(topology.hosts) <= MOST_TOLD:
        for host, spot in spots.items():
            _tell(axes, spot, f"{host} {_percent(shares.get(host))}", 0.6 * HOST_SIZE * scale, clutter)
    return list(spots.values())


def _fan(centre: Point, hosts: int, distance: float, room: float, size: float, clutter: Clutter) -> list[Point]:
    """Return the places of hosts on a fan around their switch, turned to where it hides least, and note them.

    The fan is no wider than the `room` to the next switch.
    """
    spread = min(WIDEST_STEP, 0.85 * room / max(hosts, 1) / distance) * (hosts - 1)
    turns = np.linspace(-spread / 2, spread / 2, hosts)
    box = (1.4 * size, 1.4 * size)

    def places(middle: float) -> list[Point]:
        return [centre + distance * np.array([np.cos(middle + turn), np.sin(middle + turn)]) for turn in turns]

    ways = [places(middle) for middle in np.linspace(-np.pi / 2, 1.5 * np.pi, 25)[:-1]]
    best = min(ways, key=lambda way: sum(clutter.hidden(place, box) for place in way))
    for place in best:
        clutter.add_line(centre, place, 1.0)
        clutter.add_box(place, box, 3.0)
    return best


def _mark(
    axes: Axes,
    place: Point,
    share: float | None,
    ramp: Colormap,
    marker: str,
    area: float,
    zorder: int,
    crossed: bool = True,
) -> None:
    """Draw a device in the colour of its share; one that is gone is white, with a dashed edge or crossed."""
    colour: Any = "white" if share is None else ramp(min(share, 1.0))
    edge: Any = {"linestyles": "--"} if share is None else {}
    axes.scatter(
        place[0],
        place[1],
        s=area,
        marker=marker,
        color=[colour],
        edgecolors=BORDER,
        linewidths=0.6,
        zorder=zorder,
        **edge,
    )
    if share is None and crossed:
        axes.scatter(place[0], place[1], s=area / 3, marker="x", color=BORDER, linewidths=0.6, zorder=zorder + 0.5)


def _tell(axes: Axes, place: Point, text: str, reach: float, clutter: Clutter) -> None:
    """Write a text beside a mark that reaches so far from its place, where it hides least."""
    size = (LETTER * len(text), LINE)
    beside, above = reach + size[0] / 2 + 0.003, reach + size[1] / 2
    ways = [(0, -1), (0, 1), (1, 0), (-1, 0), (0.8, -0.8), (-0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)]
    spot = clutter.best_place([place + np.array([dx * beside, dy * above]) for dx, dy in ways], size)
    plate = {"boxstyle": "square,pad=0.08", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
    axes.text(
        spot[0], spot[1], text, color=INK, fontsize=6, ha="center", va="center", zorder=2, bbox=plate, parse_math=False
    )


def _percent(share: float | None) -> str:
    return "gone" if share is None else f"{100 * share:.0f} %"


def _legend(figure: Figure, height: float, memory: Mapping[str, float], cpu: Mapping[str, float]) -> None:
    """Put a colour bar a resource below the map, side by side, with the mean of what is used."""
    for left, ramp, shares, what in ((0.1, MEMORY, memory, "memory of switches"), (0.58, CPU, cpu, "CPU of hosts")):
        if shares:
            place = figure.add_axes((left, 0.38 / height, 0.32, 0.09 / height))
            bar = figure.colorbar(
                ScalarMappable(Normalize(0.0, 1.0), ramp),
                place,
                orientation="horizontal",
                format=PercentFormatter(1.0, 0),
            )
            bar.set_label(f"{what} used (mean {100 * np.mean(list(shares.values())):.0f} %)", fontsize=7)
            bar.ax.tick_params(labelsize=6.5, length=2)
            bar.outline.set_visible(False)
