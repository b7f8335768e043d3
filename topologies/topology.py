"""A network as a value: hosts, switches, links, and what follows from them (latencies, equal-cost paths).

Knows nothing of traffic or tasks. Where a network comes from is the other files' matter: one file a generated
topology, `graphml.py` and `json_file.py` for files, `catalogue.py` for all of them by name.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TopologyError
from . import shortest_paths
from .shortest_paths import NS_PER_MS

HOST_LINK_MS = 0.05
"""Latency of the link between a host and its switch, where a topology does not say."""

HOST_LINK_MBPS = 10_000.0
"""Rate of the link between a host and its switch, where a topology does not say."""

FIRST_ADDRESS = ipaddress.IPv4Address("10.0.0.0")
MAX_DEVICES = 4096


@dataclass(frozen=True)
class Link:
    """A link between two devices, the same in both directions."""

    a: str
    b: str
    latency_ms: float
    rate_mbps: float
    number: int = 1
    """Which of the links between the same two devices, where parallel ones are kept apart."""

    @property
    def name(self) -> str:
        """The two ends, as written in the topology: 's3-s6'; of a second link between them: 's3-s6.2'."""
        return f"{self.a}-{self.b}" + (f".{self.number}" if self.number > 1 else "")

    @property
    def reversed(self) -> Link:
        """The same link, named from its other end."""
        return Link(self.b, self.a, self.latency_ms, self.rate_mbps, self.number)


@dataclass(frozen=True)
class Topology:
    """A connected network of switches s1.. and hosts h1.., every host on one switch.

    `sites` names places, `positions` says where a device is drawn (x, y; longitude and latitude in degrees
    where the topology is geographic). Both may lack devices. `notes` say what was changed of the file that it comes
    from. Making one that is not a sound network is a TopologyError that names the link or device.
    """

    name: str
    hosts: tuple[str, ...]
    switches: tuple[str, ...]
    links: tuple[Link, ...]
    sites: Mapping[str, str] = field(default_factory=dict, hash=False)
    positions: Mapping[str, tuple[float, float]] = field(default_factory=dict, hash=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        _check_devices(self)
        _check_links(self)
        _check_hosts(self)
        _check_connected(self)

    @property
    def devices(self) -> tuple[str, ...]:
        """Hosts, then switches: the order of all matrices."""
        return self.hosts + self.switches

    @cached_property
    def index(self) -> dict[str, int]:
        """Place of each device in `devices`."""
        return {device: i for i, device in enumerate(self.devices)}

    @cached_property
    def addresses(self) -> dict[str, str]:
        """Address of each host: 10.0.0.i for the i-th."""
        return {host: str(FIRST_ADDRESS + i) for i, host in enumerate(self.hosts, 1)}

    @cached_property
    def latency_ms(self) -> NDArray[np.float64]:
        """Latency of the latency-shortest path between any two devices, in ms, shape (devices, devices)."""
        matrix = self._latency_ns / NS_PER_MS
        matrix.flags.writeable = False
        return matrix

    @cached_property
    def hops(self) -> NDArray[np.int64]:
        """Links on the path of fewest links between any two devices, shape (devices, devices)."""
        return self._matrix(dict.fromkeys(self._latency_by_pair, 1))

    def switch_of(self, host: str) -> str:
        """Return the switch that a host is attached to."""
        if host not in self._switch_by_host:
            raise TopologyError(f"topology {self.name} has no host {host!r}; hosts are {first_of(self.hosts)}")
        return self._switch_by_host[host]

    def link(self, a: str, b: str) -> Link:
        """Return the link between two devices, whichever way round they are named; the first of parallel ones."""
        return self.bundle(a, b)[0]

    def bundle(self, a: str, b: str) -> tuple[Link, ...]:
        """Return all links between two devices, whichever way round they are named: one, or parallel ones."""
        found = self._links_by_ends.get(frozenset((a, b)))
        if found is None:
            names = [x.name for x in self.links]
            raise TopologyError(f"topology {self.name} has no link {a}-{b}; links are {first_of(names, 30)}")
        return found

    @cached_property
    def has_parallel_links(self) -> bool:
        """Whether two devices have more than one link between them."""
        return len(self._links_by_ends) < len(self.links)

    @cached_property
    def link_by_name(self) -> dict[str, Link]:
        """Links by their names, with the ends in either order: 's3-s6' and 's6-s3', 's3-s6.2' and 's6-s3.2'."""
        return {name: x for x in self.links for name in (x.name, x.reversed.name)}

    def paths(self, src: str, dst: str, ecmp: str | float = "hops") -> tuple[tuple[str, ...], ...]:
        """Return the equal-cost paths from one device to another: tuples of device names, ends included.

        `ecmp` is "hops" (all paths with the fewest links), "none" (the one latency-shortest path) or a
        tolerance in ms (all simple paths no slower than the shortest plus that). At most
        `shortest_paths.MAX_PATHS` are returned, the best ones. `paths(b, a)` holds the reverses of `paths(a,
        b)` in the same order, so a hash that is the same for both directions of a flow sends them over the
        same devices. From a device to itself: one path, of it alone.
        """
        for device in (src, dst):
            if device not in self.index:
                raise TopologyError(
                    f"topology {self.name} has no device {device!r}; devices are {first_of(self.devices)}"
                )
        if src == dst:
            return ((src,),)
        head = (src,) if src in self._switch_by_host else ()
        tail = (dst,) if dst in self._switch_by_host else ()
        first, last = (self._switch_by_host.get(device, device) for device in (src, dst))
        return tuple((*head, *path, *tail) for path in self._switch_paths(first, last, ecmp))

    def _switch_paths(self, first: str, last: str, ecmp: str | float) -> tuple[tuple[str, ...], ...]:
        """Return the paths between two switches; found once, from the one with the lower index."""
        a, b = sorted((self.index[first], self.index[last]))
        key = (a, b, ecmp)
        if key not in self._found_paths:
            paths = shortest_paths.equal_cost_paths(self._graph, a, b, ecmp)
            self._found_paths[key] = tuple(tuple(self.devices[i] for i in path) for path in paths)
        paths_found = self._found_paths[key]
        return paths_found if self.index[first] == a else tuple(path[::-1] for path in paths_found)

    def switch_graph(
        self, cost: str
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return the switches as a graph for kernels: where each one's neighbours begin, the neighbours (ascending, by
        number among the switches), what it costs to go there, and the least cost between any two.

        `cost` is "links" or "latency" (ns).
        """
        first = len(self.hosts)
        costs = self._graph.cost_links if cost == "links" else self._graph.cost_ns
        between = sorted((a - first, b - first, c) for (a, b), c in costs.items() if min(a, b) >= first)
        ends = np.array(between, np.int64).reshape(-1, 3)
        begin = np.searchsorted(ends[:, 0], np.arange(len(self.switches) + 1))
        least = self.hops if cost == "links" else self._latency_ns
        return begin, ends[:, 1].copy(), ends[:, 2].copy(), np.ascontiguousarray(least[first:, first:])

    @cached_property
    def kept(self) -> dict[Any, Any]:
        """What others have worked out of this topology, by what they call it."""
        return {}

    @cached_property
    def _graph(self) -> shortest_paths.Graph:
        return shortest_paths.Graph(self._latency_by_pair, self._latency_ns, self.hops)

    @cached_property
    def _latency_by_pair(self) -> dict[tuple[int, int], int]:
        """Latency in ns of each link, by the indices of its ends."""
        found: dict[tuple[int, int], int] = {}
        for x in self.links:  # of parallel links the shortest counts
            ends = self.index[x.a], self.index[x.b]
            ends = ends[::-1] if ends[::-1] in found else ends
            found[ends] = min(found.get(ends, shortest_paths.UNREACHABLE), round(x.latency_ms * NS_PER_MS))
        return found

    @cached_property
    def _latency_ns(self) -> NDArray[np.int64]:
        return self._matrix(self._latency_by_pair)

    def _matrix(self, costs: Mapping[tuple[int, int], int]) -> NDArray[np.int64]:
        """Return the least cost between any two devices: that between switches, and the hosts' links."""
        first = len(self.hosts)
        between = {(a - first, b - first): cost for (a, b), cost in costs.items() if min(a, b) >= first}
        core = shortest_paths.distances(between, len(self.switches))
        place = np.arange(len(self.devices)) - first
        extra = np.zeros(len(self.devices), np.int64)
        for (a, b), cost in costs.items():
            host, switch = min(a, b), max(a, b)
            if host < first:
                place[host], extra[host] = switch - first, cost
        matrix = core[np.ix_(place, place)] + extra[:, None] + extra[None, :]
        np.fill_diagonal(matrix, 0)
        return matrix

    @cached_property
    def _links_by_ends(self) -> dict[frozenset[str], tuple[Link, ...]]:
        found: dict[frozenset[str], tuple[Link, ...]] = {}
        for link in self.links:
            ends = frozenset((link.a, link.b))
            found[ends] = (*found.get(ends, ()), link)
        return found

    @cached_property
    def _switch_by_host(self) -> dict[str, str]:
        hosts = set(self.hosts)
        ends = [(x.a, x.b) for x in self.links] + [(x.b, x.a) for x in self.links]
        return {a: b for a, b in ends if a in hosts}

    @cached_property
    def _found_paths(self) -> dict[tuple[int, int, str | float], tuple[tuple[str, ...], ...]]:
        return {}


