"""Plans: places, codes, tables and configurations that follow from a task file; what stays when it changes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mozart.bus.config import Code, DeviceConfig
from mozart.controller.codes import allot
from mozart.controller.paths import paths_of
from mozart.controller.plan import make_plan, plan_from
from mozart.controller.planned import Kept, Plan, load_plan
from mozart.controller.working import without_links
from mozart.errors import LiveError, SpecError
from mozart.replay.routes import Routes
from mozart.replay.vocabulary import load
from mozart.topologies.addresses import host_mac, interfaces
from mozart.topologies.catalogue import load as load_topology
from mozart.topologies.topology import Link, Topology


def task(name: str, selector_at: Any, monitor_at: Any, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "selector": {"event": "loss", "at": selector_at, **more},
        "monitor": {"measure": "volume", "at": monitor_at, "memory_entries": 1000},
    }


def plan_of(topology: str, *tasks: dict[str, Any], resources: dict[str, Any] | None = None, **more: Any) -> Plan:
    name, _, switches = topology.partition(",n=")
    network = {"name": name, "n": int(switches)} if switches else {"name": name}
    spec = {"topology": network, "tasks": list(tasks), "resources": resources or {}}
    return make_plan(load(spec), **more)


def places(*pairs: str) -> set[tuple[str, str]]:
    return {("h1>h2", device) for device in pairs}


# Codes


def test_tasks_that_meet_differ_and_those_that_do_not_share() -> None:
    found = allot({"a": places("s1", "s2"), "b": places("s2", "s3"), "c": places("s3"), "d": places()})
    assert found["a"] != found["b"] != found["c"] and found["a"] == found["c"] and "d" not in found
    assert all(code.value == code.mask for code in found.values()), "a bit each, so that a packet can have both"


def test_with_more_than_six_colours_codes_are_values() -> None:
    six = allot({f"t{i}": places("s1") for i in range(6)})
    assert sorted(code.value for code in six.values()) == [1, 2, 4, 8, 16, 32]
    seven = allot({f"t{i}": places("s1") for i in range(7)})
    assert {code.mask for code in seven.values()} == {63} and len({code.value for code in seven.values()}) == 7


def test_more_tasks_than_codes_is_an_error_that_names_the_tasks() -> None:
    assert len(allot({f"t{i:02}": places("s1") for i in range(63)})) == 63
    with pytest.raises(SpecError, match=r"63 tag codes .* without a code: t63"):
        allot({f"t{i:02}": places("s1") for i in range(64)})


def test_reserved_values_are_made_by_no_combination_of_tags() -> None:
    found = allot({name: places("s1") for name in "abc"}, reserved={46, 3})
    values = [code.value for code in found.values()]
    combined = {sum(v for i, v in enumerate(values) if n >> i & 1) for n in range(1, 8)}
    assert not combined & {46, 3} and len(combined) == 7
    seven = allot({f"t{i}": places("s1") for i in range(7)}, reserved={1, 5})
    assert not {code.value for code in seven.values()} & {1, 5}


def test_codes_that_are_in_use_stay() -> None:
    keep = {"b": Code(4, 4), "c": Code(16, 16)}
    found = allot({"a": places("s1"), "b": places("s1"), "c": places("s2"), "d": places("s1")}, keep)
    assert found["b"] == Code(4, 4) and found["c"] == Code(16, 16)
    assert len({found[name] for name in "abd"}) == 3
    clash = allot({"a": places("s1"), "b": places("s1")}, {"a": Code(4, 4), "b": Code(4, 4)})
    assert clash["a"] != clash["b"]


# Paths


def test_paths_whose_union_admits_another_path_are_refused() -> None:
    # h1 to h6 within the tolerance: over s2 or s3 first, then s4 or s5, but not the two slow halves together
    links = [("s1", "s2", 1.0), ("s1", "s3", 2.0), ("s2", "s4", 0.0), ("s3", "s4", 0.0), ("s4", "s5", 1.0),
             ("s4", "s6", 2.0), ("s5", "s7", 0.0), ("s6", "s7", 0.0), ("h1", "s1", 0.0), ("h7", "s7", 0.0)]  # fmt: skip
    topology = Topology(
        "halves", ("h1", "h7"), tuple(f"s{i}" for i in range(1, 8)), tuple(Link(a, b, ms, 10.0) for a, b, ms in links)
    )
    with pytest.raises(SpecError, match=r"3 equal-cost paths of h1>h7 cannot be told apart"):
        paths_of(Routes(topology, 1.0))
    assert paths_of(Routes(topology, 2.0))["h1>h7"]["s4"] == ("s5", "s6")
    assert paths_of(Routes(topology, "none"))["h1>h7"]["s4"] == ("s5",)


def test_addresses_and_interfaces_are_as_on_the_emulated_network() -> None:
    assert host_mac("h1") == "02:00:00:00:00:01" and host_mac("h300") == "02:00:00:00:01:2c"
    for wrong in ("s1", "h0", "h65536", "host", "h"):
        with pytest.raises(ValueError, match="is no host"):
            host_mac(wrong)
    named = interfaces(load_topology("line,n=3"))
    assert named["h2"] == {"s2": "h2-eth0"}
    assert sorted(named["s2"].values()) == ["s2-eth1", "s2-eth2", "s2-eth3"]


def test_without_links_the_largest_part_works() -> None:
    line = load_topology("line,n=5")
    working, cut_off = without_links(line, {"s3-s4"})
    assert working.switches == ("s1", "s2", "s3") and cut_off == ("h4", "h5", "s4", "s5")
    assert without_links(line, set()) == (line, ())
    with pytest.raises(SpecError, match="link s1-s9 is said to be down"):
        without_links(line, {"s1-s9"})


# Configurations


def test_a_tag_downstream_and_a_reverse_tag_upstream() -> None:
    plan = plan_of("line,n=3", task("middle", ["s2"], "path-switches"))
    (selector,) = plan.devices["s2"].selectors
    assert selector.tags_forward and selector.tags_reverse and selector.table == plan.tables["middle"] == 1
    assert set(selector.watches) == {"h1>h2", "h2>h1", "h1>h3", "h3>h1", "h2>h3", "h3>h2"}
    (behind,) = plan.devices["s3"].monitors
    assert set(behind.heeds_tag) == {"h1>h3", "h2>h3"}
    # flows from h3 cross s3 before s2: what answers them brings the tag
    assert set(behind.heeds_reverse_tag) == {"h1>h3", "h2>h3"}
    assert set(behind.span) == set(behind.watches) and all(span > 0 for span in behind.span.values())
    assert behind.code == plan.codes["middle"] == selector.code
    assert plan.channels["middle"] == ("tag", "reverse tag")


def test_a_monitor_where_a_packet_arrives_sees_no_tag_and_is_told() -> None:
    plan = plan_of("line,n=3", task("ends", "source-host", "destination-host"))
    (selector,) = plan.devices["h1"].selectors
    assert not selector.tags_forward and selector.code is None
    assert selector.tells == {"h1>h2": ("h2",), "h1>h3": ("h3",)}
    assert plan.channels["ends"] == ("message",) and not plan.codes
    back = plan_of("line,n=3", task("back", "egress-switch", "source-host"))
    (told,) = back.devices["s3"].selectors
    assert told.tells == {"h1>h3": ("h1",), "h2>h3": ("h2",)} and not told.tags_reverse


def test_hints_only_in_the_mode_that_heeds_them_and_no_tags_in_the_mode_that_heeds_none() -> None:
    def tells(mode: str) -> Any:
        return plan_of("line,n=2", task("one", "source-host", "path-switches"), mode=mode).devices["h1"].selectors[0]

    assert tells("mozart").announces == {} and tells("mozart").tags_forward
    assert tells("recent").announces == {"h1>h2": ("s1", "s2")}
    alone = tells("none")
    assert alone.code is None and not alone.tags_forward and alone.watches == ("h1>h2",)


def test_every_device_has_a_configuration_that_survives_the_bus() -> None:
    plan = plan_of(
        "line,n=2", task("one", "source-host", "path-switches", hold_s=7),
        revision=3, epoch_start_ns=5, end_ns=9, observations="/x", mode="recent",
    )  # fmt: skip
    assert set(plan.devices) == {"h1", "h2", "s1", "s2"}
    for device, config in plan.devices.items():
        assert DeviceConfig.from_json(config.to_json()) == config
        assert (config.device, config.revision, config.epoch_start_ns, config.end_ns) == (device, 3, 5, 9)
        assert config.observations == "/x" and config.hosts == ("h1", "h2") and config.epoch_ns == 30_000_000_000
    assert plan.devices["h1"].selectors[0].hold_s == 7 and not plan.devices["s1"].selectors


def test_a_list_of_candidates_is_one_place_that_the_placement_chooses() -> None:
    plan = plan_of("line,n=4", task("one", ["s2", "s3"], ["s1"]))
    (chosen,) = {plan.placement["one"]["selector"]}
    with_selectors = [device for device, config in plan.devices.items() if config.selectors]
    assert with_selectors == [chosen] and plan.placement["one"]["monitor"] == "s1"


def test_tasks_that_cannot_run_are_refused_with_the_reason() -> None:
    plan = plan_of(
        "line,n=3",
        task("good", "source-host", ["s2"]),
        task("nowhere", ["s9"], ["s2"]),
        task("mixed", ["h1", "s1"], ["s2"]),
        task("greedy", "source-host", ["s2"]),
        task("keys", "source-host", ["s2"]) | {"monitor": {"measure": "volume", "at": ["s2"], "key": "src"}},
        resources={"switch_memory_entries": 1500},
    )
    reasons = {refusal["task"]: refusal["reason"] for refusal in plan.refused}
    assert len(plan.placement) == 1 and len(reasons) == 4
    assert "no device s9" in reasons["nowhere"] and "not both" in reasons["mixed"]
    assert "monitor.key must be five-tuple as selector.key is" in reasons["keys"]
    (full,) = {"good", "greedy"} - plan.placement.keys()
    assert "500 more entries of memory on s2" in reasons[full]


def test_modes_links_and_too_many_tagging_tasks_are_errors() -> None:
    with pytest.raises(SpecError, match="no mode 'mozrat'; there are none, tag"):
        plan_of("line,n=2", task("one", "source-host", ["s1"]), mode="mozrat")
    with pytest.raises(SpecError, match="has none of that name"):
        plan_of("line,n=2", task("one", "source-host", ["s1"]), down={"s1-s3"})
    many = [task(f"t{i:02}", ["s1"], ["s2"]) for i in range(17)]
    with pytest.raises(SpecError, match="16 tasks can tag at one switch; t16 would be one more"):
        plan_of("line,n=2", *many, resources={"switch_memory_entries": 100_000})


# What stays


def test_a_new_task_leaves_the_others_codes_tables_and_places() -> None:
    first = plan_of("b4", task("m", ["s3", "s4"], "egress-switch"), task("z", "ingress-switch", "egress-switch"))
    spec = dict(first.request["spec"])
    spec["tasks"] = [task("a", "ingress-switch", ["s6", "s7"]), *spec["tasks"]]
    second = make_plan(load(spec), revision=2, keep=first.kept)
    assert set(second.placement) == {"a", "m", "z"} and second.moves == ()
    for name in ("m", "z"):
        assert second.placement[name] == first.placement[name]
        assert second.codes[name] == first.codes[name] and second.tables[name] == first.tables[name]


def test_a_link_that_is_down_is_gone_round_and_what_moves_is_said() -> None:
    ecmp = task("ecmp", "ecmp-switch", "ecmp-peers")
    first = plan_of("b4", ecmp)
    second = make_plan(load(first.request["spec"]), revision=2, keep=first.kept, down={"s3-s6"})
    for crossings in (second.switches["s3"], second.switches["s6"]):
        assert not any({"s3", "s6"} & set(c.next) and "s3" in c.next and "s6" in c.next for c in crossings.values())
    assert all("s6" not in crossing.next for crossing in second.switches["s3"].values())
    third = second.at_times({"end_ns": 7})
    assert {move["revision"] for move in third.moves} == {2} and third.moves == second.new_moves and not third.new_moves
    assert third.devices["s3"].end_ns == 7 and third.devices["s3"].revision == third.revision == 3
    assert second.down == {"s3-s6"} and not second.cut_off
    changed = {(m, d) for m, d in second.placement["ecmp"].items()} ^ {
        (m, d) for m, d in first.placement["ecmp"].items()
    }
    assert {move["module"] for move in second.moves} == {module for module, _ in changed}
    assert second.devices["h1"].hosts == first.devices["h1"].hosts, "addresses belong to the same hosts as before"


def test_what_a_broken_network_cuts_off_runs_nothing() -> None:
    plan = plan_of("line,n=4", task("one", "source-host", "path-switches"), task("end", ["s4"], ["s1"]), down={"s3-s4"})
    assert plan.cut_off == ("h4", "s4")
    assert not plan.switches["s4"] and not plan.devices["s4"].monitors and not plan.devices["h4"].selectors
    assert [r["task"] for r in plan.refused] == ["end"] and "cut off" in plan.refused[0]["reason"]
    assert not any("h4" in pair for crossings in plan.switches.values() for pair in crossings)


# As JSON, and as a process


def test_a_plan_survives_json() -> None:
    plan = plan_of("b4", task("one", "source-host", "path-switches"), task("no", ["s99"], ["s1"]))
    assert Plan.from_json(plan.to_json()) == plan
    assert plan_from({**plan.request, "revision": 1}) == plan, "the request has all that the plan follows from"
    with pytest.raises(LiveError, match="not a plan"):
        Plan.from_json("{}")
    with pytest.raises(LiveError, match="cannot read the plan /nowhere"):
        load_plan("/nowhere")
    assert Kept.from_dict(json.loads(plan.to_json())) == plan.kept


def run_planner(tmp_path: Path, request: Any) -> tuple[subprocess.CompletedProcess[str], Path]:
    asked, made = tmp_path / "request.json", tmp_path / "plan.json"
    asked.write_text(request if isinstance(request, str) else json.dumps(request))
    command = [sys.executable, "-m", "mozart.controller.plan", str(asked), str(made)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60), made


def test_the_planner_as_a_process(tmp_path: Path) -> None:
    spec = {"topology": {"name": "line", "n": 3}, "tasks": [task("one", "source-host", "path-switches")]}
    done, made = run_planner(tmp_path, {"spec": spec, "revision": 4})
    assert done.returncode == 0, done.stderr
    assert load_plan(made).revision == 4 and list(tmp_path.glob(".*")) == []
    none, made = run_planner(tmp_path, {"spec": {**spec, "tasks": []}})
    assert none.returncode == 0 and not load_plan(made).placement, "the last task may go"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("no json", "cannot be read as a request"),
        ({}, "not a request for a plan: 'spec'"),
        ({"spec": {"topology": {"name": "b4"}, "tasks": []}, "colour": 1}, "unexpected keyword argument 'colour'"),
        ({"spec": {"topology": {"name": "b5"}, "tasks": []}}, "topology.name: must be one of b4"),
    ],
)
def test_the_planner_says_what_is_wrong_with_a_request(tmp_path: Path, request_: Any, message: str) -> None:
    done, made = run_planner(tmp_path, request_)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert not made.exists()
