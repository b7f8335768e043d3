"""Paths: at each switch, where the packets of a pair of hosts go next.

The next hops of a pair are the union of its equal-cost paths. A switch knows only where a packet is, not how it came
there; so the union must admit no path beyond those that the topology lists, and paths_of refuses where it would.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from ..errors import SpecError
from ..replay.routes import Route, Routes

NextHops = Mapping[str, tuple[str, ...]]
"""Device -> the neighbours that packets of a pair may go to next, in order of name."""


def pair_of(route: Route) -> str:
    """Return the pair of hosts that a route joins: 'h1>h5'."""
    return f"{route.path.devices[0]}>{route.path.devices[-1]}"


def reversed_pair(pair: str) -> str:
    """Return the pair in the opposite direction."""
    source, _, destination = pair.partition(">")
    return f"{destination}>{source}"


def paths_of(routes: Routes) -> dict[str, NextHops]:
    """Return the next hops of every pair, by pair.

    Raises SpecError for a pair whose equal-cost paths, taken together, admit another path or a circle.
    """
    listed: dict[str, list[tuple[str, ...]]] = {}
    for route in routes.all[: routes.whole]:
        listed.setdefault(pair_of(route), []).append(route.devices)
    return {pair: _union(pair, paths) for pair, paths in listed.items()}


def _union(pair: str, paths: Sequence[tuple[str, ...]]) -> NextHops:
    after: dict[str, set[str]] = {}
    for path in paths:
        for device, following in itertools.pairwise(path):
            after.setdefault(device, set()).add(following)
    hops = {device: tuple(sorted(found, key=_by_number)) for device, found in after.items()}
    source, _, destination = pair.partition(">")
    if len(paths) > 1 and _walks(hops, (source,), destination, len(paths)) != len(paths):
        raise SpecError(
            f"the {len(paths)} equal-cost paths of {pair} cannot be told apart at their switches: together they admit "
            "other paths. Set topology.ecmp to hops or none, or to a smaller tolerance"
        )
    return hops


def _walks(hops: NextHops, path: tuple[str, ...], end: str, enough: int) -> int:
    """Count the ways from the end of a path to a device, up to one more than `enough`; a circle counts as more."""
    if path[-1] == end:
        return 1
    found = 0
    for device in hops[path[-1]]:
        found += enough + 1 if device in path else _walks(hops, (*path, device), end, enough)
        if found > enough:
            break
    return found


def _by_number(device: str) -> tuple[str, int]:
    return device[0], int(device[1:])
