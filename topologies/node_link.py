"""Topologies from node-link JSON, as networkx writes it and Topohub publishes: `nodes` and `edges` (or `links`).

Of a node: `id`; `name` (or `label`) for its site; `pos`, longitude and latitude. Of an edge: `source` and `target`;
`dist`, its length in km as the crow flies; `latency_ms` and `rate_mbps` where a user has added them.

Topohub also publishes networks whose `pos` are those of a drawing, in pixels, and gives them a `dist` as if they were
degrees: 14,040 km for two points that are 130 pixels apart. So where any `pos` is no place on the globe, none is taken
for one, and no `dist` for a length.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import TopologyError
from ..fields import show
from .attributes import is_on_globe, number
from .drawing import Drawing, Edge, Node


def read_node_link(document: Mapping[str, Any], source: str) -> Drawing:
    """Read a parsed document, called `source` in messages; TopologyError says what is wrong with it."""
    rows = _rows(document["nodes"], source, "nodes")
    at = [_position(each, f"{source}: nodes[{i}]") for i, each in enumerate(rows)]
    geographic = all(where is None or is_on_globe(where) for where in at)
    nodes = [
        _node(each, where, geographic, f"{source}: nodes[{i}]")
        for i, (each, where) in enumerate(zip(rows, at, strict=True))
    ]
    names = {node.name for node in nodes}
    if len(names) != len(nodes):
        raise TopologyError(f"{source}: two nodes have the same id")
    key = "edges" if "edges" in document else "links"
    edges = [
        _edge(each, names, geographic, f"{source}: {key}[{i}]")
        for i, each in enumerate(_rows(document.get(key), source, key))
    ]
    graph = document.get("graph")
    name = graph.get("name") if isinstance(graph, dict) else None
    return Drawing(name if isinstance(name, str) and name else Path(source).stem, source, nodes, edges)


def _rows(value: Any, source: str, key: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise TopologyError(f"{source}: {key} must be a list of objects, not {show(value)}")
    return value


def _position(data: Mapping[str, Any], where: str) -> tuple[float, float] | None:
    if (pos := data.get("pos")) is None:
        return None
    if not isinstance(pos, list) or len(pos) != 2:
        raise TopologyError(f"{where}: pos must be longitude and latitude, not {show(pos)}")
    x, y = (number(each, f"{where}: pos") for each in pos)
    return x, y


def _node(data: Mapping[str, Any], at: tuple[float, float] | None, geographic: bool, where: str) -> Node:
    if "id" not in data:
        raise TopologyError(f"{where}: id is missing")
    site = str(data.get("name") or data.get("label") or "")
    if geographic or at is None:
        return Node(str(data["id"]), site, at)
    return Node(str(data["id"]), site, None, (at[0], -at[1]))  # pixels count downwards


def _edge(data: Mapping[str, Any], names: set[str], geographic: bool, where: str) -> Edge:
    ends = [str(data.get(key)) for key in ("source", "target")]
    for end in ends:
        if end not in names:
            raise TopologyError(f"{where}: ends at {end!r}, and there is no such node")
    latency, rate, length = (
        number(data[key], f"{where}: {key}") if data.get(key) is not None else None
        for key in ("latency_ms", "rate_mbps", "dist")
    )
    return Edge(ends[0], ends[1], latency, rate, length if geographic else None)
