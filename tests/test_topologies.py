"""Topologies: the graphs they are, their latencies, their equal-cost paths, and what is refused."""

from __future__ import annotations

import itertools
import math

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mozart.errors import TopologyError
from mozart.topologies.catalogue import load
from mozart.topologies.shortest_paths import MAX_PATHS
from mozart.topologies.topology import Link, Topology


def as_graph(topology: Topology) -> networkx.Graph:
    graph: networkx.Graph[str] = networkx.Graph()
    for link in topology.links:
        graph.add_edge(link.a, link.b, ns=round(link.latency_ms * 1e6))
    return graph


def test_b4_is_the_published_graph() -> None:
    b4 = load("b4")
    core = [link for link in b4.links if link.a in b4.switches]
    assert (len(b4.switches), len(b4.hosts), len(core)) == (12, 12, 19)
    degrees = [sum(switch in (link.a, link.b) for link in core) for switch in b4.switches]
    assert degrees == [2, 2, 3, 4, 3, 4, 4, 4, 2, 4, 4, 2]
    between_switches = b4.hops[12:, 12:]
    assert between_switches.max() == 5
    assert between_switches.sum() / (12 * 11) == pytest.approx(2.318, abs=0.001)
    assert {link.rate_mbps for link in core} == {1000.0}
    assert b4.addresses["h12"] == "10.0.0.12"
    assert [b4.switch_of(host) for host in b4.hosts] == list(b4.switches)


def test_b4_latencies_are_those_of_a_globe() -> None:
    b4 = load("b4")
    assert b4.link("s3", "s1").latency_ms == pytest.approx(65, abs=2)  # Taiwan to Oregon: 10,000 km and a bit
    assert b4.link("s7", "s8").latency_ms < 3
    assert 120 < b4.latency_ms.max() < 200
    assert b4.latency_ms[b4.index["h1"], b4.index["s1"]] == 0.05


@pytest.mark.parametrize(
    ("text", "hosts", "switches", "links"),
    [
        ("leaf-spine,leaves=4,spines=2,hosts=2", 8, 6, 16),
        ("leaf-spine", 8, 6, 16),
        ("fattree,k=4", 16, 20, 48),
        ("fattree,k=6", 54, 45, 162),
        ("line,n=4", 4, 4, 7),
        ("line,n=1", 1, 1, 1),
    ],
)
def test_generated_topologies_have_the_sizes_of_the_textbook(text: str, hosts: int, switches: int, links: int) -> None:
    topology = load(text)
    assert (len(topology.hosts), len(topology.switches), len(topology.links)) == (hosts, switches, links)


def test_options_may_stand_in_the_text_or_beside_it() -> None:
    assert load("line,n=3,latency_ms=2.5") == load("line", n=3, latency_ms=2.5)


def test_a_line_has_the_latencies_one_can_add_up() -> None:
    line = load("line,n=4,latency_ms=2")
    assert line.latency_ms[line.index["h1"], line.index["h4"]] == pytest.approx(0.05 + 6 + 0.05, abs=1e-9)
    assert line.paths("h1", "h3") == (("h1", "s1", "s2", "s3", "h3"),)
    assert line.paths("h2", "h2") == (("h2",),)
    assert line.paths("s2", "h1") == (("s2", "s1", "h1"),)


