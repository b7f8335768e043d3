"""Placement problems: JSON in and out, what is refused and how it is named, and the generator."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from mozart.errors import PlacementError
from mozart.placement.algorithms import place
from mozart.placement.generated import generate, parse_options
from mozart.placement.problem import Device, Module, Problem, Task, from_json, load_problem, to_json
from mozart.placement.spec_problem import problem_from_spec
from mozart.tasks import MonitorSpec, SelectorSpec, Spec, TopologySpec
from mozart.tasks import Task as TaskSpec
from mozart.topologies.catalogue import load

GOOD = {
    "devices": [
        {"name": "s1", "memory_entries": 100, "cpu_percent": 0},
        {"name": "h1", "memory_entries": 0, "cpu_percent": 20},
    ],
    "latency_ms": [[0, 5], [5, 0]],
    "tasks": [
        {
            "name": "scan",
            "weight": 1,
            "max_latency_ms": None,
            "modules": [
                {"name": "sel", "role": "selector", "memory_entries": 0, "cpu_percent": 2, "candidates": ["h1"]},
                {"name": "mon", "role": "monitor", "memory_entries": 64, "cpu_percent": 0, "candidates": ["s1"]},
            ],
        }
    ],
}


def test_json_comes_back_the_same():
    problem = from_json(GOOD)
    assert problem.tasks[0].weight == 1.0
    assert np.isinf(problem.tasks[0].max_latency_ms)
    assert to_json(from_json(to_json(problem))) == to_json(problem)
    assert problem.latency("h1", "s1") == 5.0


REFUSED = [
    (lambda d: d.pop("tasks"), "'tasks' is missing"),
    (lambda d: d.update(extra=1), "unknown key 'extra'"),
    (lambda d: d["latency_ms"][0].pop(), "from s1 to h1 is absent"),
    (lambda d: d["latency_ms"].pop(), "has 1 rows, and there are 2 devices"),
    (lambda d: d["latency_ms"][1].__setitem__(0, None), "from h1 to s1: is null"),
    (lambda d: d["latency_ms"][1].__setitem__(0, -1), "from h1 to s1 is -1.0"),
    (lambda d: d["latency_ms"][1].__setitem__(0, float("inf")), "from h1 to s1 is inf"),
    (lambda d: d["devices"][0].update(memory_entries=-5), "device s1: memory_entries is -5.0"),
    (lambda d: d["devices"][0].update(cpu_percent=float("nan")), "device s1: cpu_percent is nan"),
    (lambda d: d["devices"][0].pop("cpu_percent"), "devices[0]: 'cpu_percent' is missing"),
    (lambda d: d["devices"][1].update(name="s1"), "the name 's1' occurs twice"),
    (lambda d: d["tasks"][0].update(weight=0), "task scan: weight is 0.0"),
    (lambda d: d["tasks"][0].update(max_latency_ms=-1), "task scan: max_latency_ms is -1.0"),
    (lambda d: d["tasks"][0].update(max_latency_ms=float("inf")), "max_latency_ms: is inf; it must be finite, or null"),
    (lambda d: d["tasks"][0].pop("max_latency_ms"), "tasks[0]: 'max_latency_ms' is missing"),
    (lambda d: d["tasks"][0].pop("weight"), "tasks[0]: 'weight' is missing"),
    (lambda d: d["tasks"][0].update(weight=10**400), "task scan: weight is inf"),
    (lambda d: d.update(tasks=None), "tasks: must be a list"),
    (lambda d: d["tasks"][0]["modules"][0].update(candidates=None), "modules[0].candidates: must be a list"),
    (lambda d: d["tasks"][0].update(modules=[]), "task scan: has no modules"),
    (lambda d: d["tasks"][0]["modules"][0].update(role="boss"), "module sel: role is 'boss'"),
    (lambda d: d["tasks"][0]["modules"][0].update(candidates=["h9"]), "candidate 'h9' is no device"),
    (lambda d: d["tasks"][0]["modules"][0].update(candidates=["h1", "h1"]), "candidate 'h1' is named twice"),
    (lambda d: d["tasks"][0]["modules"][1].update(name="sel"), "two modules are named 'sel'"),
    (lambda d: d["tasks"][0]["modules"][1].update(memory_entries="many"), 'is "many"; it must be a number'),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_wrong_value_is_named(change, message):
    document = copy.deepcopy(GOOD)
    change(document)
    with pytest.raises(PlacementError) as error:
        from_json(document)
    assert message in str(error.value)


def test_all_faults_are_reported_at_once(tmp_path):
    document: Any = copy.deepcopy(GOOD)
    document["devices"][0]["memory_entries"] = -1
    document["latency_ms"][0][1] = -1
    path = tmp_path / "p.json"
    path.write_text(json.dumps(document))
    with pytest.raises(PlacementError) as error:
        load_problem(path)
    assert "memory_entries is -1.0" in str(error.value)
    assert "from s1 to h1 is -1.0" in str(error.value)
    path.write_text("{")
    with pytest.raises(PlacementError, match=r"p\.json:1: this is not JSON"):
        load_problem(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(PlacementError, match=r"p\.json: this is not JSON"):
        load_problem(path)


def test_generated_problems_repeat_and_have_the_load_they_name():
    b4 = load("b4")
    first = generate(b4.hosts, b4.switches, b4.latency_ms, tasks=200, load=0.9, seed=4)
    again = generate(b4.hosts, b4.switches, b4.latency_ms, tasks=200, load=0.9, seed=4)
    assert to_json(first) == to_json(again)
    asked = sum(m.memory_entries for t in first.tasks for m in t.modules)
    there = sum(d.memory_entries for d in first.devices)
    assert there / asked == pytest.approx(0.9, abs=0.001)
    assert {len(t.monitors) for t in first.tasks} == {1, 2, 3, 4}
    assert {len(m.candidates) for t in first.tasks for m in t.modules} == {2, 3, 4, 5, 6}


@pytest.mark.parametrize("text", ["tasks=x", "size=3", "load=0", "tasks=-1"])
def test_wrong_generator_options_are_refused(text):
    with pytest.raises(PlacementError, match="--generate"):
        parse_options(text)


def test_without_device_takes_it_from_the_candidates_too():
    problem = from_json(GOOD).without_device("s1")
    assert problem.tasks[0].monitors[0].candidates == ()
    assert problem.latency_ms.shape == (1, 1)


def spec_of(at_selector, at_monitor):
    task = TaskSpec(
        name="t",
        selector=SelectorSpec(event="loss", at=at_selector),
        monitor=MonitorSpec(measure="volume", at=at_monitor),
    )
    return Spec(topology=TopologySpec(name="b4"), tasks=(task,))


def test_a_role_expands_to_a_module_on_each_of_its_devices():
    b4 = load("b4")
    problem = problem_from_spec(spec_of("source-host", "path-switches"), b4, [("h1", "h3")])
    assert [m.candidates for m in problem.tasks[0].selectors] == [("h1",)]
    assert [m.candidates for m in problem.tasks[0].monitors] == [("s1",), ("s3",)]
    assert problem.tasks[0].monitors[0].memory_entries == 1024


def test_a_list_of_devices_is_one_module_that_may_run_on_any():
    problem = problem_from_spec(spec_of("source-host", ("s2", "s5")), load("b4"))
    assert len(problem.tasks[0].selectors) == 12
    assert [m.candidates for m in problem.tasks[0].monitors] == [("s2", "s5")]
    with pytest.raises(PlacementError, match="no device s99"):
        problem_from_spec(spec_of("source-host", ("s99",)), load("b4"))


def test_a_task_with_a_module_on_each_of_thousands_of_devices_is_placed() -> None:
    """One candidate each: no choice, and no recursion as deep as the task is wide."""
    devices = tuple(Device(f"s{i}", 10.0, 0.0) for i in range(1, 2501))
    modules = [Module("selector", "selector", 0.0, 0.0, ("s1",))]
    modules += [Module(f"monitor-{d.name}", "monitor", 1.0, 0.0, (d.name,)) for d in devices]
    problem = Problem(devices, np.zeros((len(devices), len(devices))), (Task("wide", tuple(modules)),))
    assert len(place(problem, "greedy").tasks["wide"]) == 2501
