"""Topologies from GraphML files, such as those of the Internet Topology Zoo.

Of a node: `Latitude` and `Longitude`; `label` for its site; `type` (or `kind`) "host" makes it a host. Of an
edge: `latency_ms`, `latency` or `delay` in ms (a text may end in ms, us or s); `rate_mbps`, or `LinkSpeedRaw`
in bit/s. Where an edge has no latency it follows from the coordinates of its ends. Nodes that are not already
named s1.., h1.. are numbered in the file's order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import TopologyError
from .geography import fibre_latency_ms
from .topology import HOST_LINK_MBPS, HOST_LINK_MS, Link, Topology, with_hosts

MS_PER_UNIT = {"": 1.0, "ms": 1.0, "us": 1e-3, "s": 1e3}


def load_graphml(path: Path, latency_ms: float | None = None, rate_mbps: float = 1_000.0) -> Topology:
    """Read a GraphML file; the numbers are for edges whose latency or rate the file does not tell."""
    graph = _read(path)
    nodes = dict(graph.nodes(data=True))
    edges = [(a, b, attributes) for a, b, attributes in graph.edges(data=True)]
    if not nodes:
        raise TopologyError(f"{path}: there are no nodes in this file")
    names = _device_names(nodes)
    hosts = tuple(name for name in names.values() if name.startswith("h"))
    switches = tuple(name for name in names.values() if name.startswith("s"))
    places = _coordinates(nodes, path)
    links = []
    for a, b, attributes in _once(edges, graph.is_directed()):
        ends = (places.get(a), places.get(b))
        where = f"{path}: edge {a}-{b}"
        to_host = names[a].startswith("h") or names[b].startswith("h")
        default_ms, default_mbps = (HOST_LINK_MS, HOST_LINK_MBPS) if to_host else (latency_ms, rate_mbps)
        latency = _latency_ms(attributes, ends, default_ms, where)
        links.append(Link(names[a], names[b], latency, _rate_mbps(attributes, default_mbps, where)))
    if not hosts:
        hosts, host_links = with_hosts(switches)
        links += host_links
    sites = {names[node]: str(data["label"]) for node, data in nodes.items() if data.get("label")}
    positions = {names[node]: place for node, place in places.items()}
    return Topology(path.stem, hosts, switches, tuple(links), sites, positions)


def _read(path: Path) -> Any:
    import networkx

    try:
        return networkx.read_graphml(path)
    except OSError as error:
        raise TopologyError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception as error:  # networkx and the XML parser raise whatever a damaged file makes them stumble over
        raise TopologyError(f"{path}: not valid GraphML: {error}") from None


def _device_names(nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Map node ids to h1.., s1..; kept if all are such names, else numbered in the order of the file."""
    if all(re.fullmatch(r"[hs][1-9]\d*", str(node)) for node in nodes):
        return {node: str(node) for node in nodes}
    count = {"h": 0, "s": 0}
    names = {}
    for node, data in nodes.items():
        letter = "h" if str(data.get("type", data.get("kind", ""))).lower() == "host" else "s"
        count[letter] += 1
        names[node] = f"{letter}{count[letter]}"
    return names


def _coordinates(nodes: Mapping[str, Mapping[str, Any]], path: Path) -> dict[str, tuple[float, float]]:
    """Return (longitude, latitude) of the nodes that have both."""
    places = {}
    for node, data in nodes.items():
        if "Longitude" in data and "Latitude" in data:
            longitude, latitude = (
                _number(data[key], f"{path}: node {node}: {key}") for key in ("Longitude", "Latitude")
            )
            if not (abs(longitude) <= 360 and abs(latitude) <= 90):
                raise TopologyError(f"{path}: node {node}: ({longitude}, {latitude}) is no place on the globe")
            places[node] = (longitude, latitude)
    return places


def _once(edges: list[tuple[Any, Any, Any]], directed: bool) -> list[tuple[Any, Any, Any]]:
    """Drop the second direction of the links of a directed file; other repetitions stay, to be refused."""
    if not directed:
        return edges
    seen = set()
    kept = []
    for a, b, attributes in edges:
        if (b, a) not in seen or a == b:
            kept.append((a, b, attributes))
        seen.add((a, b))
    return kept


def _latency_ms(
    attributes: Mapping[str, Any],
    ends: tuple[tuple[float, float] | None, tuple[float, float] | None],
    default_ms: float | None,
    where: str,
) -> float:
    for key in ("latency_ms", "latency", "delay"):
        if key in attributes:
            number, unit = re.fullmatch(r"(.*?)\s*(ms|us|s|)", str(attributes[key]).strip(), re.S).groups()  # type: ignore[union-attr]
            return _number(number, f"{where}: {key}") * MS_PER_UNIT[unit]
    if ends[0] is not None and ends[1] is not None:
        return fibre_latency_ms(ends[0], ends[1])
    if default_ms is None:
        raise TopologyError(
            f"{where} has no latency, and its ends have no Latitude and Longitude; add them to the file or "
            "give the latency of such links, as in FILE.graphml,latency_ms=5"
        )
    return default_ms


def _rate_mbps(attributes: Mapping[str, Any], default_mbps: float, where: str) -> float:
    if "rate_mbps" in attributes:
        return _number(attributes["rate_mbps"], f"{where}: rate_mbps")
    if "LinkSpeedRaw" in attributes:
        return _number(attributes["LinkSpeedRaw"], f"{where}: LinkSpeedRaw") / 1e6
    return default_mbps


def _number(value: Any, where: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TopologyError(f"{where} is {value!r}, which is not a number") from None
