"""A network as a file of another tool draws it, and how a topology is made of it.

The readers of file formats (GraphML, GML, SNDlib, node-link JSON) know only what their format says: nodes, and edges
whose latency or rate may be missing. What is missing, doubled or apart is settled here, once for all formats:

1. Edges from a node to itself carry no path: they are left out.
2. With `component: largest` only the largest connected part stays (most nodes, then the first in the file).
3. Edges between the same two nodes: `parallel: join` makes one link of them, with the sum of their rates and the
   least of their latencies; `parallel: keep` keeps them apart, numbered in the file's order. Without either they are
   refused.
4. The latency of a link is the edge's own, else that of its length, else that of the places of its ends, else the
   parameter `latency_ms`; its rate is the edge's own, else the parameter `rate_mbps`.
5. Nodes that are not all named s1.., h1.. are numbered in the file's order. Without hosts every switch gets one.

What was left out, joined or stated becomes a note of the topology.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import TopologyError
from .geography import cable_latency_ms, fibre_latency_ms
from .topology import HOST_LINK_MBPS, HOST_LINK_MS, Link, Topology, with_hosts


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a file, by the name that the file gives it."""

    name: str
    site: str = ""
    place: tuple[float, float] | None = None
    """Longitude and latitude in degrees."""
    drawn: tuple[float, float] | None = None
    """Where a picture has it, where that is no place on the globe."""
    is_host: bool = False


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge of a file, the same in both directions; None where the file does not say."""

    a: str
    b: str
    latency_ms: float | None = None
    rate_mbps: float | None = None
    length_km: float | None = None

    @property
    def ends(self) -> frozenset[str]:
        """The two nodes, in no order."""
        return frozenset((self.a, self.b))


@dataclass(frozen=True, slots=True)
class Drawing:
    """All that a file says of a network; `source` names the file in messages."""

    name: str
    source: str
    nodes: Sequence[Node]
    edges: Sequence[Edge]


@dataclass(frozen=True, slots=True)
class Settling:
    """What the user says where the file does not; the parameters of every kind of file."""

    latency_ms: float | None = None
    rate_mbps: float = 1_000.0
    parallel: str | None = None
    component: str | None = None


@dataclass(slots=True)
class _Notes:
    """What was done to the drawing, for the reader of the topology."""

    lines: list[str] = field(default_factory=list)

    def count(self, number: int, one: str, many: str) -> None:
        """Note what was done a number of times, if at all."""
        if number:
            self.lines.append(f"{number:,} {one if number == 1 else many}")


LOOPS = "edge from a node to itself left out", "edges from a node to itself left out"


def settle(drawing: Drawing, how: Settling) -> Topology:
    """Make a topology of a drawing; TopologyError names what stands in the way, and the parameter that settles it."""
    if not drawing.nodes:
        raise TopologyError(f"{drawing.source}: there are no nodes in this file")
    notes = _Notes()
    edges = [edge for edge in drawing.edges if edge.a != edge.b]
    notes.count(len(drawing.edges) - len(edges), *LOOPS)
    nodes, edges = _connected(drawing, edges, how, notes)
    names = _device_names(nodes)
    by_name = {node.name: node for node in nodes}
    links = _joined(drawing, edges, how, names, by_name, notes)
    hosts = tuple(name for name in names.values() if name.startswith("h"))
    switches = tuple(name for name in names.values() if name.startswith("s"))
    if not hosts:
        hosts, host_links = with_hosts(switches)
        links += host_links
    sites = {names[node.name]: node.site for node in nodes if node.site}
    positions = {names[n.name]: where for n in nodes if (where := n.place or n.drawn) is not None}
    return Topology(drawing.name, hosts, switches, tuple(links), sites, positions, tuple(notes.lines))


def _connected(drawing: Drawing, edges: list[Edge], how: Settling, notes: _Notes) -> tuple[Sequence[Node], list[Edge]]:
    """Rule 2: return the nodes and edges that stay."""
    parts = _parts([node.name for node in drawing.nodes], edges)
    if len(parts) == 1:
        return drawing.nodes, edges
    if how.component != "largest":
        raise TopologyError(
            f"{drawing.source}: the network has {len(parts)} parts that no edge joins; the largest has "
            f"{len(max(parts, key=len))} of {len(drawing.nodes)} nodes, outside of it is "
            f"{_outside(parts)}. Say component=largest to take the largest part"
        )
    kept = max(parts, key=len)
    left_out = len(drawing.nodes) - len(kept)
    notes.count(left_out, "node outside of the largest part left out", "nodes outside of the largest part left out")
    return [node for node in drawing.nodes if node.name in kept], [edge for edge in edges if edge.a in kept]


def _outside(parts: Sequence[set[str]]) -> str:
    """Name a node outside of the largest part."""
    largest = max(parts, key=len)
    return next(min(part) for part in parts if part is not largest)


def _parts(nodes: Sequence[str], edges: Sequence[Edge]) -> list[set[str]]:
    """Return the connected parts, in the order of their first nodes."""
    neighbours: dict[str, list[str]] = {node: [] for node in nodes}
    for edge in edges:
        neighbours[edge.a].append(edge.b)
        neighbours[edge.b].append(edge.a)
    parts: list[set[str]] = []
    known: set[str] = set()
    for node in nodes:
        if node not in known:
            part, waiting = {node}, [node]
            while waiting:
                new = set(neighbours[waiting.pop()]) - part
                part |= new
                waiting.extend(new)
            known |= part
            parts.append(part)
    return parts


def _joined(
    drawing: Drawing,
    edges: Sequence[Edge],
    how: Settling,
    names: Mapping[str, str],
    nodes: Mapping[str, Node],
    notes: _Notes,
) -> list[Link]:
    """Rules 3 and 4: return the links, in the order of their first edges."""
    bundles: dict[frozenset[str], list[Edge]] = {}
    for edge in edges:
        bundles.setdefault(edge.ends, []).append(edge)
    links: list[Link] = []
    stated = joined = 0
    for bundle in bundles.values():
        first = bundle[0]
        if len(bundle) > 1 and how.parallel is None:
            raise TopologyError(
                f"{drawing.source}: link {first.a}-{first.b} stands {_times(len(bundle))}; say parallel=join for one "
                "link with their joint rate, or parallel=keep to keep them apart"
            )
        made = [_link(drawing.source, edge, how, names, nodes) for edge in bundle]
        stated += sum(own for _, own in made)
        found = [link for link, _ in made]
        if len(found) > 1 and how.parallel == "join":
            joined += len(found)
            found = [_join(found)]
        links += [Link(x.a, x.b, x.latency_ms, x.rate_mbps, i) for i, x in enumerate(_same_way(found), 1)]
    notes.count(joined, "parallel edge joined", "parallel edges joined into one link a pair of nodes")
    if stated:
        what = f"the latency stated: {how.latency_ms:g} ms"
        notes.count(stated, f"link has {what}", f"links have {what}")
    return links


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count} times"


def _same_way(links: Sequence[Link]) -> list[Link]:
    """Turn all links of a bundle the way of the first."""
    first = links[0]
    return [Link(first.a, first.b, x.latency_ms, x.rate_mbps) for x in links]


def _join(links: Sequence[Link]) -> Link:
    first = links[0]
    return Link(first.a, first.b, min(x.latency_ms for x in links), sum(x.rate_mbps for x in links))


def _link(
    source: str, edge: Edge, how: Settling, names: Mapping[str, str], nodes: Mapping[str, Node]
) -> tuple[Link, bool]:
    """Rule 4: return the link of an edge, and whether its latency is the one that the user stated."""
    a, b = names[edge.a], names[edge.b]
    to_host = a.startswith("h") or b.startswith("h")
    rate = edge.rate_mbps if edge.rate_mbps is not None else HOST_LINK_MBPS if to_host else how.rate_mbps
    latency = _latency_ms(edge, nodes)
    if latency is not None:
        return Link(a, b, latency, rate), False
    if to_host:
        return Link(a, b, HOST_LINK_MS, rate), False
    if how.latency_ms is not None:
        return Link(a, b, how.latency_ms, rate), True
    without = [name for name in (edge.a, edge.b) if nodes[name].place is None]
    raise TopologyError(
        f"{source}: edge {edge.a}-{edge.b} has no latency, and {' and '.join(f'node {name}' for name in without)} "
        f"{'has' if len(without) == 1 else 'have'} no place (longitude and latitude); add it to the file, or give the "
        "latency of such links with latency_ms=5"
    )


def _latency_ms(edge: Edge, nodes: Mapping[str, Node]) -> float | None:
    """Return the latency that the file gives an edge or that follows from what it gives; None where neither does."""
    if edge.latency_ms is not None:
        return edge.latency_ms
    if edge.length_km is not None:
        return cable_latency_ms(edge.length_km)
    one, other = nodes[edge.a].place, nodes[edge.b].place
    return fibre_latency_ms(one, other) if one is not None and other is not None else None


def _device_names(nodes: Sequence[Node]) -> dict[str, str]:
    """Rule 5: return the device of each node, by the node's name."""
    if all(re.fullmatch(r"[hs][1-9]\d*", node.name) for node in nodes):
        return {node.name: node.name for node in nodes}
    count = {"h": 0, "s": 0}
    names = {}
    for node in nodes:
        letter = "h" if node.is_host else "s"
        count[letter] += 1
        names[node.name] = f"{letter}{count[letter]}"
    return names
