"""The agent's process on a real broker: configured, stopped in order, killed and started again."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from mozart.agents.warm_up import warm_up
from mozart.bus import topics
from mozart.bus.access import BrokerAccess, write_access
from mozart.bus.config import DeviceConfig
from mozart.bus.messages import unpack
from mozart.tests.agent_worlds import (
    ALL_PAIRS,
    Side,
    configuration,
    monitor,
    needs_nft,
    needs_root,
    selector,
    tcp,
    until,
    veth_pair,
)  # fmt: skip
from mozart.tests.needs import need, needs

need("paho")
broker_module = pytest.importorskip("mozart.live.broker")
from mozart.bus.client import BusClient  # noqa: E402

pytestmark = [
    needs_root,
    needs_nft,
    needs("mosquitto"),
]
S = 10**9
START_S = 60.0


class Desk:
    """What a controller would do: configures an agent, and hears what it says."""

    def __init__(self, folder: Path, broker: Any, sides: tuple[Side, Side]) -> None:
        self.folder, self.broker, (self.a, self.b) = folder, broker, sides
        self.reports: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.states: dict[str, list[dict[str, Any]]] = {"h1": [], "h2": []}
        self.stats: list[dict[str, Any]] = []
        handlers: dict[str, Callable[[str, bytes], None]] = {
            topics.report("+"): lambda _, payload: self.reports.append(unpack(payload)),
            topics.status("+"): self._on_status,
            topics.stats("+"): lambda _, payload: self.stats.append(json.loads(payload)),
        }
        self.client = BusClient(topics.CONTROLLER, broker.access, handlers=handlers)
        self.client.start()
        self.client.wait_connected(20)
        self.processes: list[subprocess.Popen[str]] = []
        devices = [
            {"device": device, "kind": "host", "interface": side.interface, "netns_pid": side.pid}
            for device, side in zip(("h1", "h2"), sides, strict=True)
        ]
        (folder / "devices.json").write_text(json.dumps(devices))
        access = dataclasses.replace(broker.access.only("h1", "h2"), spool=str(folder / "spool"))
        write_access(folder / "agent.json", access)

    def _on_status(self, topic: str, payload: bytes) -> None:
        self.states[topics.device_of(topic)].append(json.loads(payload))

    def configure(self, config: DeviceConfig) -> None:
        self.client.publish(topics.config(config.device), config.to_json(), retain=True, wait_s=10)

    def start_agent(self) -> subprocess.Popen[str]:
        known = {device: len(states) for device, states in self.states.items()}
        command = [sys.executable, "-m", "mozart.agents.agent", "--devices", "devices.json", "--broker", "agent.json"]
        process = subprocess.Popen(command, cwd=self.folder, stderr=subprocess.PIPE, text=True)
        self.processes.append(process)

        def runs() -> bool:
            assert process.poll() is None, process.stderr and process.stderr.read()
            return all("running" in [s["state"] for s in states[known[d] :]] for d, states in self.states.items())

        until(runs, "the agent to say that it runs", START_S)
        return process

    def reports_of(self, device: str) -> list[dict[str, Any]]:
        """The reports by number; one may come twice, when a broker or an agent was away."""
        found = {header["sequence"]: header for header, _ in self.reports if header["device"] == device}
        return [found[number] for number in sorted(found)]

    def whole_since(self, device: str, time_ns: int) -> bool:
        """Whether a report of an epoch since then is here, and all before it; what waited may come after newer ones."""
        found = self.reports_of(device)
        since = any(header["start_ns"] > time_ns for header in found)
        return since and [header["sequence"] for header in found] == list(range(len(found)))

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()
        self.client.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    warm_up()  # compiled here, so that the processes start at once
    with ExitStack() as undo:
        sides = undo.enter_context(veth_pair())
        broker = broker_module.Broker(tmp_path / "broker", ["h1", "h2"], lambda *_, **__: None)
        broker.start()
        undo.callback(broker.stop)
        made = Desk(tmp_path, broker, sides)
        undo.callback(made.close)
        yield made


def both(**changes: Any) -> list[DeviceConfig]:
    """A sender that selects, tags and tells, and a receiver that records what is tagged."""
    start = configuration(**changes)
    tells = dict.fromkeys(ALL_PAIRS, ("h2",))
    sender = dataclasses.replace(
        start, device="h1", selectors=(selector("lossy"), selector("told", code=None, tags_forward=False, tells=tells))
    )
    receiver = dataclasses.replace(start, device="h2", monitors=(monitor("lossy"), monitor("told", code=None)))
    return [sender, receiver]


def test_two_devices_detect_tag_tell_and_report_until_they_are_stopped(desk: Desk) -> None:
    configs = both()
    for config in configs:
        desk.configure(config)
    process = desk.start_agent()
    sequence = iter(range(10**6))

    def told() -> bool:
        desk.a.send([tcp(flow, 1000 + 10 * (next(sequence) // 24)) for flow in range(12)])  # each segment twice
        return any(s.get("selected", 0) > 6 for s in desk.stats) and any(s["messages_received"] > 6 for s in desk.stats)

    until(told, "selections, and messages about them", 20)
    process.terminate()
    assert process.wait(20) == 0
    until(lambda: len(desk.reports) == 2, "the last reports of both")
    by_device = {header["device"]: (header, columns) for header, columns in desk.reports}
    header, columns = by_device["h1"]
    selected = set(columns["lossy/selector/flow"])
    assert selected == set(columns["told/selector/flow"]) and len(selected) > 3
    assert header["counters"]["tags_installed"] == len(columns["lossy/selector/flow"])
    assert (columns["lossy/selector/installed_ns"] > columns["lossy/selector/time_ns"]).all()
    recorded = by_device["h2"][1]
    for task in ("lossy", "told"):
        assert set(recorded[f"{task}/monitor/flow"]) == selected
    assert [desk.states[d][-1]["state"] for d in ("h1", "h2")] == ["stopped", "stopped"]


def test_an_agent_that_was_killed_comes_back_with_its_configuration_and_names_the_gap(desk: Desk) -> None:
    for config in both(epoch_ns=S // 2):
        desk.configure(config)
    first = desk.start_agent()
    until(lambda: len(desk.reports_of("h1")) >= 2, "two epochs")
    first.kill()
    first.wait()
    until(lambda: desk.states["h1"][-1]["state"] == "lost", "the last will", 40)
    killed = time.time_ns()
    desk.start_agent()
    until(lambda: desk.whole_since("h1", killed), "a report of the new agent, and all of the old one")
    found = desk.reports_of("h1")
    first_new = next(i for i, header in enumerate(found) if header["end_ns"] > killed)
    before, after = found[:first_new], found[first_new:]
    assert all(not header["gaps"] for header in before[1:])
    (gap,) = after[0]["gaps"]
    last = before[-1]["end_ns"]
    assert gap[0] == last and last < gap[1] <= after[0]["end_ns"]


def test_reports_wait_for_a_broker_that_is_away_and_nonsense_is_counted(desk: Desk) -> None:
    for config in both(epoch_ns=S // 2):
        desk.configure(config)
    desk.start_agent()
    until(lambda: len(desk.reports_of("h2")) >= 1, "an epoch")
    assert desk.broker.process is not None
    desk.broker.kill()
    end = time.time_ns() + 2 * S
    until(lambda: time.time_ns() > end, "some epochs without a broker")
    desk.broker.restart()
    until(lambda: desk.whole_since("h2", end), "the epochs since, and none missing", 40)
    desk.client.publish(topics.config("h2"), b"{nonsense", wait_s=10)
    until(lambda: any(h["counters"]["messages_malformed"] for h in desk.reports_of("h2")), "the nonsense to be counted")
    assert any("no JSON" in state.get("refused", "") for state in desk.states["h2"])
    assert desk.processes[0].poll() is None


def test_what_keeps_an_agent_from_starting_is_said(tmp_path: Path) -> None:
    devices, broker = tmp_path / "devices.json", tmp_path / "broker.json"
    write_access(broker, BrokerAccess("127.0.0.1", 1, {"h1": "x"}, str(tmp_path / "spool")))
    command = [sys.executable, "-m", "mozart.agents.agent", "--devices", str(devices), "--broker", str(broker)]
    for text, what in (
        ("", "cannot be read"),
        ('[{"device": "h1", "kind": "host", "interface": "nosuch0"}]', "no capture ring on nosuch0"),
        ('[{"device": "h2", "kind": "host", "interface": "lo"}]', "no password of h2"),
    ):
        if text:
            devices.write_text(text)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and what in done.stderr and "Traceback" not in done.stderr, done.stderr
