"""Links: which of them are down, from what the switches at their ends say of their ports. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

PortStates = Mapping[str, Mapping[str, bool]]
"""Switch -> neighbour -> whether the port towards it is up; without those that the switch never had."""


def down_links(links: Iterable[Mapping[str, Any]], states: PortStates) -> frozenset[str]:
    """Return the names of the links of which an end is down. A switch that says nothing has no say."""
    return frozenset(
        f"{link['a']}-{link['b']}"
        for link in links
        if not all(states.get(d, {}).get(n, True) for d, n in ((link["a"], link["b"]), (link["b"], link["a"])))
    )


def port_states(before: Mapping[str, bool], now: Mapping[str, bool], fresh: bool = False) -> dict[str, bool]:
    """Return the states of a switch's ports, by neighbour: a port that was there and is not any more is down.

    A switch that has connected just now (`fresh`) may not have opened all its ports yet: those are taken to be up.
    """
    return {**dict.fromkeys(before, fresh), **now}


def waited_for(expected: Iterable[str], connected: Collection[str]) -> list[str]:
    """Return the switches that are not connected, in the order of the topology."""
    return [switch for switch in expected if switch not in connected]


class Flaps:
    """Counts how often each end of each link went down, so that each flap is told once, although both ends tell it."""

    def __init__(self, links: Iterable[Mapping[str, Any]]) -> None:
        self._links = {frozenset((link["a"], link["b"])): f"{link['a']}-{link['b']}" for link in links}
        self._up: dict[tuple[str, str], bool] = {}
        self._downs: dict[tuple[str, str], int] = {}
        self._told: dict[str, int] = {}

    def see(self, device: str, neighbour: str, up: bool, judged: bool = True) -> tuple[str, str] | None:
        """Take the state of a device's port; returns (link, 'down' or 'up') where that is news of the link.

        What is not `judged` yet, because the network is still being made, only tells how things are.
        """
        link = self._links.get(frozenset((device, neighbour)))
        here, there = (device, neighbour), (neighbour, device)
        before, self._up[here] = self._up.get(here, True), up
        if link is None or up == before or not judged:
            return None
        if up:
            return (link, "up") if self._up.get(there, True) else None
        self._downs[here] = self._downs.get(here, 0) + 1
        if self._downs[here] <= self._told.get(link, 0):
            return None
        self._told[link] = self._downs[here]
        return link, "down"