def with_hosts(switches: tuple[str, ...], each: int = 1) -> tuple[tuple[str, ...], tuple[Link, ...]]:
    """Return hosts h1.. and their links: `each` hosts on every switch, in the switches' order."""
    hosts = tuple(f"h{i}" for i in range(1, each * len(switches) + 1))
    return hosts, tuple(Link(host, switches[i // each], HOST_LINK_MS, HOST_LINK_MBPS) for i, host in enumerate(hosts))


def first_of(names: tuple[str, ...] | list[str], count: int = 12) -> str:
    """Return the first names with commas between, and how many more there are."""
    rest = len(names) - count
    return ", ".join(names[:count]) + (f" and {rest} more" if rest > 0 else "")


def _check_devices(topology: Topology) -> None:
    where = f"topology {topology.name}"
    if not topology.switches or not topology.hosts:
        raise TopologyError(f"{where} has no {'hosts' if topology.switches else 'switches'}; give it at least one")
    if len(topology.devices) > MAX_DEVICES:
        raise TopologyError(
            f"{where} has {len(topology.devices):,} devices; {MAX_DEVICES:,} is the most, as latencies are a matrix"
        )
    for kind, letter, names in (("host", "h", topology.hosts), ("switch", "s", topology.switches)):
        seen: set[str] = set()
        for name in names:
            if not re.fullmatch(letter + r"[1-9]\d*", name):
                raise TopologyError(f"{where}: {name!r} is no name for a {kind}; names are {letter}1, {letter}2 ...")
            if name in seen:
                raise TopologyError(f"{where} has two devices {name}; give each its own number")
            seen.add(name)


def _check_links(topology: Topology) -> None:
    seen: set[tuple[frozenset[str], int]] = set()
    for link in topology.links:
        where = f"topology {topology.name}, link {link.name}"
        for end in (link.a, link.b):
            if end not in topology.index:
                raise TopologyError(f"{where}: there is no device {end!r}")
        if link.a == link.b:
            raise TopologyError(f"{where} goes from a device to itself; remove it")
        if (frozenset((link.a, link.b)), link.number) in seen:
            raise TopologyError(
                f"{where} stands twice; keep one link between two devices, with their joint rate, or number them"
            )
        if not (math.isfinite(link.latency_ms) and 0 <= link.latency_ms <= 1e6):
            raise TopologyError(f"{where}: latency_ms is {link.latency_ms}; it must be from 0 to 1,000,000")
        if not (math.isfinite(link.rate_mbps) and link.rate_mbps > 0):
            raise TopologyError(f"{where}: rate_mbps is {link.rate_mbps}; it must be above 0")
        seen.add((frozenset((link.a, link.b)), link.number))


def _check_hosts(topology: Topology) -> None:
    hosts = set(topology.hosts)
    attached: dict[str, list[str]] = {host: [] for host in topology.hosts}
    for link in topology.links:
        for end, other in ((link.a, link.b), (link.b, link.a)):
            if end in hosts:
                attached[end].append(other)
    for host, others in attached.items():
        if len(others) != 1 or others[0] in hosts:
            found = " and ".join(others) or "nothing"
            raise TopologyError(
                f"topology {topology.name}: host {host} is linked to {found}; a host has one link, to a switch"
            )


def _check_connected(topology: Topology) -> None:
    neighbours = shortest_paths.neighbours_of(topology._latency_by_pair, len(topology.devices))
    first = topology.index[topology.switches[0]]
    reached, waiting = {first}, [first]
    while waiting:
        new = set(neighbours[waiting.pop()]) - reached
        reached |= new
        waiting += new
    lost = [device for i, device in enumerate(topology.devices) if i not in reached]
    if lost:
        raise TopologyError(
            f"topology {topology.name} is not connected: no path from {topology.switches[0]} to {first_of(lost)}"
        )
