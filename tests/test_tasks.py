"""The task file: what is read, what is refused in which words, and that a spec survives being written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mozart.errors import SpecError
from mozart.fields import Field
from mozart.replay import vocabulary
from mozart.tasks import (
    KEYS,
    MONITOR_ROLES,
    SELECTOR_ROLES,
    Spec,
    Task,
    load_spec,
    parse_loss,
    parse_spec,
)
from mozart.topologies import roles
from mozart.topologies.catalogue import load
from mozart.traces.keys import KEY_KINDS

ROOT = Path(__file__).resolve().parent.parent

TABLES: dict[str, Any] = {
    "events": {
        "loss": {
            "threshold": Field(float, "share of packets lost", 0.02, above=0, maximum=1, percent=True),
            "min_packets": Field(int, "packets before a flow is judged", 20, minimum=1),
        },
        "port-scan": {
            "key": Field(str, "who scans", "src", choices=("src",)),
            "ports": Field(list[int], "ports that are watched", (22, 23), minimum=0, maximum=65535),
            "threshold": Field(int, "distinct targets", 10, minimum=1),
        },
        "elephant": {"threshold_mbps": Field(float, "rate of the flow", above=0, unit="Mbit/s")},
    },
    "measures": {
        "volume": {},
        "distinct-destinations": {"precision_bits": Field(int, "", 6, minimum=4, maximum=12)},
    },
    "traffic": {"duration_s": Field(float, "length", 60.0, above=0, unit="s"), "seed": Field(int, "", 1)},
    "topologies": {
        "b4": {},
        "line": {"n": Field(int, "switches", 4, minimum=1)},
        ".json": {},
        ".graphml": {},
    },
}

TASK = """
tasks:
- name: lossy
  selector: {event: loss, at: source-host}
  monitor: {measure: volume, at: path-switches}
"""
SHORT = "topology: {name: b4}" + TASK


def parse(text: str) -> Spec:
    return parse_spec(text, "t.yaml", **TABLES)


def task(
    selector: str = "event: loss, at: source-host", monitor: str = "measure: volume, at: s1", more: str = ""
) -> str:
    return f"""topology: {{name: b4}}
tasks:
- name: one
  selector: {{{selector}}}
  monitor: {{{monitor}}}
  {more}
