"""How a live run ends: what a signal in its evaluation leaves, what is asked meanwhile, and what a killed run takes."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from mozart.errors import LiveError
from mozart.live import run as run_module
from mozart.live.evaluate import Evaluation
from mozart.live.record import MARK, Record, recorded_runs
from mozart.live.report import LiveResult
from mozart.live.run import Options, Run, evaluate
from mozart.live.things import start_tick
from mozart.live.waiting import until
from mozart.replay.vocabulary import load

TASK = {
    "name": "a",
    "selector": {"event": "loss", "at": "source-host"},
    "monitor": {"measure": "volume", "at": "path-switches"},
}


@pytest.fixture(autouse=True)
def usual():
    """Let Ctrl-C interrupt, also where these tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def run(tmp_path):
    spec = load({"topology": {"name": "line"}, "traffic": {"synthetic": "caida-like"}, "tasks": [TASK]})
    made: Any = Run(spec, Options(), tmp_path, lambda text: None)
    made.record = SimpleNamespace(phase=lambda what: None, problems=[])
    return made


class Evaluates:
    """Evaluates until so many signals have come."""

    signals = 1

    def __init__(self, plan, folder):
        pass

    def evaluate(self):
        for _ in range(self.signals):
            os.kill(os.getpid(), signal.SIGINT)
        return Evaluation(rows=[{"task": "a"}], packets={"sent": 1, "delivered": 1})

    def replayed(self, late=False, stop=None):
        raise AssertionError("a replay that nobody waits for")


@pytest.mark.parametrize(("signals", "rows"), [(1, [{"task": "a"}]), (2, [])])
def test_ctrl_c_in_the_evaluation_keeps_what_was_measured(run, monkeypatch, signals, rows):
    monkeypatch.setattr(Evaluates, "signals", signals)
    monkeypatch.setattr(run_module, "Evaluator", Evaluates)
    result = LiveResult(run.topology, Evaluation())
    evaluate(run, run, result)
    assert (result.evaluation.rows, result.replayed, result.status) == (rows, None, 130)
    (fault,) = run.faults
    assert (fault.kind, f"lies in {run.folder}" in fault.text) == ("stopped", True)


def test_what_cannot_be_evaluated_is_said_and_the_rest_is_kept(run, monkeypatch):
    def full(self, late=False, stop=None):
        raise OSError(28, "No space left on device", "run/sent.pcap")

    monkeypatch.setattr(Evaluates, "signals", 0)
    monkeypatch.setattr(Evaluates, "replayed", full)
    monkeypatch.setattr(run_module, "Evaluator", Evaluates)
    result = LiveResult(run.topology, Evaluation())
    evaluate(run, run, result)
    assert result.evaluation.rows == [{"task": "a"}] and result.gave_up
    assert run.faults[0].text == "not all could be evaluated: run/sent.pcap: No space left on device (ENOSPC)"


def test_the_record_of_a_run_stays_while_it_evaluates(tmp_path):
    record = Record.open(tmp_path / "run", tmp_path / "records")
    (tmp_path / "made").touch()
    record("file", str(tmp_path / "there"))
    (tmp_path / "there").touch()
    record.undo()
    record.phase("evaluating what the devices saw")
    (found,) = recorded_runs(tmp_path / "records")
    assert (found.phase, found.running) == ("evaluating what the devices saw", True)
    assert not (tmp_path / "there").exists() and record.undone
    record.close()
    record.close()
    assert recorded_runs(tmp_path / "records") == [] and MARK not in os.environ


OWNER = """
import subprocess, sys
from pathlib import Path
from mozart.live.guard import Guard
from mozart.live.record import Record
record = Record.open(Path(sys.argv[1]) / "run", Path(sys.argv[1]) / "records")
part = subprocess.Popen(["sleep", "600"], start_new_session=True)
with Guard(record.id, Path(sys.argv[1]) / "guard.log"):
    print(part.pid, flush=True)
    sys.stdin.read()
print("done", flush=True)
"""


@pytest.mark.parametrize("killed", [True, False])
def test_the_processes_of_a_run_that_is_killed_end_and_of_one_that_ends_do_not(tmp_path, killed):
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None and owner.stdin is not None
        part = int(owner.stdout.readline())
        if killed:
            owner.kill()
            until(lambda: not runs(part), "the part to end", 30.0)
            until((tmp_path / "guard.log").exists, "its word", 30.0)
            assert "is gone; ending sleep" in (tmp_path / "guard.log").read_text()
        else:
            owner.stdin.close()
            assert owner.stdout.readline() == "done\n"
            assert runs(part) and not (tmp_path / "guard.log").exists()
            os.kill(part, signal.SIGKILL)


def runs(pid):
    return start_tick(pid) is not None


def test_a_broker_that_is_gone_for_good_ends_a_question(monkeypatch):
    from mozart.live import operator as module

    monkeypatch.setattr(module, "LOOK_S", 0.01)
    monkeypatch.setattr(module, "LOST_S", 0.05)
    asking: Any = module.Operator.__new__(module.Operator)
    bus = SimpleNamespace(connected=False, publish=lambda *_, **__: None)
    asking.__dict__.update(answer_s=60.0, status={}, _answers={}, _numbers=iter([1]), _mine="x", _lost_s=None, _bus=bus)
    asking._answered = module.threading.Condition()
    with pytest.raises(LiveError, match="its broker is gone, without an answer to 'list'"):
        asking.ask("list")
