"""A topology as JSON, in and out: the project's own format, written down in docs/topologies.md.

A .json file of node-link form (`node_link.py`) is recognised by its key `nodes`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import TopologyError
from ..fields import show, suggestion
from .drawing import Settling, settle
from .node_link import read_node_link
from .topology import Link, Topology, with_hosts

KEYS = ("name", "hosts", "switches", "links", "sites", "positions")
LINK_KEYS = ("a", "b", "latency_ms", "rate_mbps")
NUMBER = "number"
"""Key of a link: which of several between the same two devices; 1 where it is not there."""


def to_json(topology: Topology) -> str:
    """Return the topology as JSON text; `from_json` of it is an equal topology."""
    parts = {
        "name": topology.name,
        "switches": list(topology.switches),
        "hosts": list(topology.hosts),
        "links": [_link_dict(link) for link in topology.links],
        "sites": dict(topology.sites),
        "positions": {name: list(place) for name, place in topology.positions.items()},
    }
    return json.dumps(parts, indent=1) + "\n"


def _link_dict(link: Link) -> dict[str, Any]:
    number = {NUMBER: link.number} if link.number > 1 else {}
    return {key: getattr(link, key) for key in LINK_KEYS} | number


def load_json(path: Path, **how: Any) -> Topology:
    """Read a topology from a JSON file; its name is the file's where the file gives none.

    `how` are the parameters of `drawing.Settling`, for node-link files only: the own format says all by itself.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TopologyError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise TopologyError(f"{path}: not UTF-8 text: {error}") from None
    document = _parsed(text, str(path))
    if isinstance(document, dict) and "nodes" in document:
        return settle(read_node_link(document, str(path)), Settling(**how))
    for key, value in how.items():
        if value != getattr(Settling(), key):
            raise TopologyError(
                f"{path}: {key} is for files of other tools; this one is in mozart's own format, where the links say it"
            )
    return _own(document, str(path))


def from_json(text: str, source: str = "<text>") -> Topology:
    """Read a topology from JSON text of the own format, called `source` in messages. Hosts are added where it has
    none.
    """
    return _own(_parsed(text, source), source)


def _parsed(text: str, source: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TopologyError(f"{source}: not valid JSON: {error}") from None


def _own(document: Any, source: str) -> Topology:
    _keys(document, KEYS, ("switches", "links"), source)
    switches = tuple(_texts(document["switches"], f"{source}: switches"))
    links = tuple(
        _link(each, f"{source}: links[{i}]") for i, each in enumerate(_list(document["links"], source, "links"))
    )
    if "hosts" in document:
        hosts = tuple(_texts(document["hosts"], f"{source}: hosts"))
    else:
        hosts, host_links = with_hosts(switches)
        links += host_links
    sites, positions = _places(document, {*hosts, *switches}, source)
    name = document.get("name", Path(source).stem)
    if not isinstance(name, str):
        raise TopologyError(f"{source}: name must be a text, not {show(name)}")
    return Topology(name, hosts, switches, links, sites, positions)


def _keys(table: Any, known: tuple[str, ...], needed: tuple[str, ...], where: str) -> None:
    if not isinstance(table, dict):
        raise TopologyError(f"{where}: must be an object with the keys {', '.join(known)}, not {show(table)}")
    for key in table:
        if key not in known:
            raise TopologyError(f"{where}: unknown key {key!r}{suggestion(key, known)}; keys are {', '.join(known)}")
    for key in needed:
        if key not in table:
            raise TopologyError(f"{where}: {key} is missing")


def _list(value: Any, source: str, key: str) -> list[Any]:
    if not isinstance(value, list):
        raise TopologyError(f"{source}: {key} must be a list, not {show(value)}")
    return value


def _texts(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise TopologyError(f"{where} must be a list of device names, not {show(value)}")
    return value


def _link(value: Any, where: str) -> Link:
    _keys(value, (*LINK_KEYS, NUMBER), LINK_KEYS, where)
    for key in ("a", "b"):
        if not isinstance(value[key], str):
            raise TopologyError(f"{where}.{key} must be a device name, not {show(value[key])}")
    number = value.get(NUMBER, 1)
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise TopologyError(f"{where}.{NUMBER} must be a whole number of at least 1, not {show(number)}")
    latency_ms, rate_mbps = (_number(value[key], f"{where}.{key}") for key in LINK_KEYS[2:])
    return Link(value["a"], value["b"], latency_ms, rate_mbps, number)


def _number(value: Any, where: str) -> float:
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    except OverflowError:
        pass
    raise TopologyError(f"{where} must be a number, not {show(value)}")


def _places(
    document: Mapping[str, Any], devices: set[str], source: str
) -> tuple[dict[str, str], dict[str, tuple[float, float]]]:
    tables: dict[str, dict[str, Any]] = {}
    for key in ("sites", "positions"):
        table = document.get(key, {})
        if not isinstance(table, dict) or not table.keys() <= devices:
            raise TopologyError(f"{source}: {key} must be an object with a key for some of the devices")
        tables[key] = table
    for device, site in tables["sites"].items():
        if not isinstance(site, str):
            raise TopologyError(f"{source}: sites.{device} must be a text, not {show(site)}")
    positions = {}
    for device, place in tables["positions"].items():
        if not isinstance(place, list) or len(place) != 2:
            raise TopologyError(f"{source}: positions.{device} must be a list of two numbers, not {show(place)}")
        x, y = (_number(each, f"{source}: positions.{device}") for each in place)
        positions[device] = (x, y)
    return tables["sites"], positions