"""


def test_the_shortest_file_has_the_documented_defaults() -> None:
    spec = parse(SHORT)
    (one,) = spec.tasks
    assert (spec.topology.name, spec.topology.ecmp, spec.seed, spec.loss) == ("b4", "hops", 1, {})
    assert (spec.resources.switch_memory_entries, spec.resources.host_cpu_percent) == (4096, 20.0)
    assert (spec.sampling.probability, spec.sampling.epoch_s) == (0.01, 30.0)
    assert (spec.sampling.early_removal_bytes, spec.sampling.preserve_bytes) == (0, None)
    assert (spec.traffic.trace, spec.traffic.synthetic, spec.traffic.map, spec.traffic.speed) == (
        None,
        None,
        "hash",
        1.0,
    )
    assert (one.selector.hold_s, one.selector.detection_delay_ms, one.selector.memory_entries) == (
        30.0,
        0.0,
        65536,
    )
    assert one.selector.parameters == {"threshold": 0.02, "min_packets": 20}
    assert (one.selector.key, one.monitor.key, one.monitor.memory_entries) == (
        "five-tuple",
        "five-tuple",
        1024,
    )
    assert (one.weight, one.max_latency_ms, one.monitor.parameters) == (1.0, None, {})


def test_the_example_loads_with_the_events_and_measures_there_are() -> None:
    spec = vocabulary.load(ROOT / "examples" / "b4.yaml")
    assert [one.name for one in spec.tasks] == ["lossy-flows", "scanners", "ecmp-elephants"]
    assert spec.tasks[1].selector.key == "src"


def test_the_words_of_the_task_file_are_those_of_the_rooms_that_give_them_meaning() -> None:
    assert KEYS == KEY_KINDS
    path = roles.routed_paths(load("b4"), "h1", "h12")[0]
    assert set(SELECTOR_ROLES) < set(MONITOR_ROLES)
    for role in MONITOR_ROLES:
        assert roles.on_path(path, role) + roles.beside_path(path, role)


def test_the_monitor_keeps_the_selectors_key_unless_it_has_its_own() -> None:
    scan = "event: port-scan, at: s1"
    assert parse(task(scan)).tasks[0].monitor.key == "src"
    assert parse(task(scan, "measure: volume, at: s1, key: src+dst")).tasks[0].monitor.key == "src+dst"


@pytest.mark.parametrize(
    ("text", "at"),
    [("egress-switch", "egress-switch"), ("s3", ("s3",)), ("[s3, h12]", ("s3", "h12"))],
)
def test_a_module_is_at_a_role_or_at_named_devices(text: str, at: object) -> None:
    assert parse(task(f"event: loss, at: {text}")).tasks[0].selector.at == at


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # the file as a whole
        ("", "t.yaml:1: topology.name: is missing; it must be a text"),
        ("", "t.yaml:1: tasks: is missing; it must be a list of at least one table"),
        ("- b4", "t.yaml:1: must be a table of keys, not ['b4']"),
        ("tasks: [", "t.yaml:2: not valid YAML: while parsing a flow node"),
        ("a: \x01", "t.yaml: not valid YAML: "),
        (SHORT + "---\nb: 1\n", "not valid YAML: expected a single document"),
        ("a: &x 1\nb: *x", "t.yaml:2: the alias *x is not allowed"),
        (
            "a: !!python/name:os.system",
            "t.yaml:1: the tag tag:yaml.org,2002:python/name:os.system is not allowed",
        ),
        ("a: " + "[" * 5000, "t.yaml:1: nested more than 20 deep"),
        ("a: [[\n" + "{b: [" * 5000, "t.yaml:2: nested more than 20 deep"),
        (
            SHORT + "topologie: 1\n",
            "t.yaml:6: topologie: unknown key (did you mean topology?); keys here are topology",
        ),
        (SHORT + "seed: 1\nseed: 2\n", "t.yaml:7: seed: stands twice, first on line 6; keep one"),
        (SHORT + "? [1]\n: 2\n", "t.yaml:6: a key must be a plain word"),
        (SHORT + "seed: -1\n", "t.yaml:6: seed: must be a whole number from 0 to"),
        (
            SHORT + "seed: true\n",
            "seed: must be a whole number from 0 to 9,223,372,036,854,775,807, not true",
        ),
        (SHORT + "seed: 1.5\n", "not 1.5"),
        # topology
        ("topology: b4" + TASK, "t.yaml:1: topology: must be a table of keys (name, ecmp), not 'b4'"),
        (
            "topology: {name: b5}" + TASK,
            "topology.name: must be one of b4, line, or a file that ends in .json or .graphml",
        ),
        ("topology: {name: lines}" + TASK, "not 'lines' (did you mean line?)"),
        ("topology: {name: line, m: 3}" + TASK, "topology.m: unknown key; keys here are name, ecmp, n"),
        ("topology: {name: line, n: 0}" + TASK, "topology.n: must be a whole number of at least 1, not 0"),
        (
            "topology: {name: b4, ecmp: hop}" + TASK,
            "must be one of hops, none, or a number from 0 to 1,000,000,000 (ms), not 'hop'",
        ),
        ("topology: {name: b4, ecmp: -1}" + TASK, "topology.ecmp: must be one of hops, none, or a number"),
        # traffic
        (SHORT + "traffic: {trace: a, synthetic: b}", "traffic.synthetic: cannot stand beside trace"),
        (SHORT + "traffic: {trace: []}", "traffic.trace: must be a list of texts, not an empty list"),
        (SHORT + "traffic: {trace: a, duration_s: 3}", "traffic.duration_s: is only for synthetic traffic"),
        (SHORT + "traffic: {synthetic: x, duration: 3}", "unknown key (did you mean duration_s?)"),
        (
            SHORT + "traffic: {synthetic: x, duration_s: 0}",
            "traffic.duration_s: must be a number above 0 (s), not 0",
        ),
        (SHORT + "traffic: {speed: 0}", "traffic.speed: must be a number from 0.001 to 1,000,000, not 0"),
        (
            SHORT + "traffic: {map: hush}",
            "traffic.map: must be one of hash, prefix, not 'hush' (did you mean hash?)",
        ),
        (SHORT + "traffic: {map: prefix}", "traffic.prefixes: is missing; map: prefix needs it"),
        (SHORT + "traffic: {prefixes: {h1: 10.0.0.0/8}}", "traffic.prefixes: is only for map: prefix"),
        (SHORT + "traffic: {map: prefix, prefixes: {s1: 10.0.0.0/8}}", "traffic.prefixes.s1: is no host"),
        (
            SHORT + "traffic: {map: prefix, prefixes: {h1: 10.0.0.1/8}}",
            "traffic.prefixes.h1: must be a list of prefixes",
        ),
        (
            SHORT + "traffic: {map: prefix, prefixes: {h1: 10.0.0.0/8, h2: [10.0.0.0/8]}}",
            "traffic.prefixes.h2: 10.0.0.0/8 already stands for h1",
        ),
        # resources, sampling, loss
        (SHORT + "resources: {host_cpu_percent: 101}", "must be a number from 0 to 100 (percent), not 101"),
        (
            SHORT + "resources: {memory: 1}",
            "resources.memory: unknown key; keys here are switch_memory_entries",
        ),
        (
            SHORT + "sampling: {probability: 1.5}",
            "sampling.probability: must be a number from 0 to 1, or a percentage",
        ),
        (SHORT + "sampling: {probability: .nan}", "sampling.probability: must be a number from 0 to 1"),
        (SHORT + "sampling: {probability: nan}", "sampling.probability: must be a number from 0 to 1"),
        (SHORT + "sampling: {probability: 1e400}", "sampling.probability: must be a number from 0 to 1"),
        (
            SHORT + "sampling: {epoch_s: '30'}",
            "sampling.epoch_s: must be a number from 0.001 to 1,000,000,000 (s), not '30'",
        ),
        (
            SHORT + "sampling: {epoch_s: }",
            "sampling.epoch_s: must be a number from 0.001 to 1,000,000,000 (s), not nothing",
        ),
        (
            SHORT + "sampling: {preserve_bytes: -1}",
            "sampling.preserve_bytes: must be a whole number from 0 to",
        ),
        (
            SHORT + "loss: {s3-s6: 101%}",
            "loss.s3-s6: must be a number from 0 to 1, or a percentage such as 2%",
        ),
        (SHORT + "loss: {s3: 1%}", "loss.s3: is no link; keys here are two devices such as s3-s6"),
        (SHORT + "loss: {s3-s3: 1%}", "loss.s3-s3: is no link"),
        (SHORT + "loss: {s3-s6: 1%, s6-s3: 2%}", "loss.s6-s3: is the same link as one above"),
        # tasks
        ("topology: {name: b4}\ntasks: []", "t.yaml:2: tasks: must be a list of at least one table, not []"),
        (
            "topology: {name: b4}\ntasks: {a: 1}",
            "tasks: must be a list of at least one table, not a table of keys",
        ),
        ("topology: {name: b4}\ntasks:\n- one", "t.yaml:3: tasks[0]: must be a table of keys, not 'one'"),
        (
            SHORT.replace("lossy", "Lossy flows"),
            "tasks[0].name: must be a name of lower-case letters, digits and -, of at most 100",
        ),
        (
            SHORT.replace("lossy", "7"),
            "tasks[0].name: must be a name of lower-case letters, digits and -, of at most 100, not 7",
        ),
        (SHORT + TASK.removeprefix("\ntasks:\n"), "t.yaml:6: tasks[1].name: tasks[0] is called lossy too"),
        (
            task(more="wait: 0"),
            "t.yaml:6: tasks[0].wait: unknown key (did you mean weight?); keys here are name, weight",
        ),
        (task(more="weight: 0"), "tasks[0].weight: must be a number above 0 and at most 1,000,000, not 0"),
        (
            task(more="max_latency_ms: fast"),
            "tasks[0].max_latency_ms: must be a number from 0 to 1,000,000,000 (ms), not 'fast'",
        ),
        (
            "topology: {name: b4}\ntasks:\n- name: a\n",
            "t.yaml:3: tasks[0].selector: is missing; it must be a table",
        ),
        (
            task("at: s1"),
            "t.yaml:4: tasks[0].selector.event: is missing; it must be one of loss, port-scan, elephant",
        ),
        (
            task("event: los, at: s1"),
            "tasks[0].selector.event: must be one of loss, port-scan, elephant, not 'los'",
        ),
        (
            task("event: loss"),
            "tasks[0].selector.at: is missing; it must be one of source-host, destination-host",
        ),
        (task("event: loss, at: [s1, core]"), "or a list of device names such as s1, s2, not 'core'"),
        (task("event: loss, at: [s1, s1]"), "tasks[0].selector.at: holds 's1' more than once"),
        (task("event: loss, at: path-switches"), "tasks[0].selector.at: must be one of source-host"),
        (
            task("event: loss, at: s1, treshold: 1"),
            "tasks[0].selector.treshold: unknown key (did you mean threshold?)",
        ),
        (
            task("event: loss, at: s1, threshold: 2"),
            "threshold: must be a number above 0 and at most 1, or a percentage such as 2%, not 2",
        ),
        (
            task("event: loss, at: s1, key: dest"),
            "must be one of five-tuple, src, dst, src+dst, not 'dest' (did you mean dst",
        ),
        (task("event: port-scan, at: s1, key: dst"), "tasks[0].selector.key: must be one of src, not 'dst'"),
        (
            task("event: port-scan, at: s1, ports: [22, 70000]"),
            "a list of whole numbers, each from 0 to 65,535, not 70000",
        ),
        (
            task("event: port-scan, at: s1, ports: 22-25"),
            "tasks[0].selector.ports: must be a list of whole numbers",
        ),
        (
            task("event: elephant, at: s1"),
            "selector.threshold_mbps: is missing; it must be a number above 0 (Mbit/s)",
        ),
        (
            task(monitor="measure: volumes, at: s1"),
            "must be one of volume, distinct-destinations, not 'volumes' (did you",
        ),
        (task(monitor="measure: volume, at: s1, precision_bits: 5"), "monitor.precision_bits: unknown key"),
        (
            task(monitor="measure: volume, at: nowhere"),
            "ecmp-switch, path-switches, ecmp-peers, or a list of device names",
        ),
        (
            task(monitor="measure: volume, at: s1, memory_entries: 0"),
            "must be a whole number from 1 to 1,073,741,824 (entries)",
        ),
    ],
)
def test_must_be_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError) as refusal:
        parse(text)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        SHORT + "\nsampling: {epoch_s: 1e308}",
        "topology: {name: b4, ecmp: 1e308}" + TASK,
        SHORT + "\nsampling: {epoch_s: 1e-300}",
        SHORT + "\ntraffic: {speed: 1e-300}",
        SHORT + f"\nresources: {{switch_memory_entries: {10**30}}}",
        task("event: loss, at: source-host, hold_s: 1e300"),
        task("event: loss, at: source-host, detection_delay_ms: 1e300"),
        task("event: loss, at: source-host, cpu_percent: 101"),
        task(monitor=f"measure: volume, at: s1, memory_entries: {10**30}"),
        task(more="weight: 1e300"),
    ],
)
def test_numbers_beyond_what_can_be_counted_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match=r"must be .* (to|at most) [0-9,]+"):
        parse(text)


def test_a_misspelt_event_or_measure_is_recognized() -> None:
    with pytest.raises(SpecError) as refusal:
        parse(task("evnt: loss, at: source-host, threshold: 2%", "mesure: volume, at: path-switches"))
    told = str(refusal.value)
    assert "tasks[0].monitor.mesure: unknown key (did you mean measure?)" in told
    assert "tasks[0].monitor.measure: is missing" in told
    assert "tasks[0].selector.evnt: unknown key (did you mean event?)" in told
    assert "selector.threshold: " not in told


def test_a_file_that_is_no_table_is_told_once() -> None:
    with pytest.raises(SpecError) as refusal:
        parse("hello, world\n")
    assert str(refusal.value) == "t.yaml:1: must be a table of keys, not 'hello, world'"


def test_all_wrong_values_are_told_at_once_in_the_order_of_the_lines() -> None:
    text = """topology: {name: b4, ecmp: all}
