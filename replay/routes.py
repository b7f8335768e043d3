"""Routes: every way that a packet can take through the network, numbered.

A route is a path between two hosts, or the first part of one, which is what a packet crosses that a link drops. All
that follows from paths (which selector sees a packet, which monitors it crosses, which of them its tag reaches) is
worked out once for each route, so that the hot loops only look it up.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import SpecError
from ..topologies.roles import RoutedPath, routed_paths
from ..topologies.topology import Link, Topology

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


class Routes:
    """All routes between the hosts of a topology: whole paths first, then the parts of paths."""

    def __init__(self, topology: Topology, ecmp: str | float = "hops") -> None:
        self.topology = topology
        hosts = topology.hosts
        paths: list[tuple[int, int, RoutedPath]] = []
        self.first = np.full((len(hosts), len(hosts)), -1, np.int32)
        self.count = np.zeros((len(hosts), len(hosts)), np.int32)
        for a, src in enumerate(hosts):
            for b, dst in enumerate(hosts):
                if a != b:
                    found = routed_paths(topology, src, dst, ecmp)
                    self.first[a, b], self.count[a, b] = len(paths), len(found)
                    paths.extend((a, b, path) for path in found)
        self.all: list[Route] = []
        for number, (a, b, path) in enumerate(paths):
            self.all.append(Route(path, len(path.devices), int(self.first[b, a]) + number - int(self.first[a, b])))
        self.whole = len(self.all)
        for route in self.all[: self.whole]:
            self.all.extend(Route(route.path, reach, route.reverse) for reach in range(1, route.reach))
        self.outside = len(self.all)
        """The route of packets that do not enter the network: it crosses nothing."""
        self.all.append(Route(RoutedPath((), (), -1), 0, self.outside))

    def __len__(self) -> int:
        return len(self.all)

    @cached_property
    def _link_numbers(self) -> dict[tuple[str, str, int], int]:
        links = enumerate(self.topology.links)
        return {ends: i for i, x in links for ends in ((x.a, x.b, x.number), (x.b, x.a, x.number))}

    def link_at(self, route: Route, hop: int) -> int:
        """Return the number, in `topology.links`, of the link between a path's devices `hop` and `hop + 1`."""
        devices = route.path.devices
        return self._link_numbers[devices[hop], devices[hop + 1], route.path.number(hop)]

    @cached_property
    def cut(self) -> dict[tuple[int, int], int]:
        """Number of the route that is the first `reach` devices of whole path p, by (p, reach)."""
        numbers, number = {}, self.whole
        for p, route in enumerate(self.all[: self.whole]):
            for reach in range(1, route.reach):
                numbers[p, reach] = number
                number += 1
        return numbers

    @cached_property
    def path_number(self) -> NDArray[np.int64]:
        """Number of the whole path of each route."""
        numbers = np.arange(len(self.all))
        for (p, _), cut in self.cut.items():
            numbers[cut] = p
        return numbers


@dataclass(frozen=True, slots=True)
class Drops:
    """Link loss as the hot loop wants it: for each link of each whole path, in order, its chance and what is left."""

    hop_start: NDArray[np.int64]
    hop_chance: NDArray[np.float64]
    cut: NDArray[np.int32]
    round_trip_ns: NDArray[np.int64]


def link_drops(routes: Routes, loss: Mapping[str, float]) -> Drops:
    """Work out link loss; `loss` maps a link ("s3-s6", both directions) to a probability.

    Raises SpecError where the topology has no such link.
    """
    topology = routes.topology
    chance = link_chances(topology, loss)
    start, chances, cuts, trips = [0], [], [], []
    for p, route in enumerate(routes.all[: routes.whole]):
        devices = route.devices
        for reach in range(1, len(devices)):
            chances.append(chance[routes.link_at(route, reach - 1)])
            cuts.append(routes.cut[p, reach])
        start.append(len(chances))
        trips.append(round(2 * path_latency_ms(topology, devices) * NS_PER_MS))
    return Drops(np.array(start), np.array(chances), np.array(cuts, np.int32), np.array(trips, np.int64))


def link_chances(topology: Topology, loss: Mapping[str, float]) -> list[float]:
    """Return the probability of a drop for each of the topology's links; SpecError for a link that it does not have."""
    by_link: dict[Link, float] = {}
    for name, probability in loss.items():
        if (link := topology.link_by_name.get(name)) is None:
            links = ", ".join(link.name for link in topology.links if link.a[0] == link.b[0])
            raise SpecError(f"loss names the link {name}, and {topology.name} has no such link; it has {links}")
        by_link[link] = probability
    return [by_link.get(link, 0.0) for link in topology.links]


def path_latency_ms(topology: Topology, devices: tuple[str, ...]) -> float:
    """Return the latency along a path, in ms."""
    return sum(topology.link(a, b).latency_ms for a, b in itertools.pairwise(devices))
