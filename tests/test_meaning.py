"""What a task file's values mean together: all that is wrong is told at once, by all that take a task file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from mozart.cli import main
from mozart.errors import SpecError
from mozart.replay.run import replay
from mozart.tasks import MonitorSpec, SelectorSpec, Spec, Task, TopologySpec

TRAFFIC = {"synthetic": "caida-like", "duration_s": 0.1, "packets_per_s": 1000}

MANY = """topology: {name: b4}
traffic:
  trace: x.pcap
  map: prefix
  prefixes:
    h77: 1.2.3.0/24
    h1: 10.0.0.0/8
loss:
  s12-s1: 2%
  s2-s1: 2%
tasks:
- name: x
  selector: {event: loss, at: s99}
  monitor:
    measure: volume
    at: [s1, h55]
    key: dst
- name: y
  selector: {event: loss, at: source-host}
  monitor: {measure: volume, at: s77}
"""
TOLD = [
    "{file}:6: traffic.prefixes.h77: b4 has no such host; it has h1, h2, h3, h4, h5, h6, h7, h8, h9, h10, h11, h12",
    "{file}:9: loss.s12-s1: b4 has no such link; it has s1-s2, ",
    "{file}:13: tasks[0].selector.at: b4 has no device s99; it has s1, ",
    "{file}:16: tasks[0].monitor.at: b4 has no device h55; it has s1, ",
    "{file}:16: tasks[0].monitor.at: s1, h55: candidates are all hosts or all switches, not both",
    "{file}:17: tasks[0].monitor.key: must be five-tuple as selector.key is, not dst; a monitor looks for the flows",
    "{file}:20: tasks[1].monitor.at: b4 has no device s77; it has s1, ",
]
COMMANDS = ["check", "replay", "place", "live"]


def task(name: str, selector: dict[str, Any] | None = None, monitor: dict[str, Any] | None = None) -> dict[str, Any]:
    """Make a task that counts on its path what loses packets."""
    return {
        "name": name,
        "selector": {"event": "loss", "at": "source-host", **(selector or {})},
        "monitor": {"measure": "volume", "at": "path-switches", **(monitor or {})},
    }


def world(*tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"topology": {"name": "line"}, "traffic": TRAFFIC, "tasks": list(tasks), **more}


def refused(document: Any, **options: Any) -> list[str]:
    with pytest.raises(SpecError) as refusal:
        replay(document, **options)
    return str(refusal.value).splitlines()


def assert_told(lines: list[str], expected: list[str]) -> None:
    assert len(lines) == len(expected), lines
    for line, beginning in zip(lines, expected, strict=True):
        assert line.startswith(beginning), line


@pytest.mark.parametrize("command", COMMANDS)
def test_all_that_does_not_go_together_is_told_at_once_with_its_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(MANY)
    assert main([command, str(file)]) == 2
    lines = capsys.readouterr().err.removeprefix("mozart: ").splitlines()
    assert_told(lines, [each.format(file=file) for each in TOLD])


def test_a_dict_has_paths_without_lines() -> None:
    lines = refused(yaml.safe_load(MANY))
    assert sorted(line.split(": ")[1] for line in lines) == sorted(each.split(": ")[1] for each in TOLD)
    assert all(line.startswith("task file: ") for line in lines)


def test_a_spec_made_without_a_file_has_paths_too() -> None:
    selector = SelectorSpec("loss", "source-host", key="five-tuple", parameters={"threshold": 0.02, "min_packets": 20})
    one = Task(name="a", selector=selector, monitor=MonitorSpec("volume", ("s9",), key="src"))
    lines = refused(Spec(TopologySpec("line"), (one,)), trace="x.pcap")
    assert_told(
        lines, ["task file: tasks[0].monitor.key: must be five-tuple", "task file: tasks[0].monitor.at: line has"]
    )


def test_roles_that_the_paths_do_not_have_are_told_for_every_task() -> None:
    lines = refused(world(task("x", {"at": "ecmp-switch"}), task("y", monitor={"at": "ecmp-peers"})))
    why = "; the paths have no equal-cost alternatives (see topology.ecmp)"
    assert lines == [
        f"task file: tasks[0].selector.at: no path of line has a device for the selector at ecmp-switch{why}",
        f"task file: tasks[1].monitor.at: no path of line has a device for the monitor at ecmp-peers{why}",
    ]


def test_a_topology_that_cannot_be_made_is_told_with_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "t.yaml"
    for topology, message in (
        ("{name: nofile.json}", f"topology.name: {tmp_path}/nofile.json: cannot be read: No such file"),
        ("{name: leaf-spine, leaves: 256, hosts: 256}", "topology: topology leaf-spine has 65,794 devices; 4,096 is"),
        ("{name: fattree, k: 3}", "topology.k: must be an even number from 2 to 16, not 3"),
    ):
        file.write_text(f"seed: 1\ntopology: {topology}\ntasks: {json.dumps([task('x', monitor={'at': 's1'})])}\n")
        assert main(["check", str(file)]) == 2
        assert f"{file}:2: {message}" in capsys.readouterr().err
    key = json.dumps([task("x", monitor={"key": "dst"})])
    file.write_text(f"topology: {{name: nofile.json}}\ntasks: {key}\n")
    assert main(["check", str(file)]) == 2
    assert "tasks[0].monitor.key" in capsys.readouterr().err


def test_loss_that_is_given_instead_is_not_told_as_the_files() -> None:
    assert refused(world(task("a")), loss={"s1-s4": 0.1})[0].startswith("loss names the link s1-s4")


def test_tasks_without_a_tag_code_are_named_by_check_and_replay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cheap = {"cpu_percent": 0}
    many = [task(f"t{i:02}", cheap, {"memory_entries": 1}) for i in range(64)]
    file = tmp_path / "t.yaml"
    file.write_text("\n".join(["topology: {name: line, n: 2}", f"traffic: {json.dumps(TRAFFIC)}", "tasks:", *(
        f"- {json.dumps(each)}" for each in many
    )]))  # fmt: skip
    for command in ("check", "replay"):
        assert main([command, str(file)]) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"mozart: {file}:67: tasks[63]: no tag code is left for t63: there are 63 tag codes")
        assert len(said.splitlines()) == 1


def test_only_tasks_that_run_need_a_tag_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = [task(f"t{i:02}", {"cpu_percent": 1}, {"memory_entries": 1}) for i in range(64)]
    document = world(*many, topology={"name": "line", "n": 2}, resources={"host_cpu_percent": 3})
    file = tmp_path / "t.yaml"
    file.write_text(json.dumps(document))
    assert main(["check", str(file), "--json"]) == 1  # 61 tasks are refused
    assert len(json.loads(capsys.readouterr().out)["tag_codes"]) == 3
    assert len(replay(document, mode="none").placement) == 3
