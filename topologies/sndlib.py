"""Topologies from SNDlib (sndlib.put.poznan.pl, formerly zib.de): its XML and its native format.

Of a node: its coordinates, longitude and latitude where the file says `geographical` (the native format does not
say: they are taken for that where all of them could be). Of a link: its preinstalled capacity, where the file counts
in MBITPERSEC or another unit of bits a second and it is above 0. No SNDlib file has a latency or a length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import TopologyError
from .attributes import is_on_globe, number, on_globe
from .drawing import Drawing, Edge, Node

NATIVE_START = "?SNDlib native format"
MBPS_PER_UNIT = {"BITSPERSEC": 1e-6, "KBITPERSEC": 1e-3, "MBITPERSEC": 1.0, "GBITPERSEC": 1e3}


def read_sndlib_xml(path: Path) -> Drawing:
    """Read an SNDlib network in XML; TopologyError says what is wrong with it."""
    import xml.etree.ElementTree as tree

    try:
        root = tree.fromstring(path.read_bytes())
    except OSError as error:
        raise TopologyError(f"{path}: cannot be read: {error.strerror}") from None
    except (tree.ParseError, ValueError, LookupError) as error:
        raise TopologyError(f"{path}: not valid XML: {error}") from None
    _without_namespaces(root)
    found = root.find("networkStructure/nodes")
    if root.tag != "network" or found is None:
        raise TopologyError(f"{path}: no SNDlib network: <network> with <networkStructure> and <nodes> is expected")
    geographical = found.get("coordinatesType") == "geographical"
    unit = MBPS_PER_UNIT.get((root.findtext("meta/unit") or "").strip())
    nodes = [_xml_node(each, geographical, path) for each in found.findall("node")]
    links = [_xml_link(each, unit, path) for each in root.findall("networkStructure/links/link")]
    return Drawing(path.stem, str(path), _unique(nodes, path), _known(links, nodes, path))


def _without_namespaces(root: Any) -> None:
    for element in root.iter():
        element.tag = str(element.tag).rpartition("}")[2]


def _xml_node(element: Any, geographical: bool, path: Path) -> Node:
    name = element.get("id") or ""
    where = f"{path}: node {name}"
    at = [element.findtext(f"coordinates/{axis}") for axis in "xy"]
    if None in at:
        return Node(name, name)
    x, y = (number(value.strip(), where) for value in at)
    return Node(name, name, on_globe(x, y, where)) if geographical else Node(name, name, None, (x, -y))


def _xml_link(element: Any, unit: float | None, path: Path) -> Edge:
    where = f"{path}: link {element.get('id')}"
    a, b = ((element.findtext(end) or "").strip() for end in ("source", "target"))
    capacity = element.findtext("preInstalledModule/capacity")
    return Edge(a, b, rate_mbps=_rate_mbps(capacity, unit, where))


def _rate_mbps(capacity: str | None, unit: float | None, where: str) -> float | None:
    """Return a capacity in Mbit/s; None where it is 0 or of no unit that is known."""
    rate = number(capacity.strip(), f"{where}: capacity") if capacity is not None else 0.0
    return rate * unit if unit and rate > 0 else None


def read_sndlib_native(path: Path) -> Drawing:
    """Read an SNDlib network in the native text format; TopologyError says what is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise TopologyError(f"{path}: cannot be read: {error.strerror}") from None
    if not text.lstrip("\ufeff \r\n").startswith(NATIVE_START):
        raise TopologyError(f"{path}: no SNDlib network: its first line is not '{NATIVE_START} ...'")
    text = re.sub(r"#[^\n]*", "", text)
    unit = re.search(r"\bunit\s*=\s*(\w+)", text)
    mbps = MBPS_PER_UNIT.get(unit[1]) if unit else None
    rows = [(words[0], words[2:4]) for words in _section(text, "NODES", path)]
    at = {name: tuple(number(v, f"{path}: node {name}") for v in where) for name, where in rows}
    geographical = all(len(xy) == 2 and is_on_globe((xy[0], xy[1])) for xy in at.values())
    nodes = [
        Node(name, name, xy if geographical else None, None if geographical or len(xy) != 2 else (xy[0], -xy[1]))  # type: ignore[arg-type]
        for name, xy in at.items()
    ]
    if len(nodes) != len(rows):
        _unique([Node(name) for name, _ in rows], path)
    links = [_native_link(words, mbps, path) for words in _section(text, "LINKS", path)]
    return Drawing(path.stem, str(path), nodes, _known(links, nodes, path))


def _native_link(words: list[str], mbps: float | None, path: Path) -> Edge:
    """Return the link of 'L1 ( N1 N2 ) capacity ...'."""
    if words[4] != ")":
        raise TopologyError(f"{path}: link {words[0]} names no pair of nodes")
    capacity = words[5] if len(words) > 5 else None
    return Edge(words[2], words[3], rate_mbps=_rate_mbps(capacity, mbps, f"{path}: link {words[0]}"))


def _section(text: str, name: str, path: Path) -> Iterator[list[str]]:
    """Yield the words of each line of a section: 'N1 ( x y )' and 'L1 ( N1 N2 ) 0.00 ...'."""
    start = re.search(rf"^{name}\s*\(", text, re.M)
    if not start:
        raise TopologyError(f"{path}: no SNDlib network: there is no section {name}")
    for line in text[start.end() :].splitlines():
        words = line.replace("(", " ( ").replace(")", " ) ").split()
        if words == [")"]:
            return
        if words:
            if len(words) < 5 or words[1] != "(":
                raise TopologyError(f"{path}: section {name} has the line {line.strip()!r}, which names no pair")
            yield words
    raise TopologyError(f"{path}: the section {name} has no end")


def _unique(nodes: list[Node], path: Path) -> list[Node]:
    seen: set[str] = set()
    for node in nodes:
        if node.name in seen:
            raise TopologyError(f"{path}: node {node.name} stands twice")
        seen.add(node.name)
    return nodes


def _known(links: list[Edge], nodes: list[Node], path: Path) -> list[Edge]:
    names = {node.name for node in nodes}
    for link in links:
        for end in (link.a, link.b):
            if end not in names:
                raise TopologyError(f"{path}: a link ends at {end!r}, and there is no such node")
    return links
