"""Topologies in files: JSON there and back, GraphML as the Topology Zoo has it, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mozart.errors import TopologyError
from mozart.topologies.catalogue import load
from mozart.topologies.json_file import from_json, to_json

TEXT_ATTRIBUTES = ("label", "type", "delay")


def graphml(
    nodes: dict[str, dict[str, object]],
    edges: list[tuple[str, str, dict[str, object]]],
    direction: str = "undirected",
) -> str:
    """Write GraphML as tools do: keys first, then nodes and edges with their data."""
    names = sorted(
        {
            (kind, key)
            for kind, each in [("node", d) for d in nodes.values()] + [("edge", e[2]) for e in edges]
            for key in each
        }
    )
    types = dict.fromkeys(TEXT_ATTRIBUTES, "string")
    keys = "".join(
        f'<key id="{kind}-{key}" for="{kind}" attr.name="{key}" attr.type="{types.get(key, "double")}"/>'
        for kind, key in names
    )

    def data(kind: str, values: dict[str, object]) -> str:
        return "".join(f'<data key="{kind}-{key}">{value}</data>' for key, value in values.items())

    body = "".join(f'<node id="{node}">{data("node", values)}</node>' for node, values in nodes.items())
    body += "".join(f'<edge source="{a}" target="{b}">{data("edge", values)}</edge>' for a, b, values in edges)
    head = '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
    return f'{head}{keys}<graph edgedefault="{direction}">{body}</graph></graphml>'


VIENNA = {"label": "Vienna", "Latitude": 48.2, "Longitude": 16.4}
MUNICH = {"label": "Munich", "Latitude": 48.1, "Longitude": 11.6}


@pytest.mark.parametrize("text", ["b4", "leaf-spine", "fattree,k=4", "line,n=3"])
def test_json_there_and_back_is_the_same_topology(text: str, tmp_path: Path) -> None:
    topology = load(text)
    assert from_json(to_json(topology)) == topology
    (tmp_path / "mine.json").write_text(to_json(topology))
    assert load(tmp_path / "mine.json") == topology


def test_json_without_hosts_gets_one_on_each_switch() -> None:
    link = {"a": "s1", "b": "s7", "latency_ms": 3, "rate_mbps": 100}
    topology = from_json(json.dumps({"switches": ["s1", "s7"], "links": [link]}), "pair.json")
    assert topology.name == "pair"
    assert topology.hosts == ("h1", "h2")
    assert topology.switch_of("h2") == "s7"
    assert topology.latency_ms[topology.index["h1"], topology.index["h2"]] == 3.1


LINK = '{"a": "s1", "b": "s2", "latency_ms": 1, "rate_mbps": 1}'


def pair(links: str) -> str:
    """Write two switches with the links given."""
    return f'{{"switches": ["s1", "s2"], "links": [{links}]}}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "t.json: not valid JSON"),
        ("[" * 100_000, "t.json: not valid JSON"),
        ("[]", "t.json: must be an object with the keys name, hosts"),
        ('{"switches": ["s1"]}', "t.json: links is missing"),
        ('{"switch": ["s1"], "links": []}', r"t.json: unknown key 'switch' \(did you mean switches\?\)"),
        ('{"switches": [1], "links": []}', "t.json: switches must be a list of device names"),
        ('{"switches": ["s1"], "links": {}}', "t.json: links must be a list"),
        ('{"switches": ["s1", "s2"], "links": [{"a": "s1"}]}', r"t.json: links\[0\]: b is missing"),
        (pair(LINK + ", " + LINK), "link s1-s2 stands twice"),
        (
            pair(LINK.replace("1}", '"x"}')),
            "rate_mbps must be a number, not 'x'",
        ),
        (pair(LINK.replace("1, ", "NaN, ")), "latency_ms is nan"),
        (
            pair(LINK.replace('"s1"', "1")),
            r"links\[0\].a must be a device name",
        ),
        ('{"switches": ["s1"], "links": [], "name": 5}', "name must be a text, not 5"),
        (
            '{"switches": ["s1"], "links": [], "sites": {"s9": "x"}}',
            "sites must be an object with a key for some",
        ),
        ('{"switches": ["s1"], "links": [], "sites": {"s1": 1}}', "sites.s1 must be a text"),
        (
            '{"switches": ["s1"], "links": [], "positions": {"s1": [1]}}',
            "positions.s1 must be a list of two numbers",
        ),
    ],
)
def test_json_that_is_no_topology_is_refused(text: str, message: str) -> None:
    with pytest.raises(TopologyError, match=message):
        from_json(text, "t.json")


def test_graphml_of_the_topology_zoo_has_latencies_from_its_coordinates(tmp_path: Path) -> None:
    file = tmp_path / "zoo.graphml"
    file.write_text(graphml({"0": VIENNA, "1": MUNICH}, [("0", "1", {"LinkSpeedRaw": 2.5e9})]))
    topology = load(file)
    link = topology.link("s1", "s2")
    assert (topology.name, topology.hosts, topology.sites) == (
        "zoo",
        ("h1", "h2"),
        {"s1": "Vienna", "s2": "Munich"},
    )
    assert link.latency_ms == pytest.approx(356 * 1.3 / 200, rel=0.01)  # 356 km apart
    assert link.rate_mbps == 2500.0
    assert topology.positions["s1"] == (16.4, 48.2)


@pytest.mark.parametrize(
    ("attributes", "latency_ms", "rate_mbps"),
    [
        ({"latency_ms": 7}, 7.0, 1000.0),
        ({"latency": 7.5, "rate_mbps": 40}, 7.5, 40.0),
        ({"delay": "250us"}, 0.25, 1000.0),
        ({"delay": "0.5 s"}, 500.0, 1000.0),
        ({"delay": "3ms"}, 3.0, 1000.0),
        ({}, 5.0, 1000.0),
    ],
)
def test_graphml_edges_may_say_their_latency(
    attributes: dict[str, object], latency_ms: float, rate_mbps: float, tmp_path: Path
) -> None:
    file = tmp_path / "t.graphml"
    file.write_text(graphml({"a": {}, "b": {}}, [("a", "b", attributes)]))
    link = load(f"{file},latency_ms=5").link("s1", "s2")
    assert (link.latency_ms, link.rate_mbps) == (latency_ms, rate_mbps)


def test_graphml_may_bring_its_own_hosts_and_names(tmp_path: Path) -> None:
    file = tmp_path / "t.graphml"
    file.write_text(
        graphml(
            {"pc": {"type": "host"}, "core": {}, "pc2": {"type": "host"}},
            [("pc", "core", {}), ("core", "pc2", {})],
        )
    )
    topology = load(file)
    assert topology.paths("h1", "h2") == (("h1", "s1", "h2"),)
    file.write_text(graphml({"s5": {}, "h3": {}}, [("h3", "s5", {})]))
    assert load(file).devices == ("h3", "s5")


def test_a_directed_file_may_name_both_directions_of_a_link(tmp_path: Path) -> None:
    file = tmp_path / "t.graphml"
    nodes: dict[str, dict[str, object]] = {"a": {}, "b": {}}
    both: list[tuple[str, str, dict[str, object]]] = [("a", "b", {"latency": 1}), ("b", "a", {"latency": 1})]
    file.write_text(graphml(nodes, both, "directed"))
    assert len(load(file).links) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<graphml", "not valid GraphML"),
        ("not xml", "not valid GraphML"),
        (graphml({}, []), "no nodes"),
        (
            graphml({"a": {}, "b": {}}, [("a", "b", {})]),
            "edge a-b has no latency, and its ends have no Latitude",
        ),
        (
            graphml({"a": {}, "b": {}}, [("a", "b", {"delay": "soon"})]),
            "edge a-b: delay is 'soon', which is not a number",
        ),
        (graphml({"a": {}, "b": {}}, [("a", "b", {"latency": -1})]), "latency_ms is -1.0"),
        (
            graphml({"a": {}, "b": {}}, [("a", "a", {"latency": 1})]),
            "link s1-s1 goes from a device to itself",
        ),
        (
            graphml({"a": {}, "b": {}}, [("a", "b", {"latency": 1}), ("a", "b", {"latency": 1})]),
            "stands twice",
        ),
        (graphml({"a": {}, "b": {}}, []), "not connected: no path from s1 to h2, s2"),
        (graphml({"a": {"Latitude": 99, "Longitude": 0}}, []), "node a: .* is no place on the globe"),
    ],
)
def test_graphml_that_is_no_topology_is_refused(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "t.graphml"
    file.write_text(text)
    with pytest.raises(TopologyError, match=message):
        load(file)
