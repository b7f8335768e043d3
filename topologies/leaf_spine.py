"""Leaf-spine: every leaf switch is linked to every spine switch, hosts hang on the leaves."""

from __future__ import annotations

from .topology import Link, Topology, with_hosts


def leaf_spine(leaves: int, spines: int, hosts: int, latency_ms: float, rate_mbps: float) -> Topology:
    """Return leaves s1.., then spines, with `hosts` hosts on each leaf."""
    leaf_names = tuple(f"s{i}" for i in range(1, leaves + 1))
    spine_names = tuple(f"s{i}" for i in range(leaves + 1, leaves + spines + 1))
    links = tuple(Link(leaf, spine, latency_ms, rate_mbps) for leaf in leaf_names for spine in spine_names)
    host_names, host_links = with_hosts(leaf_names, hosts)
    positions = {
        name: ((i + 0.5) / len(row), height)
        for height, row in ((1.0, leaf_names), (2.0, spine_names))
        for i, name in enumerate(row)
    }
    sites = {**dict.fromkeys(leaf_names, "leaf"), **dict.fromkeys(spine_names, "spine")}
    return Topology("leaf-spine", host_names, leaf_names + spine_names, links + host_links, sites, positions)
