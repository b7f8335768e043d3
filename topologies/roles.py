"""Where a module's role puts it on a path: source host, ingress switch, switch of an ECMP set, ...

A path is a tuple of device names from host to host. An ECMP set is where the equal-cost paths between two
hosts part: the devices that stand, one on each path, at the first place where the paths differ.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .shortest_paths import MAX_PATHS
from .topology import Topology

Role = str | Sequence[str]
"""The name of a role, or a list of devices."""


@dataclass(frozen=True, slots=True)
class RoutedPath:
    """One of the equal-cost paths between two hosts, and the ECMP set where it parts from the others."""

    devices: tuple[str, ...]
    ecmp_set: tuple[str, ...]
    """One device a path, in the order of the paths; empty where there is only one path."""
    ecmp_position: int
    """Where on the path its member of the ECMP set stands; -1 where there is none."""
    numbers: tuple[int, ...] = ()
    """Which of several parallel links the path takes, hop by hop; empty where no hop has more than one."""

    def number(self, hop: int) -> int:
        """Return which link between its devices number `hop` and `hop + 1` the path takes."""
        return self.numbers[hop] if self.numbers else 1


def routed_paths(topology: Topology, src: str, dst: str, ecmp: str | float = "hops") -> tuple[RoutedPath, ...]:
    """Return the equal-cost paths between two hosts, each with its ECMP set.

    Where parallel links are kept apart, each choice of links is a path of its own, so that flows spread over them; at
    most `MAX_PATHS` in all. `routed_paths(b, a)` has the reverses of `routed_paths(a, b)`, in the same order.
    """
    paths = topology.paths(src, dst, ecmp)
    members: tuple[str, ...] = ()
    part = -1
    if len(paths) > 1:
        part = next(i for i in range(len(paths[0])) if len({path[i] for path in paths}) > 1)
        members = tuple(dict.fromkeys(path[part] for path in paths))
    if not topology.has_parallel_links:
        return tuple(RoutedPath(path, members, part) for path in paths)
    turned = topology.index[src] > topology.index[dst]
    each = (RoutedPath(path, members, part, numbers) for path in paths for numbers in _choices(topology, path, turned))
    return tuple(itertools.islice(each, MAX_PATHS))


def _choices(topology: Topology, path: tuple[str, ...], turned: bool) -> Iterator[tuple[int, ...]]:
    """Yield the links that a path may take, hop by hop; in the order of the opposite path where it is `turned`."""
    devices = path[::-1] if turned else path
    hops = [[link.number for link in topology.bundle(a, b)] for a, b in itertools.pairwise(devices)]
    for numbers in itertools.product(*hops):
        yield numbers[::-1] if turned else numbers


def on_path(path: RoutedPath, role: Role) -> tuple[str, ...]:
    """Return the devices of a role that lie on a path, in the path's order."""
    devices = path.devices
    if not devices:
        return ()
    if not isinstance(role, str):
        return tuple(d for d in devices if d in role)
    if role == "path-switches":
        return devices[1:-1]
    if role in ("ecmp-switch", "ecmp-peers"):
        return (devices[path.ecmp_position],) if path.ecmp_set else ()
    place = {"source-host": 0, "ingress-switch": 1, "egress-switch": -2, "destination-host": -1}[role]
    return (devices[place],)


def beside_path(path: RoutedPath, role: Role) -> tuple[str, ...]:
    """Return the devices of a role that concern a path but do not lie on it: tags cannot reach them."""
    if not path.devices:
        return ()
    if not isinstance(role, str):
        return tuple(d for d in role if d not in path.devices)
    if role == "ecmp-peers":
        return tuple(d for d in path.ecmp_set if d not in path.devices)
    return ()
