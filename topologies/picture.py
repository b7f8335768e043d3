"""A picture of a topology: switches at their sites, links with latency or load, hosts as small squares.

A load is shown for each direction apart: an arrow from either end of a link to its middle has the colour of what that
end sends, and the number beside it is in Mbit/s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError, TopologyError
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
SHORT = 0.15
"""Links of no more than this share of the width have smaller arrow heads."""
STYLE: Any = {"font.size": 7.5, "pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "mozart"}
STAMPS: Any = {".png": {"Software": None}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}

Places = Mapping[str, NDArray[np.float64]]


def picture(topology: Topology, path: str | Path, loads: Mapping[str, float] | None = None, caption: str = "") -> Path:
    """Draw a topology into a .png, .pdf or .svg file and return its path.

    `loads` gives Mbit/s by direction of a link ('s3>s6', 's3>s6.2'), and links not named are idle; each direction is
    coloured by load over rate, parallel links together. Without it links carry their latency in ms. `caption` is what
    the loads are of. TopologyError where a link is unknown, OutputError where the file cannot be written.
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
        _draw(figure, axes, topology, loads, caption)
        try:
            figure.savefig(place, dpi=PIXELS_PER_INCH, metadata=STAMPS[kind])
        except OSError as error:
            raise OutputError(f"{path}: the picture cannot be written: {error.strerror}") from None
    return place


def _draw(figure: Any, axes: Any, topology: Topology, loads: Mapping[str, float] | None, caption: str) -> None:
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
        one_way = _by_direction(topology, loads)
        _draw_loads(figure, axes, core, places, one_way, size)
    _draw_switches(axes, places, size, clutter)
    if _has_place_names(topology):
        _name_sites(axes, topology, places, clutter)
    notes.insert(0, _tell_latencies(axes, core, places, clutter) if loads is None else caption)
    if loads is not None:
        notes.insert(1, _tell_loads(axes, core, places, clutter, one_way))
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


def _by_direction(topology: Topology, loads: Mapping[str, float]) -> dict[tuple[str, str], float]:
    """Return the loads by (from, to), of parallel links together; raises TopologyError for a link that is not there."""
    found: dict[tuple[str, str], float] = {}
    for name, load in loads.items():
        a, _, b = name.partition(">")
        if name.replace(">", "-", 1) not in topology.link_by_name:
            topology.link(a, b)
        way = (a, b.partition(".")[0])
        found[way] = found.get(way, 0.0) + load
    return found


def _ways(links: Iterable[Link]) -> dict[tuple[str, str], float]:
    """Return the directions of links, (from, to), with their rates: of parallel links one, with all of their rates."""
    rates: dict[tuple[str, str], float] = {}
    for link in links:
        for way in ((link.a, link.b), (link.b, link.a)):
            rates[way] = rates.get(way, 0.0) + link.rate_mbps
    return rates


def _draw_loads(
    figure: Any, axes: Any, links: list[Link], places: Places, loads: Mapping[tuple[str, str], float], size: float
) -> None:
    """Draw an arrow from each end of a link to its middle, coloured by that direction's share of the link's rate."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize
    from matplotlib.ticker import FuncFormatter

    shares = {way: loads.get(way, 0.0) / rate for way, rate in _ways(links).items()}
    top = round_up(max([*shares.values(), 1e-9]))
    ramp = LinearSegmentedColormap.from_list("load", ["#D5D5D5", ORANGE, VERMILION, "#6E2F00"])
    for way, of_rate in shares.items():
        share, begin, end = of_rate / top, places[way[0]], places[way[1]]
        head = 14 if np.hypot(*(end - begin)) > SHORT else 8
        axes.annotate(
            "", xy=begin + 0.5 * (end - begin), xytext=begin, zorder=2 + share,
            arrowprops={
                "arrowstyle": "-|>,head_width=0.16,head_length=0.32", "color": ramp(share), "shrinkA": 0,
                "shrinkB": 0, "linewidth": (1.2 + 1.6 * share) * np.sqrt(size), "mutation_scale": head * np.sqrt(size),
            },
        )  # fmt: skip
    colours = ScalarMappable(Normalize(0.0, top), ramp)
    parts = 5 if round(top / 10.0 ** np.floor(np.log10(top))) in (1, 5) else 4
    bar = figure.colorbar(
        colours, ax=axes, location="bottom", shrink=0.4, pad=0.01, aspect=30, ticks=np.linspace(0.0, top, parts + 1),
        format=FuncFormatter(lambda share, _: f"{100 * share:.4g} %"),
    )  # fmt: skip
    bar.set_label("load of each direction, share of the link's rate")
    bar.outline.set_visible(False)


def round_up(value: float) -> float:
    """Return the next of 1, 2, 4, 5, 8 and 10 times a power of ten: the end of a scale."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 2, 4, 5, 8, 10) if value <= step * power * (1 + 1e-9)))


def _tell_loads(
    axes: Any, links: list[Link], places: Places, clutter: Clutter, loads: Mapping[tuple[str, str], float]
) -> str:
    """Write the load beside each arrow, or say that there are too many; returns the note."""
    if len(links) > MOST_LABELLED_LINKS:
        return ""
    for way in _ways(links):
        text = told_load(loads.get(way, 0.0))
        a, b = places[way[0]], places[way[1]]
        aside = np.array([-(b - a)[1], (b - a)[0]]) / max(float(np.hypot(*(b - a))), 1e-9) * (0.55 * LINE)
        centres = [a + share * (b - a) + side * aside for share in (0.27, 0.33, 0.22, 0.38) for side in (-1, 1)]
        _write(axes, clutter.best_place(centres, (0.8 * LETTER * (len(text) + 1), 0.8 * LINE)), text, 5.2)
    return "numbers: Mbit/s in the direction of the arrow"


def told_load(mbps: float) -> str:
    """Write a load in few letters."""
    return f"{mbps:,.0f}" if mbps >= 10 or not mbps else f"{mbps:.1f}" if mbps >= 1 else f"{mbps:.1g}"


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
