"""The doctor, on machines of all kinds and on this one."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from mozart.cli import main
from mozart.errors import LiveError
from mozart.live import doctor
from mozart.live.doctor import MISSING, NOTE, OK, PACKAGES, PROGRAMS, Finding, Machine, examine, ready
from mozart.live.record import Recorded


class Described(Machine):
    """A machine where all is well but what is said to be missing."""

    def __init__(self, root: bool = True, **missing: Any) -> None:
        self.is_root: bool = root
        self.missing: dict[str, Any] = missing
        self.commands: list[tuple[str, ...]] = []

    def root(self) -> bool:
        return self.is_root

    def package(self, name: str) -> str | None:
        versions = {"paho-mqtt": self.missing.get("paho", "2.1.0")}
        return None if name in self.missing.get("packages", ()) else str(versions.get(name, "4.34"))

    def program(self, name: str) -> str | None:
        return None if name in self.missing.get("programs", ()) else f"/usr/bin/{name}"

    def run(self, *command: str) -> tuple[int, str]:
        self.commands.append(command)
        line = " ".join(command)
        for part in self.missing.get("fails", ()):
            if part in line:
                return 2, f"Error: no {part}.\nmore"
        return (0, str(self.missing.get("bridges", ""))) if "list-br" in line else (0, f"{command[0]} version 3.1.0")

    def process(self, name: str) -> bool:
        return name in self.missing.get("processes", ())

    def library(self, name: str) -> str | None:
        return None if self.missing.get("library") else f"lib{name}.so.1"

    def exists(self, path: str) -> bool:
        return not self.missing.get("module") if "module" in path else bool(self.missing.get("records"))

    def holder(self, port: int) -> str | None:
        who: str | None = self.missing.get("ports", {}).get(port)
        return who

    def captures(self) -> bool:
        return not self.missing.get("capture")

    def runs(self) -> list[Recorded]:
        return list(self.missing.get("runs", ()))


def found(machine: Machine) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine(machine)}


def test_a_machine_with_everything_is_ready() -> None:
    findings = examine(Described())
    assert ready(findings)
    assert {finding.state for finding in findings} == {OK}
    assert len({finding.name for finding in findings}) == len(findings)


@pytest.mark.parametrize(
    ("missing", "name", "cure"),
    [
        *[({"packages": [name]}, f"Python: {name}", "scripts/setup live") for name in PACKAGES],
        ({"paho": "1.6.1"}, "Python: paho-mqtt", "scripts/setup live"),
        *[({"programs": [name]}, name, f"apt-get install {package}") for name, package, _ in PROGRAMS],
        ({"library": True}, "libnftables", "apt-get install nftables"),
        ({"fails": ["hook egress"]}, "nftables at egress", "5.16"),
        ({"capture": True}, "capture ring", "CONFIG_PACKET"),
    ],
)
def test_what_is_missing_comes_with_its_cure(missing: dict[str, Any], name: str, cure: str) -> None:
    findings = found(Described(**missing))
    assert findings[name].state == MISSING and cure in findings[name].cure
    assert [each.name for each in findings.values() if each.state != OK] == [name]
    assert not ready(list(findings.values()))


@pytest.mark.parametrize(
    ("missing", "name", "words"),
    [
        ({"fails": ["netem"]}, "netem", "no (Error: no netem.)"),
        ({"fails": ["htb"]}, "HTB", "no (Error: no htb.)"),
        ({"fails": ["ovs-appctl"]}, "Open vSwitch", "does not run"),
        ({"fails": ["modprobe"], "module": True}, "datapath", "user space"),
        ({"ports": {6653: "ryu-manager (process 7)"}}, "port 6653", "in use by ryu-manager (process 7)"),
        ({"bridges": "s1\nbr-int\ns12"}, "bridges", "there already: s1, s12"),
    ],
)
def test_what_a_run_goes_without_is_noted(missing: dict[str, Any], name: str, words: str) -> None:
    findings = found(Described(**missing))
    assert findings[name].state == NOTE and words in findings[name].found
    assert ready(list(findings.values()))


def test_a_module_that_can_be_loaded_counts() -> None:
    assert found(Described(module=True))["datapath"].state == OK


def test_without_root_it_says_what_it_cannot_see_and_probes_nothing() -> None:
    machine = Described(root=False)
    findings = found(machine)
    assert findings["root"].state == MISSING
    assert {findings[name].found for name in ("netem", "HTB", "nftables at egress", "capture ring")} == {
        "only root can find out"
    }
    assert not any("unshare" in command for command in machine.commands)


def test_a_user_is_told_nothing_untrue() -> None:
    """What a user may not ask is unknown, not absent: a daemon that runs, its bridges, the records of root's runs."""
    refused: dict[str, Any] = {
        "fails": ["ovs-appctl", "list-br"],
        "processes": ["ovs-vswitchd", "ovsdb-server"],
        "records": True,
    }
    findings = found(Described(root=False, **refused))
    assert findings["Open vSwitch"].found.startswith("runs; whether it answers, only root")
    assert findings["bridges"].found == "only root can find out"
    assert findings["earlier runs"].found == "none of yours; of root's, only root can find out"
    findings = found(Described(**refused))
    assert findings["Open vSwitch"].state == MISSING and "does not answer" in findings["Open vSwitch"].found
    assert "no ovs-vsctl" not in findings["bridges"].found and "does not say" in findings["bridges"].found


