"""The network that works: a topology without the links that are down."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from ..errors import SpecError
from ..topologies.topology import Link, Topology


def without_links(topology: Topology, down: Collection[str]) -> tuple[Topology, tuple[str, ...]]:
    """Return the largest connected part that is left without some links ('s3-s6'), and the devices outside of it.

    The largest part is the one with most hosts, then most switches, then the first. Raises SpecError for a link that
    the topology does not have, and where no part has both a host and a switch.
    """
    names = {link.name for link in topology.links}
    for name in sorted(set(down) - names):
        raise SpecError(f"the link {name} is said to be down, and {topology.name} has none of that name")
    links = tuple(link for link in topology.links if link.name not in down)
    part = max(_parts(topology, links), key=lambda part: (len(part & set(topology.hosts)), len(part)))
    hosts = tuple(host for host in topology.hosts if host in part)
    switches = tuple(switch for switch in topology.switches if switch in part)
    if not hosts or not switches:
        raise SpecError(f"with {', '.join(sorted(down))} down, nothing of {topology.name} is connected to a host")
    inside = tuple(link for link in links if link.a in part)
    working = dataclasses.replace(topology, hosts=hosts, switches=switches, links=inside)
    return working, tuple(device for device in topology.devices if device not in part)


def _parts(topology: Topology, links: Collection[Link]) -> list[set[str]]:
    """Return the connected parts of a network, in the order of their first devices."""
    neighbours: dict[str, set[str]] = {device: set() for device in topology.devices}
    for link in links:
        neighbours[link.a].add(link.b)
        neighbours[link.b].add(link.a)
    parts: list[set[str]] = []
    for device in topology.devices:
        if not any(device in part for part in parts):
            part, waiting = {device}, [device]
            while waiting:
                new = neighbours[waiting.pop()] - part
                part |= new
                waiting += new
            parts.append(part)
    return parts
