"""A line of switches with a host on each: its paths can be told in one's head, which suits tests."""

from __future__ import annotations

import itertools

from .topology import Link, Topology, with_hosts


def line(n: int, latency_ms: float, rate_mbps: float) -> Topology:
    """Return s1 - s2 - ... - sn, with host hi on si."""
    switches = tuple(f"s{i}" for i in range(1, n + 1))
    links = tuple(Link(a, b, latency_ms, rate_mbps) for a, b in itertools.pairwise(switches))
    hosts, host_links = with_hosts(switches)
    positions = {switch: (float(i), 0.0) for i, switch in enumerate(switches)}
    return Topology("line", hosts, switches, links + host_links, positions=positions)