traffic: {speed: fast}
tasks:
- name: One
  selector:
    event: loss
    at: source-host
    threshold: 7
  monitor: {measure: volume, at: s1, key: srt}
- 5
sampling: {epoch_s: 0}
"""
    with pytest.raises(SpecError) as refusal:
        parse(text)
    places = [line.split(": ")[0:2] for line in str(refusal.value).splitlines()]
    assert places == [
        ["t.yaml:1", "topology.ecmp"],
        ["t.yaml:2", "traffic.speed"],
        ["t.yaml:4", "tasks[0].name"],
        ["t.yaml:8", "tasks[0].selector.threshold"],
        ["t.yaml:9", "tasks[0].monitor.key"],
        ["t.yaml:10", "tasks[1]"],
        ["t.yaml:11", "sampling.epoch_s"],
    ]


def test_traces_and_topology_files_lie_beside_the_task_file(tmp_path: Path) -> None:
    text = "topology: {name: my.json}\ntraffic: {trace: [a.pcap, -, /data/b.pcap]}" + TASK
    (tmp_path / "t.yaml").write_text(text)
    spec = load_spec(tmp_path / "t.yaml", **TABLES)
    assert spec.traffic.trace == (str(tmp_path / "a.pcap"), "-", "/data/b.pcap")
    assert spec.topology.name == str(tmp_path / "my.json")


def test_a_task_file_that_cannot_be_read_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"none\.yaml: cannot be read: No such file"):
        load_spec(tmp_path / "none.yaml", **TABLES)
    (tmp_path / "t.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(SpecError, match=r"t\.yaml: not UTF-8 text"):
        load_spec(str(tmp_path / "t.yaml"), **TABLES)


def test_a_dict_does_as_well_as_a_file() -> None:
    document: dict[str, Any] = {
        "topology": {"name": "line", "n": np.int64(3)},
        "traffic": {"trace": Path("a.pcap")},
        "tasks": [
            {
                "name": "lossy",
                "selector": {"event": "loss", "at": ("s1", "s2"), "threshold": np.float64(0.5)},
                "monitor": {"measure": "volume", "at": "path-switches"},
            }
        ],
    }
    spec = load_spec(document, **TABLES)
    assert spec.topology.options == {"n": 3}
    assert spec.traffic.trace == ("a.pcap",)
    assert spec.tasks[0].selector.at == ("s1", "s2")
    document["tasks"][0]["selector"]["at"] = document["tasks"]
    with pytest.raises(SpecError, match=r"^task file: tasks\[0\]\.selector\.at"):
        load_spec(document, **TABLES)
    document["tasks"][0]["selector"] = document
    with pytest.raises(SpecError, match="nested more than 20 deep"):
        load_spec(document, **TABLES)


def test_without_a_table_of_topologies_any_plain_parameter_is_taken() -> None:
    tables = {key: table for key, table in TABLES.items() if key != "topologies"}
    assert parse_spec("topology: {name: ring, n: 3}" + TASK, **tables).topology.options == {"n": 3}
    with pytest.raises(SpecError, match=r"topology\.n: must be a plain value, not \[1\]"):
        parse_spec("topology: {name: ring, n: [1]}" + TASK, **tables)


def test_losses_read_the_same_from_the_command_line_and_the_file() -> None:
    text = "loss: {s6-s3: 2%, s1-h1: 0.5, s10-s9: 1}"
    assert parse(SHORT + text).loss == {"h1-s1": 0.5, "s3-s6": 0.02, "s9-s10": 1.0}
    assert parse_loss("s6-s3=2%,s1-h1=0.5,s10-s9=1") == parse(SHORT + text).loss


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("s3-s6", "loss: 's3-s6' is not LINK=PROBABILITY"),
        ("s3-s6=2%,s3-s6=3%", "loss: 's3-s6=3%' stands twice"),
        ("s3-s6=200%", "command line: loss.s3-s6: must be a number from 0 to 1"),
    ],
)
def test_a_wrong_loss_on_the_command_line_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError) as refusal:
        parse_loss(text)
    assert message in str(refusal.value)


ats = st.sampled_from(["source-host", "egress-switch", ["s1"], ["s2", "h1"]])
numbers = st.floats(0.001, 1.0)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    def one(i: int) -> dict[str, Any]:
        event = draw(st.sampled_from(["loss", "port-scan", "elephant"]))
        own: dict[str, dict[str, Any]] = {
            "elephant": {"threshold_mbps": draw(numbers)},
            "port-scan": {"ports": draw(st.sampled_from([22, [1, 2]]))},
        }
        return {
            "name": f"task-{i}",
            "selector": {"event": event, "at": draw(ats), "hold_s": draw(numbers), **own.get(event, {})},
            "monitor": {
                "measure": draw(st.sampled_from(["volume", "distinct-destinations"])),
                "at": draw(ats),
            },
            "max_latency_ms": draw(st.none() | numbers),
        }

    nothing: dict[str, Any] = {}
    mapping = draw(
        st.sampled_from([nothing, {"map": "prefix", "prefixes": {"h1": "10.0.0.0/8", "h2": ["2001:db8::/32"]}}])
    )
    source = draw(st.sampled_from([nothing, {"trace": "a.pcap"}, {"synthetic": "caida-like", "duration_s": 5}]))
    return {
        "topology": draw(st.sampled_from([{"name": "b4"}, {"name": "line", "n": 2, "ecmp": 1.5}, {"name": "x.json"}])),
        "traffic": {**mapping, **source},
        "sampling": {"probability": draw(numbers), "preserve_bytes": draw(st.none() | st.integers(0, 9))},
        "loss": draw(st.dictionaries(st.sampled_from(["s1-s2", "h1-s1", "s10-s9"]), numbers)),
        "tasks": [one(i) for i in range(draw(st.integers(1, 3)))],
    }


@given(documents())
@settings(max_examples=60, deadline=None)
def test_the_effective_spec_loads_again_to_an_equal_one(document: dict[str, Any]) -> None:
    spec = load_spec(document, **TABLES)
    written = spec.to_dict()
    assert load_spec(written, **TABLES) == spec
    assert parse_spec(json.dumps(written), **TABLES) == spec
    assert load_spec(written, **TABLES).to_dict() == written


@given(st.text(alphabet="abs: -[]{}\n'\"#&*!|>%@,?0.e1\t", max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_text_is_a_spec_or_refused(text: str) -> None:
    for whole in (text, SHORT + text):
        try:
            parse(whole)
        except SpecError as error:
            assert str(error).startswith("t.yaml")


def test_a_spec_does_not_change_under_its_users() -> None:
    (one,) = parse(SHORT).tasks
    with pytest.raises(AttributeError):
        one.weight = 2.0  # type: ignore[misc]
    assert isinstance(one, Task)
