"""Topologies in files: JSON there and back, GraphML as the Topology Zoo has it, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mozart.controller.plan import make_plan
from mozart.errors import SpecError, TopologyError
from mozart.replay import run, vocabulary
from mozart.topologies.catalogue import load
from mozart.topologies.json_file import from_json, to_json
from mozart.topologies.roles import routed_paths

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
            "edge a-b has no latency, and node a and node b have no place",
        ),
        (
            graphml({"a": {}, "b": {}}, [("a", "b", {"delay": "soon"})]),
            "edge a-b: delay is 'soon', which is not a number",
        ),
        (graphml({"a": {}, "b": {}}, [("a", "b", {"latency": -1})]), "latency_ms is -1.0"),
        (
            graphml({"a": {}, "b": {}}, [("a", "b", {"latency": 1}), ("a", "b", {"latency": 1})]),
            "link a-b stands twice; say parallel=join",
        ),
        (
            graphml({"a": VIENNA, "b": {}}, [("a", "b", {})]),
            r"edge a-b has no latency, and node b has no place .*latency_ms=5",
        ),
        (graphml({"a": {}, "b": {}}, []), "2 parts that no edge joins; .* outside of it is b. Say component=largest"),
        (graphml({"a": {"Latitude": 99, "Longitude": 0}}, []), "node a: .* is no place on the globe"),
    ],
)
def test_graphml_that_is_no_topology_is_refused(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "t.graphml"
    file.write_text(text)
    with pytest.raises(TopologyError, match=message):
        load(file)


# what a file leaves open

TASK = {
    "name": "lossy",
    "selector": {"event": "loss", "threshold": 0.02, "min_packets": 5, "at": "source-host"},
    "monitor": {"measure": "volume", "at": "path-switches", "memory_entries": 4096},
}


def three_nodes() -> str:
    """Two nodes with two links of different rates and a loop, and a node apart."""
    edges: list[tuple[str, str, dict[str, object]]] = [
        ("a", "b", {"latency": 3, "rate_mbps": 10}),
        ("b", "a", {"latency": 2, "rate_mbps": 1000}),
        ("a", "a", {"latency": 1}),
    ]
    return graphml({"a": {}, "b": {}, "c": {}}, edges)


def test_parallel_links_are_joined_or_kept_apart_as_the_user_asks(tmp_path: Path) -> None:
    file = tmp_path / "t.graphml"
    file.write_text(three_nodes())
    joined = load(f"{file},parallel=join,component=largest")
    (link,) = joined.bundle("s1", "s2")
    assert (link.latency_ms, link.rate_mbps) == (2.0, 1010.0)
    assert joined.notes == (
        "1 edge from a node to itself left out",
        "1 node outside of the largest part left out",
        "2 parallel edges joined into one link a pair of nodes",
    )
    kept = load(f"{file},parallel=keep,component=largest")
    assert [(x.name, x.rate_mbps) for x in kept.bundle("s2", "s1")] == [("s1-s2", 10.0), ("s1-s2.2", 1000.0)]
    assert kept.link_by_name["s2-s1.2"].latency_ms == 2.0
    assert kept.latency_ms[kept.index["s1"], kept.index["s2"]] == 2.0
    assert from_json(to_json(kept)) == kept


def test_each_choice_of_parallel_links_is_a_path_of_its_own_in_both_directions(tmp_path: Path) -> None:
    file = tmp_path / "t.graphml"
    one: dict[str, object] = {"latency": 1}
    file.write_text(graphml({"a": {}, "b": {}, "c": {}}, [("a", "b", one)] * 2 + [("b", "c", one)] * 3))
    topology = load(f"{file},parallel=keep")
    there, back = routed_paths(topology, "h1", "h3"), routed_paths(topology, "h3", "h1")
    assert len(there) == len(set(there)) == 6
    assert [path.numbers[::-1] for path in back] == [path.numbers for path in there]
    assert {path.devices for path in there} == {("h1", "s1", "s2", "s3", "h3")}
    assert all(path.ecmp_set == () for path in there)  # the paths part at no device


def test_a_replay_spreads_flows_over_parallel_links_and_drops_on_the_one_that_is_lossy(tmp_path: Path) -> None:
    file = tmp_path / "two.graphml"
    one: dict[str, object] = {"latency": 1}
    file.write_text(graphml({"a": {}, "b": {}}, [("a", "b", one)] * 2))
    spec = {
        "topology": {"name": str(file), "parallel": "keep"},
        "traffic": {"synthetic": "caida-like", "duration_s": 1.0},
        "loss": {"s1-s2.2": 0.2},
        "tasks": [TASK],
    }
    result = run.replay(spec, mode=["mozart"])
    loads = result.link_mbps
    assert 0.5 < loads["s1-s2"] / loads["s1-s2.2"] < 2
    assert result.trace["dropped_on_links"] > 100
    (found,) = result.located_links
    assert [link["link"] for link in found["links"]] == ["s1-s2.2"]


GML = """graph [
  node [ id 0 label "Wien" Longitude 16.4 Latitude 48.2 ]
  node [ id 1 label "M&#252;nchen" Longitude 11.6 Latitude 48.1 ]
  edge [ source 0 target 1 ]
  edge [ source 0 target 1 LinkSpeedRaw 2500000000 ]
]
"""


def test_gml_of_the_topology_zoo_has_parallel_edges_without_saying_multigraph(tmp_path: Path) -> None:
    file = tmp_path / "t.gml"
    file.write_text(GML)
    topology = load(f"{file},parallel=join")
    assert topology.sites == {"s1": "Wien", "s2": "M\u00fcnchen"}
    assert topology.link("s1", "s2").rate_mbps == 3500.0
    assert topology.link("s1", "s2").latency_ms == pytest.approx(356 * 1.3 / 200, rel=0.01)


SNDLIB_XML = """<?xml version="1.0" encoding="ISO-8859-1"?>
<network xmlns="http://sndlib.zib.de/network" version="1.0">
 <meta><unit>MBITPERSEC</unit></meta>
 <networkStructure>
  <nodes coordinatesType="{kind}">
   <node id="Wien"><coordinates><x>16.4</x><y>48.2</y></coordinates></node>
   <node id="Muenchen"><coordinates><x>11.6</x><y>48.1</y></coordinates></node>
  </nodes>
  <links>
   <link id="L1"><source>Wien</source><target>Muenchen</target>
    <preInstalledModule><capacity>622.0</capacity><cost>0.0</cost></preInstalledModule></link>
  </links>
 </networkStructure>
