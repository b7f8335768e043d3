"""All paths between all hosts as columns: equal to the paths of each pair, found one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mozart.topologies.catalogue import load
from mozart.topologies.host_paths import HostPaths, host_paths
from mozart.topologies.roles import beside_path, on_path, routed_paths
from mozart.topologies.topology import Link, Topology, with_hosts

ROLES = (
    "source-host", "destination-host", "ingress-switch", "egress-switch", "ecmp-switch", "ecmp-peers", "path-switches",
    ("s2", "h1"), ("s1",),
)  # fmt: skip


def assert_as_one_by_one(topology: Topology, ecmp: str | float) -> HostPaths:
    """Compare columns, roles and reverses with what `routed_paths` says of each pair of hosts."""
    paths = host_paths(topology, ecmp)
    on = {role: paths.on(role) for role in ROLES}
    beside = {role: paths.beside(role) for role in ROLES}
    number = 0
    for (a, src), (b, dst) in itertools.permutations(enumerate(topology.hosts), 2):
        expected = routed_paths(topology, src, dst, ecmp)
        assert (paths.first[a, b], paths.count[a, b]) == (number, len(expected))
        for path in expected:
            assert paths.path(number) == path
            assert paths.path(int(paths.reverse[number])).devices == path.devices[::-1]
            mine = slice(paths.start[number], paths.start[number + 1])
            for role in ROLES:
                names = np.array(path.devices)
                assert tuple(names[on[role][mine]]) == on_path(path, role)
                there = [d for d in beside_path(path, role) if d in topology.index]
                assert [topology.devices[i] for i in beside[role][number]] == there
            number += 1
    assert number == len(paths)
    return paths


@pytest.mark.parametrize("ecmp", ["hops", "none", 1.0])
@pytest.mark.parametrize("name", ["b4", "fattree,k=4", "leaf-spine,leaves=3,spines=3", "line,n=3"])
def test_made_topologies(name: str, ecmp: str | float) -> None:
    assert_as_one_by_one(load(name), ecmp)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_random_networks(data: st.DataObject) -> None:
    switches = tuple(f"s{i}" for i in range(1, data.draw(st.integers(2, 7)) + 1))
    pairs = list(itertools.combinations(switches, 2))
    chosen = [pair for pair in pairs if data.draw(st.booleans())]
    line = [pair for pair in itertools.pairwise(switches) if pair not in chosen]
    latencies = st.sampled_from([0.0, 0.5, 1.0])
    links = [Link(a, b, data.draw(latencies), 1000.0) for a, b in chosen + line]
    if data.draw(st.booleans()):
        links.append(Link(links[0].a, links[0].b, 1.0, 1000.0, 2))
    hosts, host_links = with_hosts(switches, data.draw(st.integers(1, 2)))
    topology = Topology("random", hosts, switches, (*links, *host_links))
    choices: list[str | float] = ["hops", "none", 0.5]
    ecmp = data.draw(st.sampled_from(choices))
    assert_as_one_by_one(topology, ecmp)
