"""Routes: every way that a packet can take through the network, numbered.

A route is a path between two hosts, or the first part of one, which is what a packet crosses that a link drops. All
that follows from paths (which selector sees a packet, which monitors it crosses, which of them its tag reaches) is
worked out once for each route, so that the hot loops only look it up. Routes are columns, as a large network has
millions of them (`topologies/host_paths.py`); `Routes.all` gives single ones as values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np
from numpy.typing import NDArray

from ..errors import SpecError
from ..topologies.host_paths import host_paths
from ..topologies.roles import RoutedPath
from ..topologies.topology import Link, Topology
from . import route_kernels

NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class Route:
    """The first `reach` devices of a path; all of them where nothing drops the packet."""

    path: RoutedPath
    reach: int
    reverse: int
    """Number of the whole path in the opposite direction."""

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices that a packet on this route crosses, in order."""
        return self.path.devices[: self.reach]

    @property
    def dropped_hop(self) -> int | None:
        """The hop at which a packet of this route is dropped, or None where it arrives."""
        return None if self.reach == len(self.path.devices) else self.reach - 1


class AllRoutes(Sequence[Route]):
    """The routes as values, each made when it is asked for."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    def __len__(self) -> int:
        return len(self._routes)

    @overload
    def __getitem__(self, number: int) -> Route: ...
    @overload
    def __getitem__(self, number: slice) -> list[Route]: ...
    def __getitem__(self, number: int | slice) -> Route | list[Route]:
        if isinstance(number, slice):
            return [self._routes.route(i) for i in range(*number.indices(len(self)))]
        return self._routes.route(range(len(self))[number])

    def __iter__(self) -> Iterator[Route]:
        return (self._routes.route(i) for i in range(len(self)))


class Routes:
    """All routes between the hosts of a topology: whole paths first, then the parts of paths, then `outside`."""

    def __init__(self, topology: Topology, ecmp: str | float = "hops", lossy: Collection[int] | None = None) -> None:
        """Find all paths, and their first parts up to each link that may drop packets.

        `lossy` are the numbers of these links in `topology.links`; None: any link may.
        """
        self.topology = topology
        self.paths = host_paths(topology, ecmp)
        self.first, self.count = self.paths.first, self.paths.count
        self.whole = len(self.paths)
        self._cut_entry = self._cuts(lossy)
        """The entry of `paths.devices` behind which each part of a path ends."""
        self.outside = self.whole + len(self._cut_entry)
        """The route of packets that do not enter the network: it crosses nothing."""

    def _cuts(self, lossy: Collection[int] | None) -> NDArray[np.int64]:
        last = np.zeros(len(self.paths.devices), np.bool_)
        last[self.paths.start[1:] - 1] = True
        if lossy is None:
            return np.flatnonzero(~last)
        if not lossy:
            return np.empty(0, np.int64)
        return np.flatnonzero(np.isin(self.hop_links, list(lossy)) & ~last)

    def __len__(self) -> int:
        return self.outside + 1

    @property
    def all(self) -> AllRoutes:
        """The routes as values."""
        return AllRoutes(self)

    def route(self, number: int) -> Route:
        """Return a route as a value."""
        if number == self.outside:
            return Route(RoutedPath((), (), -1), 0, self.outside)
        path = int(self.path_number[number])
        return Route(self.paths.path(path), int(self.reach[number]), int(self.paths.reverse[path]))

    @cached_property
    def path_number(self) -> NDArray[np.int64]:
        """Number of the whole path of each route; `outside` of outside."""
        of_cuts = np.searchsorted(self.paths.start, self._cut_entry, side="right") - 1
        return np.concatenate([np.arange(self.whole), of_cuts, [self.outside]])

    @cached_property
    def reach(self) -> NDArray[np.int32]:
        """How many devices of its path each route crosses."""
        start = self.paths.start
        of_cuts = self._cut_entry + 1 - start[self.path_number[self.whole : self.outside]]
        return np.concatenate([np.diff(start), of_cuts, [0]]).astype(np.int32)

    @cached_property
    def cut(self) -> dict[tuple[int, int], int]:
        """Number of the route that is the first `reach` devices of whole path p, by (p, reach)."""
        parts = range(self.whole, self.outside)
        path, reach = self.path_number[self.whole : self.outside], self.reach[self.whole : self.outside]
        return dict(zip(zip(path.tolist(), reach.tolist(), strict=True), parts, strict=True))

    @cached_property
    def hop_links(self) -> NDArray[np.int32]:
        """Number, in `topology.links`, of the link behind each entry of `paths.devices`; of the last of a path -1."""
        devices, index = self.paths.devices, self.topology.index
        ends = np.full((len(index), len(index)), -1, np.int32)
        for number, link in reversed(list(enumerate(self.topology.links))):
            ends[index[link.a], index[link.b]] = ends[index[link.b], index[link.a]] = number
        found = np.append(ends[devices[:-1], devices[1:]], np.int32(-1))
        found[self.paths.start[1:] - 1] = -1
        for number, link in enumerate(self.topology.links):
            if link.number > 1:
                first = ends[index[link.a], index[link.b]]
                found[(found == first) & (self.paths.numbers == link.number)] = number
        return found

    def links_of(self, number: int) -> NDArray[np.int32]:
        """Return the links that a packet on a route crosses, by their numbers in `topology.links`."""
        if number == self.outside:
            return np.empty(0, np.int32)
        begin = self.paths.start[self.path_number[number]]
        return self.hop_links[begin : begin + self.reach[number] - 1]

    def dropping_link(self, number: int) -> int:
        """Return the link that drops the packets of a route that is the first part of a path."""
        return int(self.hop_links[self._cut_entry[number - self.whole]])


@dataclass(frozen=True, slots=True)
class Drops:
    """Link loss as the hot loop wants it: for each link of each whole path, in order, its chance and what is left."""

    hop_start: NDArray[np.int64]
    hop_chance: NDArray[np.float64]
    cut: NDArray[np.int32]
    """Route of what the link drops; -1 where it drops nothing."""
    round_trip_ns: NDArray[np.int64]


def link_drops(routes: Routes, loss: Mapping[str, float]) -> Drops:
    """Work out link loss; `loss` maps a link ("s3-s6", both directions) to a probability.

    Raises SpecError where the topology has no such link.
    """
    chance = np.array(link_chances(routes.topology, loss))
    links, paths = routes.hop_links, routes.paths
    cut = np.full(len(links), -1, np.int32)
    cut[routes._cut_entry] = np.arange(routes.whole, routes.outside)
    hops = links >= 0
    latency_ms = np.array([link.latency_ms for link in routes.topology.links])
    one_way_ms = np.empty(len(paths))
    route_kernels.add_up(paths.start, links, latency_ms, one_way_ms)
    start = paths.start - np.arange(len(paths.start))
    return Drops(start, chance[links[hops]], cut[hops], np.rint(2 * one_way_ms * NS_PER_MS).astype(np.int64))


def link_chances(topology: Topology, loss: Mapping[str, float]) -> list[float]:
    """Return the probability of a drop for each of the topology's links; SpecError for a link that it does not have."""
    by_link: dict[Link, float] = {}
    for name, probability in loss.items():
        if (link := topology.link_by_name.get(name)) is None:
            links = ", ".join(link.name for link in topology.links if link.a[0] == link.b[0])
            raise SpecError(f"loss names the link {name}, and {topology.name} has no such link; it has {links}")
        by_link[link] = probability
    return [by_link.get(link, 0.0) for link in topology.links]


def lossy_links(topology: Topology, loss: Mapping[str, float]) -> set[int]:
    """Return the numbers of the links that drop packets, in `topology.links`."""
    return {number for number, chance in enumerate(link_chances(topology, loss)) if chance > 0}
