"""`mozart tasks` against a run that is under way: found by its record, asked over a real broker."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mozart.bus import topics
from mozart.bus.access import write_access
from mozart.bus.client import BusClient
from mozart.cli import main
from mozart.live import record as records_module
from mozart.live.broker import Broker
from mozart.live.record import RUNNING, Record
from mozart.tests.needs import needs

pytestmark = needs("paho", "mosquitto")

TASKS = Path(__file__).resolve().parent.parent / "examples" / "b4-live.yaml"


class Controller:
    """Keeps tasks by name, as the controller does, and answers requests."""

    def __init__(self, broker: Broker) -> None:
        self.tasks: dict[str, dict[str, Any]] = {}
        self.lock = threading.Lock()
        self.client = BusClient("controller", broker.access, handlers={topics.request("+"): self.asked})
        self.client.start()
        self.client.wait_connected(20)

    def asked(self, topic: str, payload: bytes) -> None:
        message = json.loads(payload)
        self.client.publish(
            topics.reply(topics.device_of(topic)), json.dumps({"id": message["id"], **self.answer(message)})
        )

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        if message["op"] == "add":
            self.tasks |= {task["name"]: task for task in message["tasks"]}
        if message["op"] == "remove":
            if not set(message["tasks"]) <= set(self.tasks):
                return {"ok": False, "error": "there is no such task"}
            self.tasks = {name: task for name, task in self.tasks.items() if name not in message["tasks"]}
        listed = [
            {"name": name, "event": task["selector"]["event"], "measure": task["monitor"]["measure"], "runs": True,
             "reason": None, "modules": {"selector h1": "h1", "monitor s1": "s1"}, "channels": ["tag"]}
            for name, task in self.tasks.items()
        ]  # fmt: skip
        return {"ok": True, "revision": 1, "tasks": listed, "moves": []}


@pytest.fixture
def controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Controller]:
    base = tmp_path / "records"
    monkeypatch.setattr(records_module, "records_folder", lambda: base)
    with Record.open(tmp_path / "run") as record:
        record.phase(RUNNING)
        broker = Broker(tmp_path / "run" / "broker", ["h1", "s1"], record)
        broker.start()
        write_access(tmp_path / "run" / "broker" / "access-operator.json", broker.access.only("operator"))
        controller = Controller(broker)
        yield controller
        controller.client.close()
    assert not broker.process.running() and not (tmp_path / "run" / "broker").exists()


def test_tasks_are_listed_added_and_removed(controller: Controller, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "add", str(TASKS), "scanners"]) == 0
    assert list(controller.tasks) == ["scanners"]
    assert "port-scan" in capsys.readouterr().out
    assert main(["tasks", "add", str(TASKS), "lossy-flows", "ecmp-elephants", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["tasks"]) == 3
    assert main(["tasks", "remove", "scanners", "lossy-flows"]) == 0
    assert main(["tasks", "list"]) == 0
    out = capsys.readouterr().out
    assert "ecmp-elephants" in out and "scanners" not in out and "2 on h1, s1" in out


def test_mistakes_are_named(controller: Controller, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["tasks", "add", str(TASKS), "nonsense"]) == 2
    assert "no task nonsense; there are lossy-flows, scanners, ecmp-elephants" in capsys.readouterr().err
    assert main(["tasks", "remove", "nonsense"]) == 1
    assert "the controller refuses 'remove': there is no such task" in capsys.readouterr().err
    assert main(["tasks", "add", str(TASKS)]) == 0
    assert main(["tasks", "add", str(TASKS)]) == 2
    assert "in the network already" in capsys.readouterr().err
    assert main(["tasks", "--run", "yesterday", "list"]) == 1
    assert "no run yesterday is under way" in capsys.readouterr().err


def test_without_a_run_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(records_module, "records_folder", lambda: tmp_path)
    assert main(["tasks", "list"]) == 1
    assert "no run of mozart is under way" in capsys.readouterr().err


def test_a_run_that_starts_or_ends_says_what_it_is_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(records_module, "records_folder", lambda: tmp_path / "records")
    with Record.open(tmp_path / "run") as record:
        for phase in ("starting", "starting the network", "waiting for the last reports"):
            if phase != "starting":
                record.phase(phase)
            assert main(["tasks", "list"]) == 0
            assert f"run {record.id} is not ready for questions: {phase} " in capsys.readouterr().out
            assert main(["tasks", "list", "--json"]) == 0
            assert json.loads(capsys.readouterr().out) == {"run": record.id, "phase": phase, "tasks": []}
            assert main(["tasks", "remove", "scanners"]) == main(["tasks", "add", str(TASKS)]) == 1
            assert phase in capsys.readouterr().err