@pytest.mark.parametrize(("k", "paths"), [(4, 4), (6, 9)])
def test_a_fat_tree_has_a_path_over_every_core_switch_between_pods(k: int, paths: int) -> None:
    tree = load("fattree", k=k)
    found = tree.paths(tree.hosts[0], tree.hosts[-1])
    assert len(set(found)) == paths
    assert len(tree.paths("h1", "h2")) == 1
    assert len(tree.paths("h1", tree.hosts[k // 2])) == k // 2


@pytest.mark.parametrize("text", ["b4", "leaf-spine,leaves=3,spines=3", "fattree,k=4", "line,n=5"])
@pytest.mark.parametrize("ecmp", ["hops", "none", 0.0, 6.0])
def test_the_way_back_is_the_way_there_in_reverse_and_in_the_same_order(text: str, ecmp: str | float) -> None:
    topology = load(text)
    for a, b in itertools.combinations(topology.hosts, 2):
        there, back = topology.paths(a, b, ecmp), topology.paths(b, a, ecmp)
        assert back == tuple(path[::-1] for path in there)
        assert all(path[0] == a and path[-1] == b and len(set(path)) == len(path) for path in there)


@pytest.mark.parametrize("text", ["b4", "fattree,k=4"])
def test_paths_and_latencies_equal_those_of_networkx(text: str) -> None:
    topology = load(text)
    graph = as_graph(topology)
    lengths = dict(networkx.all_pairs_dijkstra_path_length(graph, weight="ns"))
    matrix = [[lengths[a][b] / 1e6 for b in topology.devices] for a in topology.devices]
    assert np.array_equal(topology.latency_ms, matrix)
    for a, b in itertools.combinations(topology.hosts, 2):
        expected = {tuple(path) for path in networkx.all_shortest_paths(graph, a, b)}
        assert set(topology.paths(a, b)) == expected
        (shortest,) = topology.paths(a, b, "none")
        assert networkx.path_weight(graph, list(shortest), "ns") == lengths[a][b]


networks = st.integers(2, 7).flatmap(
    lambda n: st.tuples(
        st.just(n),
        st.lists(st.sampled_from(list(itertools.combinations(range(1, n + 1), 2))), unique=True),
        st.lists(st.sampled_from([0.0, 1.0, 2.0, 2.5, 7.25]), min_size=30, max_size=30),
    )
)


@given(networks, st.sampled_from([0.0, 1.0, 3.5, 20.0]))
@settings(max_examples=60, deadline=None)
def test_a_tolerance_gives_all_simple_paths_within_it(
    network: tuple[int, list[tuple[int, int]], list[float]], tolerance_ms: float
) -> None:
    n, extra, latencies = network
    pairs = list(dict.fromkeys([(i, i + 1) for i in range(1, n)] + extra))
    switches = tuple(f"s{i}" for i in range(1, n + 1))
    links = [Link(f"s{a}", f"s{b}", ms, 1.0) for (a, b), ms in zip(pairs, latencies, strict=False)]
    ends = [Link("h1", "s1", 0.05, 1.0), Link("h2", f"s{n}", 0.05, 1.0)]
    topology = Topology("random", ("h1", "h2"), switches, (*links, *ends))
    graph = as_graph(topology)
    cost = {
        path: networkx.path_weight(graph, path, "ns")
        for path in map(tuple, networkx.all_simple_paths(graph, "h1", "h2"))
    }
    limit = min(cost.values()) + tolerance_ms * 1e6
    expected = sorted(spent for spent in cost.values() if spent <= limit)
    found = topology.paths("h1", "h2", tolerance_ms)
    assert len(set(found)) == len(found)
    assert [cost[path] for path in found] == expected[:MAX_PATHS]


def test_equal_cost_sets_are_bounded_by_the_best_paths() -> None:
    switches = tuple(f"s{i}" for i in range(1, 12))
    mesh = [Link(a, b, 1.0, 1.0) for a, b in itertools.combinations(switches, 2)]
    ends = [Link("h1", "s1", 0.0, 1.0), Link("h2", "s2", 0.0, 1.0)]
    topology = Topology("mesh", ("h1", "h2"), switches, (*mesh, *ends))
    found = topology.paths("h1", "h2", 100.0)
    assert len(found) == MAX_PATHS
    assert [len(path) for path in found[:11]] == [4] + [5] * 9 + [6]
    assert found == topology.paths("h1", "h2", 100.0)


HOST = Link("h1", "s1", 0.05, 1.0)


@pytest.mark.parametrize(
    ("links", "message"),
    [
        ([HOST, Link("s1", "s2", 1.0, 1.0), Link("s2", "s1", 2.0, 1.0)], "link s2-s1 stands twice"),
        ([HOST, Link("s2", "s2", 1.0, 1.0)], "link s2-s2 goes from a device to itself"),
        ([HOST, Link("s1", "s2", -1.0, 1.0)], "link s1-s2: latency_ms is -1.0"),
        ([HOST, Link("s1", "s2", math.nan, 1.0)], "link s1-s2: latency_ms is nan"),
        ([HOST, Link("s1", "s2", math.inf, 1.0)], "link s1-s2: latency_ms is inf"),
        ([HOST, Link("s1", "s2", 1.0, 0.0)], "link s1-s2: rate_mbps is 0.0"),
        ([HOST, Link("s1", "s9", 1.0, 1.0)], "link s1-s9: there is no device 's9'"),
        ([HOST], "not connected: no path from s1 to s2"),
        ([Link("s1", "s2", 1.0, 1.0)], "host h1 is linked to nothing"),
        ([HOST, Link("s1", "s2", 1.0, 1.0), Link("h1", "s2", 1.0, 1.0)], "host h1 is linked to s1 and s2"),
    ],
)
def test_what_is_no_sound_network_is_refused_by_name(links: list[Link], message: str) -> None:
    with pytest.raises(TopologyError, match=message):
        Topology("bad", ("h1",), ("s1", "s2"), tuple(links))


@pytest.mark.parametrize(
    ("hosts", "switches", "message"),
    [
        ((), ("s1",), "has no hosts"),
        (("h1",), (), "has no switches"),
        (("h1", "h1"), ("s1",), "two devices h1"),
        (tuple(f"h{i}" for i in range(1, 5000)), ("s1",), "has 5,000 devices; 4,096 is the most"),
        (("client",), ("s1",), "'client' is no name for a host"),
        (("h1",), ("s01",), "'s01' is no name for a switch"),
    ],
)
def test_devices_are_named_as_in_mininet(hosts: tuple[str, ...], switches: tuple[str, ...], message: str) -> None:
    with pytest.raises(TopologyError, match=message):
        Topology("bad", hosts, switches, (HOST,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("b5", "no topology 'b5'; there are: b4; leaf-spine,leaves=4"),
        ("fatree,k=4", r"no topology 'fatree' \(did you mean fattree\?\); there are"),
        ("b4,k=4", "b4 has no parameter k; there are: none"),
        ("line,m=4", "line has no parameter m; there are: n, latency_ms, rate_mbps"),
        ("line,leaf", "'leaf' in 'line,leaf' is not key=value"),
        ("line,n=2,n=3", "n stands twice"),
        ("line,n=0", "line: n must be a whole number from 1 to 1,024, not 0"),
        ("line,latency_ms=-1", "latency_ms must be a number of at least 0 \\(ms\\), not -1"),
        ("leaf-spine,leaves=four", "leaves must be a whole number .*, not 'four'"),
        ("fattree,k=3", "k must be an even number from 2 to 16, not 3"),
        ("nowhere.json", "nowhere.json: cannot be read"),
        ("nowhere.graphml", "nowhere.graphml: cannot be read"),
    ],
)
def test_an_unknown_name_or_parameter_is_told_what_there_is(text: str, message: str) -> None:
    with pytest.raises(TopologyError, match=message):
        load(text)


def test_what_a_topology_lacks_is_told_by_name() -> None:
    line = load("line,n=2")
    for ask, message in (
        (lambda: line.switch_of("h9"), "no host 'h9'; hosts are h1, h2"),
        (lambda: line.paths("h1", "x"), "no device 'x'"),
        (lambda: line.link("s1", "h2"), "no link s1-h2; links are s1-s2"),
        (lambda: line.paths("h1", "h2", "all"), "ecmp must be hops, none or a tolerance in ms"),
        (lambda: line.paths("h1", "h2", -1.0), "ecmp must be hops, none or a tolerance in ms"),
        (lambda: load("line", n=2, m=1), "no parameter m"),
        (lambda: load("line,n=2", n=2), "n is given twice"),
    ):
        with pytest.raises(TopologyError, match=message):
            ask()
