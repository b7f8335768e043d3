"""A picture of a topology: switches at their sites, links with latency or load, hosts as small squares."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TopologyError
from .labels import Clutter
from .layout import switch_places
from .topology import Link, Topology

KINDS = (".png", ".pdf", ".svg")
WIDTH_INCHES = 7.0
HEIGHT = 0.42
"""Height of the drawing as a share of its width."""

MARGIN = 0.07
BAR_INCHES = 0.45
PIXELS_PER_INCH = 200
BLUE, ORANGE, VERMILION, GREY, INK = "#0072B2", "#E69F00", "#D55E00", "#8A8A8A", "#222222"
MOST_LABELLED_LINKS = 40
MOST_NAMED_SWITCHES = 60
MOST_HOSTS_DRAWN = 128
LETTER, LINE = 0.0088, 0.022
"""Width of a letter and height of a line of small type, as shares of the drawing's width."""

RADIUS = 0.018
STYLE: Any = {"font.size": 7.5, "pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "mozart"}
STAMPS: Any = {".png": {"Software": None}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}

Places = Mapping[str, NDArray[np.float64]]


def picture(topology: Topology, path: str | Path, loads: Mapping[str, float] | None = None) -> Path:
    """Draw a topology into a .png, .pdf or .svg file and return its path.

    `loads` gives Mbit/s by link ('s3-s6'): links are coloured by load over rate, those not named as idle.
    Without it links carry their latency in ms. TopologyError where a link is unknown or the file cannot be
    written.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    place = Path(path)
    kind = place.suffix.lower()
    if kind not in KINDS:
        raise TopologyError(f"{path}: a picture's name ends in {', '.join(KINDS)}")
    with mpl.rc_context(STYLE):
        figure = Figure(layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.set_aspect("equal")
        axes.axis("off")
        _draw(figure, axes, topology, loads)
        try:
            figure.savefig(place, dpi=PIXELS_PER_INCH, metadata=STAMPS[kind])
        except OSError as error:
            raise TopologyError(f"{path}: the picture cannot be written: {error.strerror}") from None
    return place


def _draw(figure: Any, axes: Any, topology: Topology, loads: Mapping[str, float] | None) -> None:
    """Draw lines first, then squares and circles, then the words where they hide least."""
    spots = switch_places(topology, HEIGHT)
    places: Places = dict(zip(topology.switches, spots, strict=True))
    core = [link for link in topology.links if link.a in places and link.b in places]
    clutter = Clutter(-MARGIN, 1 + MARGIN)
    for link in core:
        clutter.add_line(places[link.a], places[link.b], 1.0)
    size = _marker_size(spots)
    notes = []
    if len(topology.hosts) <= MOST_HOSTS_DRAWN:
        _draw_hosts(axes, topology, places, size, clutter)
        notes.append("squares: hosts")
    if loads is None:
        _draw_links(axes, core, places, size)
    else:
        _draw_loads(figure, axes, core, places, _load_by_link(topology, loads))
    _draw_switches(axes, places, size, clutter)
    if _has_place_names(topology):
        _name_sites(axes, topology, places, clutter)
    if loads is None:
        notes.insert(0, _tell_latencies(axes, core, places, clutter))
    low, high = spots[:, 1].min() - 0.11, spots[:, 1].max() + 0.07
    axes.set(xlim=(-MARGIN, 1 + MARGIN), ylim=(low, high))
    axes.text(-MARGIN, low, "; ".join(filter(None, notes)), fontsize=6, color=GREY, va="bottom", parse_math=False)
    bar = BAR_INCHES if loads is not None else 0.0
    figure.set_size_inches(WIDTH_INCHES, WIDTH_INCHES * (high - low) / (1 + 2 * MARGIN) + bar)


def _marker_size(spots: NDArray[np.float64]) -> float:
    """Return 1, or less where switches stand too close for circles of full size (as an area)."""
    distance = np.sqrt(((spots[:, None] - spots[None]) ** 2).sum(axis=2))
    np.fill_diagonal(distance, np.inf)
    return float(min(1.0, (distance.min() / (3 * RADIUS)) ** 2)) if len(spots) > 1 else 1.0


def _has_place_names(topology: Topology) -> bool:
    """True where sites are places, few enough to be written; in a fat-tree they are layers, plain to see."""
    sites = list(topology.sites.values())
    return 0 < len(sites) <= MOST_LABELLED_LINKS and len(set(sites)) > len(sites) / 2


def _draw_links(axes: Any, links: list[Link], places: Places, size: float) -> None:
    for link in links:
        axes.plot(*_line(places, link), color=GREY, linewidth=1.1 * np.sqrt(size), zorder=2, solid_capstyle="round")


def _line(places: Places, link: Link) -> tuple[list[float], list[float]]:
    (ax, ay), (bx, by) = places[link.a], places[link.b]
    return [ax, bx], [ay, by]


def _load_by_link(topology: Topology, loads: Mapping[str, float]) -> dict[str, float]:
    """Return the loads by the links' own names, whichever way round they were given."""
    found = {}
    for name, load in loads.items():
        a, _, b = name.partition("-")
        found[topology.link(a, b).name] = load
    return found


def _draw_loads(figure: Any, axes: Any, links: list[Link], places: Places, loads: Mapping[str, float]) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize
    from matplotlib.ticker import PercentFormatter

    shares = [loads.get(link.name, 0.0) / link.rate_mbps for link in links]
    top = max([*shares, 1e-3])
    ramp = LinearSegmentedColormap.from_list("load", ["#C8C8C8", VERMILION])
    for link, share in zip(links, shares, strict=True):
        axes.plot(*_line(places, link), color=ramp(share / top), linewidth=1.1 + 2.4 * share / top, zorder=2)
    colours = ScalarMappable(Normalize(0.0, top), ramp)
    bar = figure.colorbar(
        colours, ax=axes, location="bottom", shrink=0.4, pad=0.01, aspect=30, format=PercentFormatter(1.0)
    )
    bar.set_label("load, share of the link's rate")
    bar.outline.set_visible(False)


def _draw_switches(axes: Any, places: Places, size: float, clutter: Clutter) -> None:
    points = np.array(list(places.values()))
    axes.scatter(points[:, 0], points[:, 1], s=230 * size, color=BLUE, edgecolors="white", linewidths=1.0, zorder=4)
    for switch, (x, y) in places.items():
        clutter.add_box(np.array([x, y]), (2 * RADIUS, 2 * RADIUS), 3.0)
        if len(places) <= MOST_NAMED_SWITCHES:
            axes.text(
                x,
                y,
                switch,
                color="white",
                ha="center",
                va="center_baseline",
                fontsize=7 * min(1.0, 1.4 * size),
                zorder=5,
                parse_math=False,
            )


def _name_sites(axes: Any, topology: Topology, places: Places, clutter: Clutter) -> None:
    for switch, place in places.items():
        site = topology.sites.get(switch, "")
        if not site:
            continue
        size = (LETTER * len(site), LINE)
        beside, above = RADIUS + size[0] / 2 + 0.008, RADIUS + LINE / 2 + 0.008
        ways = [(0, -1), (0, 1), (1, 0), (-1, 0), (0.8, -0.8), (-0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)]
        centres = [place + np.array([dx * beside, dy * above]) for dx, dy in ways]
        _write(axes, clutter.best_place(centres, size), site, 6.5)


def _tell_latencies(axes: Any, links: list[Link], places: Places, clutter: Clutter) -> str:
    """Write the latency on each link, or return it for the note where all are alike."""
    if len({link.latency_ms for link in links}) <= 1:
        return f"latency of each link: {links[0].latency_ms:g} ms" if links else ""
    if len(links) > MOST_LABELLED_LINKS:
        return ""
    for link in links:
        text = f"{link.latency_ms:.3g}"
        a, b = places[link.a], places[link.b]
        centres = [a + share * (b - a) for share in (0.5, 0.42, 0.58, 0.35, 0.65, 0.28, 0.72)]
        _write(axes, clutter.best_place(centres, (LETTER * len(text), LINE * 0.8)), text, 6, on_line=True)
    return "on links: latency in ms"


def _write(axes: Any, centre: NDArray[np.float64], text: str, points: float, on_line: bool = False) -> None:
    """Write a text: one on a line has a plate, and a line that comes near another is seen up to its letters."""
    from matplotlib.patheffects import withStroke

    plate = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
    halo = [withStroke(linewidth=2, foreground="white")]
    look: dict[str, Any] = {"bbox": plate} if on_line else {"path_effects": halo}
    axes.text(*centre, text, color=INK, fontsize=points, ha="center", va="center", zorder=6, parse_math=False, **look)


def _draw_hosts(axes: Any, topology: Topology, places: Places, size: float, clutter: Clutter) -> None:
    """Draw the hosts of each switch on a fan in the middle of the widest angle that its links leave free."""
    by_switch: dict[str, list[str]] = {}
    for host in topology.hosts:
        by_switch.setdefault(topology.switch_of(host), []).append(host)
    for switch, hosts in by_switch.items():
        others = [x.b if x.a == switch else x.a for x in topology.links if switch in (x.a, x.b)]
        middle = _free_angle([places[other] - places[switch] for other in others if other in places])
        spread = min(0.35 * (len(hosts) - 1), 2.0)
        for turn in np.linspace(-spread / 2, spread / 2, len(hosts)):
            way = np.array([np.cos(middle + turn), np.sin(middle + turn)])
            end = places[switch] + 0.042 * np.sqrt(size) * way
            axes.plot(*zip(places[switch], end, strict=True), color=ORANGE, linewidth=0.8, zorder=1)
            axes.scatter(*end, s=14 * size, marker="s", color=ORANGE, zorder=3)
            clutter.add_line(places[switch], end, 2.0)
            clutter.add_box(end, (0.02, 0.02), 3.0)


def _free_angle(directions: list[NDArray[np.float64]]) -> float:
    """Return the middle of the widest angle between directions; straight down where there are none."""
    if not directions:
        return -np.pi / 2
    angles = np.sort([np.arctan2(y, x) for x, y in directions])
    gaps = np.diff(np.append(angles, angles[0] + 2 * np.pi))
    widest = int(np.argmax(gaps))
    return float(angles[widest] + gaps[widest] / 2)
