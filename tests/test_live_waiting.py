"""What a live run waits for: until it is there, or in vain; and what its user is told meanwhile."""

from types import SimpleNamespace
from typing import Any

import pytest
from mozart.errors import LiveError
from mozart.live import run as run_module
from mozart.live.run import Options, Run
from mozart.live.waiting import until
from mozart.replay.vocabulary import load

TASK = {
    "name": "a",
    "selector": {"event": "loss", "at": "source-host"},
    "monitor": {"measure": "volume", "at": "path-switches"},
}


@pytest.fixture
def run(tmp_path):
    spec = load({"topology": {"name": "line"}, "traffic": {"synthetic": "caida-like"}, "tasks": [TASK]})
    said: list[str] = []
    made: Any = Run(spec, Options(patience_s=9.0), tmp_path, said.append)
    made.said, made.record = said, SimpleNamespace(phase=lambda what: None)
    part = SimpleNamespace(check=lambda: None)
    made.broker, made.controller = SimpleNamespace(process=part), part
    return made


def turns(number):
    """Return a condition that becomes true at its n-th turn."""
    left = iter([False] * (number - 1) + [True])
    return lambda: next(left)


def test_who_waits_long_is_told_once_what_for_and_for_how_long(run, monkeypatch):
    monkeypatch.setattr(run_module, "SLOW_S", 0.0)
    run.wait(turns(4), "the controller")
    assert run.said == ["waiting for the controller, 9 s at most"]


def test_what_comes_at_once_is_not_spoken_of(run):
    run.wait(turns(2), "the controller")
    assert run.said == []


def test_a_part_that_ends_ends_the_wait(run):
    def ended():
        raise LiveError("mosquitto ended with status 1")

    run.controller.check = ended
    with pytest.raises(LiveError, match="mosquitto ended"):
        run.wait(lambda: False, "the controller")


def test_ctrl_c_ends_the_wait(run):
    run.stop.set()
    with pytest.raises(KeyboardInterrupt):
        run.wait(lambda: False, "the controller")


def test_what_does_not_come_is_named():
    with pytest.raises(LiveError, match=r"waited 0\.05 s for rain, in vain"):
        until(lambda: False, "rain", 0.05)


def test_a_controller_that_answers_no_more_costs_its_answer_and_not_the_run(run):
    def ask(operation, **more):
        raise LiveError(f"the controller has not answered {operation!r} within 60 s")

    run.operator, run.devices = SimpleNamespace(ask=ask), ["s1", "h1"]
    run.finish()
    said = "no last report of s1, h1 (the controller has not answered 'time' within 60 s)"
    assert [(each.kind, each.text) for each in run.faults] == [("no-report", said)] and run.gave_up
    assert run.rules == {}


def test_reports_are_read_once_however_long_the_last_one_takes(run, monkeypatch):
    read: list[str] = []

    def is_final(path):
        read.append(path.name)
        return path.name == "1-1.npz"

    monkeypatch.setattr(run_module, "_is_final", is_final)
    run.devices = ["s1", "h1"]
    for device in run.devices:
        (run.folder / "reports" / device).mkdir(parents=True)
        (run.folder / "reports" / device / "0-0.npz").touch()
    assert run.unreported() == run.unreported() == ["s1", "h1"]
    (run.folder / "reports" / "h1" / "1-1.npz").touch()
    assert run.unreported() == ["s1"]
    assert sorted(read) == ["0-0.npz", "0-0.npz", "1-1.npz"]


def test_a_run_goes_on_when_the_controller_has_told_all_switches_their_rules(run):
    switches = run.topology.switches
    run.operator = SimpleNamespace(status={"controller": {"missing": [], "rules": dict.fromkeys(switches, 9)}})
    run._wait_for_switches()


def test_switches_that_do_not_connect_are_named(run):
    run.options = Options(patience_s=0.1)
    run.operator = SimpleNamespace(status={"controller": {"missing": ["s2", "s3"], "rules": {"s1": 9}}})
    with pytest.raises(LiveError, match=r"^not connected to the controller after 0.1 s: s2, s3$"):
        run._wait_for_switches()


def test_a_controller_that_ended_is_the_reason_and_not_the_switches_that_wait_for_it(run):
    def check():
        raise LiveError("controller ended with status 1")

    run.controller = SimpleNamespace(check=check)
    run.operator = SimpleNamespace(status={"controller": {"missing": ["s2"], "rules": {}}})
    with pytest.raises(LiveError, match="controller ended"):
        run._wait_for_switches()
