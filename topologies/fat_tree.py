"""Fat-tree of k-port switches (Al-Fares, Loukissas and Vahdat, SIGCOMM 2008).

k pods of k/2 edge and k/2 aggregation switches, (k/2)^2 core switches, k/2 hosts on each edge switch. Core
switch (i, j) is linked to aggregation switch i of every pod.
"""

from __future__ import annotations

from .topology import Link, Topology, with_hosts


def fat_tree(k: int, latency_ms: float, rate_mbps: float) -> Topology:
    """Return the fat-tree for an even k: edge switches s1.., then aggregation, then core."""
    half = k // 2
    names = tuple(f"s{i}" for i in range(1, k * k + half * half + 1))
    edge, aggregation, core = names[: k * half], names[k * half : k * k], names[k * k :]
    links = [
        Link(edge[pod * half + e], aggregation[pod * half + a], latency_ms, rate_mbps)
        for pod in range(k)
        for e in range(half)
        for a in range(half)
    ]
    links += [
        Link(aggregation[pod * half + i], core[i * half + j], latency_ms, rate_mbps)
        for pod in range(k)
        for i in range(half)
        for j in range(half)
    ]
    hosts, host_links = with_hosts(edge, half)
    layers = (("edge", edge, 1.0), ("aggregation", aggregation, 2.0), ("core", core, 3.0))
    return Topology(
        "fattree",
        hosts,
        names,
        (*links, *host_links),
        sites={name: layer for layer, row, _ in layers for name in row},
        positions={name: ((i + 0.5) / len(row), height) for _, row, height in layers for i, name in enumerate(row)},
    )