def test_modprobe_is_looked_for_where_users_have_no_path() -> None:
    machine = Described(module=True)
    assert found(machine)["datapath"].found.startswith("kernel, as soon as")
    assert ("/usr/bin/modprobe", "-n", "openvswitch") in machine.commands
    assert "user space: modprobe, which" in found(Described(module=True, programs=["modprobe"]))["datapath"].found


def test_cures_have_sudo_for_users_alone() -> None:
    missing: dict[str, Any] = {"programs": ["mosquitto"], "packages": ["ryu"], "fails": ["ovs-appctl"]}
    assert not any("sudo" in finding.cure for finding in examine(Described(**missing)))
    assert found(Described(root=False, **missing))["mosquitto"].cure.startswith("sudo apt-get install mosquitto")


@pytest.mark.parametrize("columns", ["20", "60", "200"])
def test_no_line_is_cut_however_narrow_the_terminal(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Described(root=False, programs=["mosquitto"], fails=["ovs-appctl"], ports={6653: "x" * 200})
    monkeypatch.setattr(doctor, "Machine", lambda: machine)
    monkeypatch.setenv("COLUMNS", columns)
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    for finding in examine(machine):
        assert any(line.startswith(finding.name) and line.endswith(finding.found) for line in lines)
        assert not finding.cure or f"    {finding.cure}" in lines
    assert lines[-1] == "missing: root, mosquitto" and lines[-2].startswith("only root can find out: netem")


def recorded(pid: int, start: int | None) -> Recorded:
    owner = {"kind": "process", "name": "the run itself", "pid": pid, "start": start}
    return Recorded(Path("/run/mozart/x"), "runs/1", owner, ({"kind": "bridge", "name": "s1"},))


def test_left_overs_of_earlier_runs_are_named() -> None:
    from mozart.agents.netns import start_tick

    left = found(Described(runs=[recorded(1, -5)]))["earlier runs"]
    assert (left.state, left.cure) == (MISSING, "mozart clean") and "x (1 things)" in left.found
    alive = found(Described(runs=[recorded(os.getpid(), start_tick(os.getpid()))]))["earlier runs"]
    assert alive.state == NOTE and "runs/1" in alive.found


def test_a_strange_record_is_named() -> None:
    class Strange(Described):
        def runs(self) -> list[Recorded]:
            raise LiveError("/run/mozart/x/record.jsonl: not the record of a run")

    assert "record.jsonl" in found(Strange())["earlier runs"].found


def test_this_machine_is_examined_and_left_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    def probes() -> list[str]:
        return [path.name for path in Path("/sys/class/net").iterdir() if path.name in ("v0", "v1")]

    before = probes()
    status = main(["doctor", "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert answer["ready"] == (status == 0)
    findings = {each["name"]: each for each in answer["findings"]}
    assert findings["root"]["state"] == (OK if os.geteuid() == 0 else MISSING)
    assert all(each["cure"] for each in findings.values() if each["state"] == MISSING)
    assert probes() == before


def test_the_table_ends_with_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "Machine", lambda: Described(programs=["mosquitto", "tcpreplay"]))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert out.endswith("missing: mosquitto, tcpreplay\n")
    monkeypatch.setattr(doctor, "Machine", Described)
    assert main(["doctor"]) == 0
    assert "a live run can start" in capsys.readouterr().out
