"""A topology in numbers: rows for a table, and a summary."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from .topology import Topology


def describe(topology: Topology) -> list[dict[str, Any]]:
    """Return a row for each link between switches: its ends, their sites, latency_ms and rate_mbps."""
    switches = set(topology.switches)
    return [
        {
            "link": link.name,
            "from": topology.sites.get(link.a, ""),
            "to": topology.sites.get(link.b, ""),
            "latency_ms": link.latency_ms,
            "rate_mbps": link.rate_mbps,
        }
        for link in topology.links
        if link.a in switches and link.b in switches
    ]


def summary(topology: Topology, ecmp: str | float = "hops") -> dict[str, Any]:
    """Return sizes, and hops, latencies and equal-cost paths over the pairs of hosts.

    Hops are counted between their switches, latencies from host to host; `pairs_with_several_paths` is the
    share of pairs for which `ecmp` gives more than one path.
    """
    pairs = list(itertools.combinations(topology.hosts, 2))
    first, second = (np.array([topology.index[pair[i]] for pair in pairs], np.int64) for i in (0, 1))
    hops = topology.hops[first, second] - 2
    latency_ms = topology.latency_ms[first, second]
    several = [len(topology.paths(a, b, ecmp)) > 1 for a, b in pairs]
    return {
        "name": topology.name,
        "hosts": len(topology.hosts),
        "switches": len(topology.switches),
        "links": len(describe(topology)),
        "mean_hops": float(hops.mean()) if pairs else 0.0,
        "most_hops": int(hops.max(initial=0)),
        "mean_latency_ms": float(latency_ms.mean()) if pairs else 0.0,
        "most_latency_ms": float(latency_ms.max(initial=0.0)),
        "pairs_with_several_paths": float(np.mean(several)) if pairs else 0.0,
    }
