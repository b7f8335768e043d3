"""`mozart check` says what would run where and what would be refused, in the words of a replay and of a live run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from mozart.cli import main
from mozart.controller.rules import TAG_TABLES

Captured = pytest.CaptureFixture[str]


def task(name: str, **more: Any) -> dict[str, Any]:
    monitor = {"measure": "volume", "at": "path-switches", "memory_entries": more.pop("memory_entries", 64)}
    selector = {"event": "elephant", "threshold_mbps": 0.05, "at": more.pop("at", "source-host")}
    return {"name": name, "selector": selector, "monitor": monitor, **more}


def written(folder: Path, *tasks: dict[str, Any], topology: Any = None, **resources: float) -> Path:
    path = folder / "tasks.yaml"
    traffic = {"synthetic": "caida-like", "duration_s": 3600, "packets_per_s": 1000}
    topology = topology or {"name": "line", "n": 3}
    document = {"topology": topology, "traffic": traffic, "tasks": list(tasks), "resources": resources}
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_file_whose_tasks_all_run_is_shown_with_their_places(tmp_path: Path, capsys: Captured) -> None:
    assert main(["check", str(written(tmp_path, task("small"), switch_memory_entries=128))]) == 0
    told = capsys.readouterr().out
    assert "valid; line, 3 switches, 3 hosts" in told and "placed 1 of 1 tasks" in told
    assert "  small: elephant on h1 to h3; volume on s1 to s3; selections travel by tag, tag code 1" in told


@pytest.mark.parametrize(
    ("more", "resources", "reason"),
    [
        ({"memory_entries": 200}, {"switch_memory_entries": 128}, "capacity: memory of s1"),
        ({"at": ["h1"], "max_latency_ms": 0.001}, {}, "latency: no candidates are within 0.001 ms"),
        ({}, {"host_cpu_percent": 0.5}, "capacity: cpu of h1"),
    ],
    ids=["memory", "latency", "cpu"],
)
def test_what_fits_nowhere_is_refused_by_check_and_replay_alike(
    tmp_path: Path, more: dict[str, Any], resources: dict[str, float], reason: str, capsys: Captured
) -> None:
    path = written(tmp_path, task("large", **more), **resources)
    assert main(["check", str(path)]) == 1
    told = capsys.readouterr().out
    (line,) = [line for line in told.splitlines() if line.startswith("refused: ")]
    assert line.startswith(f"refused: large: {reason}") and "valid" in told
    assert main(["check", str(path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["refused"][0]["reason"] in line
    assert main(["replay", str(path)]) == 1  # an hour of traffic is not looked at
    said = capsys.readouterr()
    assert said.out == "" and line in said.err and "no task can run on this network" in said.err


def test_what_runs_and_what_is_refused_stand_in_the_document(tmp_path: Path, capsys: Captured) -> None:
    path = written(tmp_path, task("small"), task("large", memory_entries=200), switch_memory_entries=128)
    assert main(["check", str(path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["placement"]["small"]["monitors"] == ["s1", "s2", "s3"] and list(found["placement"]) == ["small"]
    assert [each["task"] for each in found["refused"]] == ["large"] and found["refused_live"] is None


def test_what_a_live_network_alone_refuses_is_told(tmp_path: Path, capsys: Captured) -> None:
    tasks = [task(f"t{i}", at="ingress-switch", memory_entries=1) for i in range(TAG_TABLES + 1)]
    path = written(tmp_path, *tasks, topology={"name": "line", "n": 2})
    assert main(["check", str(path)]) == 1
    told = capsys.readouterr().out
    assert f"refused by mozart live: {TAG_TABLES} tasks can tag at one switch" in told