</network>
"""

SNDLIB_NATIVE = """?SNDlib native format; type: network; version: 1.0
# a comment
META (
  granularity = 1day
  unit = MBITPERSEC
)
NODES (
  Wien ( 16.40 48.20 )
  Muenchen ( 11.60 48.10 )
)
LINKS (
  L1 ( Wien Muenchen ) 622.00 0.00 0.00 0.00 ( 155.00 1.00 )
)
DEMANDS (
)
"""


@pytest.mark.parametrize(
    ("name", "text"), [("t.xml", SNDLIB_XML.format(kind="geographical")), ("t.txt", SNDLIB_NATIVE)]
)
def test_sndlib_in_both_its_formats(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    topology = load(tmp_path / name)
    link = topology.link("s1", "s2")
    assert topology.sites == {"s1": "Wien", "s2": "Muenchen"}
    assert (link.latency_ms, link.rate_mbps) == (pytest.approx(356 * 1.3 / 200, rel=0.01), 622.0)


def test_pixels_of_a_drawing_are_no_places(tmp_path: Path) -> None:
    (tmp_path / "t.xml").write_text(SNDLIB_XML.format(kind="pixel"))
    with pytest.raises(TopologyError, match="have no place"):
        load(tmp_path / "t.xml")
    topology = load(tmp_path / "t.xml", latency_ms=5.0)
    assert topology.positions["s1"] == (16.4, -48.2)
    assert topology.notes == ("1 link has the latency stated: 5 ms",)


def topohub(places: list[list[float]]) -> str:
    """Write a network as Topohub does."""
    nodes = [{"id": i, "name": f"n{i}", "pos": at} for i, at in enumerate(places)]
    edges = [{"source": 0, "target": 1, "dist": 200.0}]
    graph = {"name": "pair", "demands": {}}
    return json.dumps({"directed": False, "multigraph": False, "graph": graph, "nodes": nodes, "edges": edges})


def test_topohub_has_lengths_but_none_where_its_places_are_pixels(tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    file.write_text(topohub([[16.4, 48.2], [11.6, 48.1]]))
    assert load(file).link("s1", "s2").latency_ms == 1.3  # 200 km
    file.write_text(topohub([[283.0, 248.0], [339.0, 151.0]]))
    with pytest.raises(TopologyError, match="have no place"):
        load(file)
    assert load(file, latency_ms=4.0).link("s1", "s2").latency_ms == 4.0


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.xml", "<network", "not valid XML"),
        ("t.xml", "<a/>", "no SNDlib network: <network> with"),
        ("t.xml", SNDLIB_XML.format(kind="pixel").replace("<target>Muenchen", "<target>Rom"), "ends at 'Rom'"),
        ("t.xml", SNDLIB_XML.format(kind="pixel").replace("<x>16.4", "<x>left"), "node Wien is 'left', which is not"),
        ("t.xml", SNDLIB_XML.format(kind="geographical").replace("48.2", "480"), "is no place on the globe"),
        ("t.txt", "hello", "its first line is not"),
        ("t.txt", SNDLIB_NATIVE.replace("LINKS (", "WIRES ("), "there is no section LINKS"),
        ("t.txt", SNDLIB_NATIVE.replace("L1 ( Wien Muenchen )", "L1 ( Wien )"), "link L1 names no pair of nodes"),
        ("t.txt", SNDLIB_NATIVE.replace("Muenchen (", "Wien ("), "node Wien stands twice"),
        ("t.txt", SNDLIB_NATIVE[: SNDLIB_NATIVE.index("DEMANDS") - 3], "the section LINKS has no end"),
        ("t.gml", "graph [", "not valid GML"),
        ("t.json", '{"nodes": [{"name": "x"}], "edges": []}', r"nodes\[0\]: id is missing"),
        ("t.json", '{"nodes": [{"id": 1}]}', "edges? must be a list|links must be a list"),
        ("t.json", '{"nodes": [{"id": 1}], "links": [{"source": 1, "target": 2}]}', "ends at '2'"),
        ("t.json", '{"nodes": [{"id": 1}, {"id": 1}], "links": []}', "two nodes have the same id"),
    ],
)
def test_files_of_other_tools_that_are_no_network_are_refused(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(TopologyError, match=message):
        load(tmp_path / name, latency_ms=1.0)


def test_parameters_that_a_file_of_our_own_has_no_use_for_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(pair(LINK))
    with pytest.raises(TopologyError, match="parallel is for files of other tools"):
        load(tmp_path / "t.json", parallel="join")


def test_kept_parallel_links_are_refused_where_switches_forward_by_neighbour(tmp_path: Path) -> None:
    file = tmp_path / "t.graphml"
    file.write_text(graphml({"a": {}, "b": {}}, [("a", "b", {"latency": 1})] * 2))
    spec = vocabulary.load({"topology": {"name": str(file), "parallel": "keep"}, "tasks": [TASK]})
    with pytest.raises(SpecError, match=r"keeps parallel links apart, .* say parallel=join"):
        make_plan(spec)
