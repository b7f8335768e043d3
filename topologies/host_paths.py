"""All equal-cost paths between all hosts of a network, as columns: what replay, controller and placement build on.

A large network has a million such paths, so they are no objects: the devices of path p are
`devices[start[p]:start[p + 1]]`, by their numbers in `Topology.devices`. Paths of a pair of hosts stand side by side,
in the order of `Topology.paths`; those from b to a are the reverses of those from a to b, in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import path_kernels
from .lists import Lists, starts
from .roles import Role, RoutedPath, routed_paths
from .shortest_paths import MAX_PATHS
from .topology import Topology


@dataclass(frozen=True, eq=False)
class HostPaths:
    """The paths, and what the roles of modules (`roles.py`) mean on them."""

    topology: Topology
    first: NDArray[np.int32]
    """Number of the first path from host a to host b, shape (hosts, hosts); -1 from a host to itself."""
    count: NDArray[np.int32]
    """How many there are from a to b."""
    start: NDArray[np.int64]
    devices: NDArray[np.int16]
    numbers: NDArray[np.uint8]
    """Which of parallel links each device's next hop takes (1 is the first); empty where no links are parallel."""

    def __len__(self) -> int:
        return len(self.start) - 1

    @cached_property
    def ends(self) -> NDArray[np.int16]:
        """First and last host of each path, shape (paths, 2)."""
        return np.stack([self.devices[self.start[:-1]], self.devices[self.start[1:] - 1]], axis=1)

    @cached_property
    def reverse(self) -> NDArray[np.int32]:
        """Number of the path in the opposite direction, of each path."""
        a, b = self.ends.T
        return (self.first[b, a] + np.arange(len(self)) - self.first[a, b]).astype(np.int32)

    @cached_property
    def _pairs(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """First path and number of paths of each pair of hosts that has any."""
        some = self.count > 0
        return self.first[some], self.count[some]

    @cached_property
    def ecmp_position(self) -> NDArray[np.int16]:
        """Where on each path its member of the ECMP set stands, -1 where there is none."""
        position = np.empty(len(self), np.int16)
        path_kernels.parting(*self._pairs, self.start, self.devices, position)
        return position

    @cached_property
    def peers(self) -> Lists:
        """The members of each path's ECMP set that do not lie on it."""
        first, count = self._pairs
        counts = np.empty(len(self), np.int64)
        given = (first, count, self.start, self.devices, self.ecmp_position, counts)
        path_kernels.peers(*given, self.start, np.empty(0, np.int16))
        begin = starts(counts)
        out = np.empty(begin[-1], np.int16)
        if len(out):
            path_kernels.peers(*given, begin, out)
        return Lists(begin, out)

    def on(self, role: Role) -> NDArray[np.bool_]:
        """Say of each entry of `devices` whether a module of this role stands there; as `roles.on_path`."""
        if not isinstance(role, str):
            member = np.zeros(len(self.topology.devices), np.bool_)
            member[[self.topology.index[d] for d in role if d in self.topology.index]] = True
            return member[self.devices]
        begin, last = self.start[:-1], self.start[1:] - 1
        if role == "path-switches":
            found = np.ones(len(self.devices), np.bool_)
            found[begin] = found[last] = False
            return found
        found = np.zeros(len(self.devices), np.bool_)
        if role in ("ecmp-switch", "ecmp-peers"):
            position = self.ecmp_position.astype(np.int64)
            found[(begin + position)[position >= 0]] = True
        else:
            place = {
                "source-host": begin,
                "ingress-switch": begin + 1,
                "egress-switch": last - 1,
                "destination-host": last,
            }
            found[place[role]] = True
        return found

    def beside(self, role: Role) -> Lists:
        """Return the devices of a role that concern each path and do not lie on it; as `roles.beside_path`."""
        if role == "ecmp-peers":
            return self.peers
        if isinstance(role, str):
            return Lists(np.zeros(len(self) + 1, np.int64), np.empty(0, np.int16))
        asked = [self.topology.index[d] for d in role if d in self.topology.index]
        off = np.stack([~self._crosses(device) for device in asked], axis=1)
        path, which = np.nonzero(off)
        return Lists(starts(np.bincount(path, minlength=len(self))), np.array(asked, np.int16)[which])

    def _crosses(self, device: int) -> NDArray[np.bool_]:
        """Say which paths cross a device."""
        found = np.zeros(len(self), np.bool_)
        found[np.searchsorted(self.start, np.flatnonzero(self.devices == device), side="right") - 1] = True
        return found

    def devices_of(self, role: Role) -> tuple[str, ...]:
        """Return the devices that have a role on any path, or beside one, in the order of `Topology.devices`."""
        found = np.zeros(len(self.topology.devices), np.bool_)
        found[self.devices[self.on(role)]] = True
        found[self.beside(role).items] = True
        return tuple(self.topology.devices[i] for i in np.flatnonzero(found))

    def path(self, number: int) -> RoutedPath:
        """Return one path as a value."""
        names = self.topology.devices
        mine = slice(self.start[number], self.start[number + 1])
        devices = tuple(names[i] for i in self.devices[mine])
        hops = tuple(self.numbers[mine][:-1].tolist()) if len(self.numbers) else ()
        position = int(self.ecmp_position[number])
        if position < 0:
            return RoutedPath(devices, (), -1, hops)
        a, b = self.ends[number]
        all_of_pair = self.start[self.first[a, b] : self.first[a, b] + self.count[a, b]] + position
        return RoutedPath(devices, tuple(dict.fromkeys(names[i] for i in self.devices[all_of_pair])), position, hops)


def host_paths(topology: Topology, ecmp: str | float = "hops") -> HostPaths:
    """Return all paths between the hosts of a topology, found once for each; `ecmp` is as for `Topology.paths`."""
    kept: dict[str | float, Any] = topology.kept
    if ecmp not in kept:
        if ecmp in ("hops", "none") and not topology.has_parallel_links:
            kept[ecmp] = _by_kernel(topology, ecmp)
        else:
            kept[ecmp] = _one_by_one(topology, ecmp)
    found: HostPaths = kept[ecmp]
    return found


def _one_by_one(topology: Topology, ecmp: str | float) -> HostPaths:
    """Find the paths of each pair by itself."""
    hosts = len(topology.hosts)
    first, count = np.full((hosts, hosts), -1, np.int32), np.zeros((hosts, hosts), np.int32)
    paths: list[RoutedPath] = []
    for a, src in enumerate(topology.hosts):
        for b, dst in enumerate(topology.hosts):
            if a != b:
                found = routed_paths(topology, src, dst, ecmp)
                first[a, b], count[a, b] = len(paths), len(found)
                paths.extend(found)
    devices = np.array([topology.index[d] for path in paths for d in path.devices], np.int16)
    numbers = np.empty(0, np.uint8)
    if topology.has_parallel_links:
        numbers = np.array([n for path in paths for n in (*path.numbers, 1)], np.uint8)
    return HostPaths(topology, first, count, starts([len(path.devices) for path in paths]), devices, numbers)


def _by_kernel(topology: Topology, ecmp: str | float) -> HostPaths:
    """Find the shortest paths of all pairs in one go: between switches first, then from host to host."""
    hosts = len(topology.hosts)
    switch = np.array([topology.index[topology.switch_of(host)] - hosts for host in topology.hosts])
    used = np.unique(switch)
    one, other = np.triu_indices(len(used))
    pairs = np.stack([used[one], used[other]], axis=1)
    found, core_start, core_nodes = _between_switches(topology, ecmp, pairs)
    first_of_pair = starts(found)
    pair_at = np.zeros((len(topology.switches), len(topology.switches)), np.int32)
    pair_at[pairs[:, 0], pairs[:, 1]] = pair_at[pairs[:, 1], pairs[:, 0]] = np.arange(len(pairs))
    at = pair_at[np.ix_(switch, switch)]
    count = found[at].astype(np.int32)
    np.fill_diagonal(count, 0)
    first = starts(count.ravel())[:-1].reshape(hosts, hosts).astype(np.int32)
    np.fill_diagonal(first, -1)
    a, b = (np.repeat(each.ravel(), count.ravel()).astype(np.int16) for each in np.indices((hosts, hosts)))
    core = (np.arange(len(a)) - first[a, b] + first_of_pair[at[a, b]]).astype(np.int32)
    start = starts(core_start[core + 1] - core_start[core] + 2)
    devices = np.empty(start[-1], np.int16)
    turned = switch[a] > switch[b]
    path_kernels.between_hosts(a, b, core, turned, core_start, core_nodes, hosts, start, devices)
    return HostPaths(topology, first, count, start, devices, np.empty(0, np.uint8))


def _between_switches(
    topology: Topology, ecmp: str | float, pairs: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int16]]:
    """Return how many paths each pair of switches has, where each path begins, and the switches of all paths."""
    edge_start, edges, cost, remaining = topology.switch_graph("links" if ecmp == "hops" else "latency")
    room = np.empty(len(topology.switches) + 1, np.int64), np.empty(len(topology.switches) + 1, np.int64)
    most = MAX_PATHS if ecmp == "hops" else 1
    found, length = np.empty(len(pairs), np.int64), np.empty(len(pairs), np.int64)
    nothing = np.empty(0, np.int16)
    path_kernels.count_paths(pairs, edge_start, edges, cost, remaining, most, *room, nothing, found, length)
    core_start = starts(np.repeat(length, found))  # those of a pair are of one length: fewest links, or only one
    nodes = np.empty(core_start[-1], np.int16)
    at = core_start[starts(found)[:-1]]
    path_kernels.write_paths(pairs, edge_start, edges, cost, remaining, most, *room, at, nodes)
    return found, core_start, nodes
