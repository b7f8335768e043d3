"""`mozart replay` places its modules: what fits runs, what does not is refused with the reason."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import mozart
import pytest
import yaml
from mozart.cli import main
from mozart.errors import PlacementError, SpecError
from mozart.replay.placed import place_tasks
from mozart.replay.report import placement_lines
from mozart.replay.vocabulary import load
from mozart.topologies.catalogue import load as load_topology

TRAFFIC = {"synthetic": "caida-like", "duration_s": 1, "packets_per_s": 20000, "lossy_share": 0.5}


def task(name: str, at: Any = "source-host", monitor_at: Any = "path-switches", **other: Any) -> dict[str, Any]:
    """A task of a task file that selects many flows."""
    entries = other.pop("memory_entries", 64)
    return {
        "name": name,
        "selector": {"event": "elephant", "threshold_mbps": 0.05, "at": at},
        "monitor": {"measure": "volume", "at": monitor_at, "memory_entries": entries},
        **other,
    }


def world(*tasks: dict[str, Any], **resources: float) -> dict[str, Any]:
    return {"topology": {"name": "b4"}, "traffic": TRAFFIC, "tasks": list(tasks), "resources": resources}


def replayed(spec: dict[str, Any], **options: Any) -> Any:
    package: Any = mozart  # to the type checker, mozart.replay is the room
    return package.replay(spec, mode=["mozart"], **options)


def test_a_task_that_does_not_fit_is_refused_and_the_others_are_as_without_it() -> None:
    small, large = task("small"), task("large", memory_entries=200)
    both = replayed(world(small, large, switch_memory_entries=128))
    alone = replayed(world(small, switch_memory_entries=128))
    assert both.rows == alone.rows != []
    assert list(both.placement) == ["small"]
    assert list(both.refused) == ["large"]
    assert "large" not in json.dumps(both.rows)
    assert "capacity: memory of s1" in both.refused["large"]
    assert "it would run with" in both.refused["large"]
    assert placement_lines(both)[0] == "placed 1 of 2 tasks (priced: optimal)"
    assert placement_lines(alone) == ["placed 1 of 1 tasks (priced: optimal)"]


def test_what_tasks_are_worth_decides_which_runs() -> None:
    spec = world(task("cheap"), task("dear", weight=3), switch_memory_entries=100)
    found = place_tasks(load(spec), load_topology("b4"))
    assert (list(found.at), list(found.refused), found.status) == (["dear"], ["cheap"], "optimal")


def test_a_latency_bound_refuses_a_task_by_name() -> None:
    found = place_tasks(load(world(task("near", max_latency_ms=20))), load_topology("b4"))
    assert found.refused["near"].startswith("latency: no candidates are within 20 ms")


def test_a_list_of_devices_gets_the_one_that_placement_chose() -> None:
    lists = world(task("first", "source-host", ["s3", "s4", "s9"]), task("second", ["s5", "s6"], ["s3", "s4"]))
    topology = load_topology("b4")
    placed = place_tasks(load(lists), topology)
    chosen = {name: (s if isinstance(s, str) else s[0], m[0]) for name, (s, m) in placed.at.items()}
    assert chosen["first"][0] == "source-host"
    assert chosen["second"][0] in ("s5", "s6") and chosen["second"][1] in ("s3", "s4")
    same = world(*(task(name, s if s == "source-host" else [s], [m]) for name, (s, m) in chosen.items()))
    found = replayed(lists)
    assert found.placement["second"]["monitor"]["devices"] == [chosen["second"][1]]
    assert found.placement["second"]["selector"]["devices"] == [chosen["second"][0]]
    assert found.rows == replayed(same).rows
    assert any(row["selected_flows"] for row in found.rows)


def test_of_a_list_the_device_that_is_nearest_is_chosen() -> None:
    found = place_tasks(load(world(task("a", ["s8"], ["s12", "s2", "s7"]))), load_topology("b4"))
    assert found.at == {"a": (("s8",), ("s7",))}


def test_lists_share_the_memory_of_their_devices() -> None:
    spec = world(*(task(f"t{i}", ["s5"], ["s3", "s4"]) for i in range(3)), switch_memory_entries=64)
    found = place_tasks(load(spec), load_topology("b4"))
    assert {at[0] for _, at in found.at.values()} == {"s3", "s4"}
    assert len(found.refused) == 1


@pytest.mark.parametrize("algorithm", ["bilp", "greedy", "mam"])
def test_every_algorithm_can_be_asked(algorithm: str) -> None:
    found = replayed(world(task("a"), task("b", ["s5"], ["s3"])), algorithm=algorithm).to_dict()
    assert found["placement"]["algorithm"] == algorithm
    assert set(found["placement"]["tasks"]) == {"a", "b"}
    assert found["refused"] == []


def test_the_command_says_what_was_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tasks.yaml"
    path.write_text(yaml.safe_dump(world(task("small"), task("large", memory_entries=200), switch_memory_entries=128)))
    arguments = ["replay", str(path), "--mode", "mozart", "--algorithm", "bilp"]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["placement"]["algorithm"], found["placement"]["status"]) == ("bilp", "optimal")
    (refused,) = found["refused"]
    assert refused["task"] == "large" and "memory of s1" in refused["reason"]
    assert main(arguments) == 0
    assert "refused: large: capacity: memory of s" in capsys.readouterr().out


def test_nothing_that_fits_is_a_result_too(tmp_path: Path) -> None:
    from mozart.replay.report import tables, write_run

    found = replayed(world(task("large", memory_entries=200), switch_memory_entries=128))
    assert (found.rows, found.placement, list(found.refused)) == ([], {}, ["large"])
    assert found.trace["packets"] > 0
    assert tables(found)
    assert {path.name for path in write_run(found, tmp_path)} >= {"run.json", "rows.csv", "network.png"}


def test_wrong_input_is_named() -> None:
    with pytest.raises(PlacementError, match="no algorithm 'magic'; there are priced"):
        replayed(world(task("a")), algorithm="magic")
    with pytest.raises(SpecError, match=r"tasks\[0\].selector.at: b4 has no device s99"):
        replayed(world(task("a", ["s99"])))
    with pytest.raises(SpecError, match=r"tasks\[0\].monitor.at: s1, h2: candidates are all hosts or all switches"):
        replayed(world(task("a", monitor_at=["s1", "h2"])))
    line = {**world(task("a", "ecmp-switch", "ecmp-peers")), "topology": {"name": "line"}}
    with pytest.raises(
        SpecError, match=r"tasks\[0\].selector.at: no path of line has a device for the selector at ecmp-switch; .*"
    ):
        replayed(line)


def test_without_a_choice_no_solver_is_loaded() -> None:
    code = f"""
import sys
from mozart.replay.placed import place_tasks
from mozart.replay.vocabulary import load
from mozart.topologies.catalogue import load as load_topology
assert len(place_tasks(load({world(task("a"), task("b"))!r}), load_topology("b4")).at) == 2
assert not {{"pulp", "highspy"}} & set(sys.modules), "a solver was loaded"
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
