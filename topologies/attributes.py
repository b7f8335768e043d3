"""What the attributes of nodes and edges mean, in the graphs that networkx reads (GraphML, GML)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import TopologyError
from .drawing import Drawing, Edge, Node

MS_PER_UNIT = {"": 1.0, "ms": 1.0, "us": 1e-3, "s": 1e3}


def drawing_of(graph: Any, path: Path, edges: list[tuple[Any, Any, Any]]) -> Drawing:
    """Return what a graph of networkx draws; `edges` are (node, node, attributes), each link once."""
    nodes = [_node(str(name), data, path) for name, data in graph.nodes(data=True)]
    return Drawing(path.stem, str(path), nodes, [_edge(str(a), str(b), data, path) for a, b, data in edges])


def _node(name: str, data: Mapping[str, Any], path: Path) -> Node:
    place = None
    if "Longitude" in data and "Latitude" in data:
        where = f"{path}: node {name}"
        longitude, latitude = (number(data[key], f"{where}: {key}") for key in ("Longitude", "Latitude"))
        place = on_globe(longitude, latitude, where)
    is_host = str(data.get("type", data.get("kind", ""))).lower() == "host"
    return Node(name, str(data.get("label", "")), place, None, is_host)


def on_globe(longitude: float, latitude: float, where: str) -> tuple[float, float]:
    """Return a place; TopologyError where there is none such."""
    if not is_on_globe((longitude, latitude)):
        raise TopologyError(f"{where}: ({longitude}, {latitude}) is no place on the globe")
    return longitude, latitude


def is_on_globe(place: tuple[float, float]) -> bool:
    """Say whether (longitude, latitude) in degrees is a place."""
    return abs(place[0]) <= 360 and abs(place[1]) <= 90


def _edge(a: str, b: str, data: Mapping[str, Any], path: Path) -> Edge:
    where = f"{path}: edge {a}-{b}"
    return Edge(a, b, _latency_ms(data, where), _rate_mbps(data, where))


def _latency_ms(data: Mapping[str, Any], where: str) -> float | None:
    for key in ("latency_ms", "latency", "delay"):
        if key in data:
            value, unit = re.fullmatch(r"(.*?)\s*(ms|us|s|)", str(data[key]).strip(), re.S).groups()  # type: ignore[union-attr]
            return number(value, f"{where}: {key}") * MS_PER_UNIT[unit]
    return None


def _rate_mbps(data: Mapping[str, Any], where: str) -> float | None:
    if "rate_mbps" in data:
        return number(data["rate_mbps"], f"{where}: rate_mbps")
    if "LinkSpeedRaw" in data:
        return number(data["LinkSpeedRaw"], f"{where}: LinkSpeedRaw") / 1e6
    return None


def number(value: Any, where: str) -> float:
    """Return a number that a file gives; TopologyError where it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TopologyError(f"{where} is {value!r}, which is not a number") from None
