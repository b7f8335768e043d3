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


def port_states(before: Mapping[str, bool], now: Mapping[str, bool]) -> dict[str, bool]:
    """Return the states of a switch's ports, by neighbour: a port that was there and is not any more is down."""
    return {**dict.fromkeys(before, False), **now}


def waited_for(expected: Iterable[str], connected: Collection[str]) -> list[str]:
    """Return the switches that are not connected, in the order of the topology."""
    return [switch for switch in expected if switch not in connected]
