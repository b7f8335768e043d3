"""The writer of reports on a disk that is full: nothing ends, what can be kept is kept, and what is lost is counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mozart.bus.access import BrokerAccess
from mozart.bus.messages import unpack
from mozart.bus.spool import Spool
from mozart.tests.agent_worlds import needs_root, run, until

pytest.importorskip("paho.mqtt", reason="paho-mqtt is not installed (scripts/setup live)")
from mozart.agents import report_writer
from mozart.agents.bus_link import BusLink
from mozart.agents.report_writer import ReportWriter
from mozart.bus import topics
from mozart.bus.client import BusClient

broker_module = pytest.importorskip("mozart.live.broker")
needs_mosquitto = pytest.mark.skipif(broker_module.mosquitto() is None, reason="mosquitto is not installed")
NOBODY = BrokerAccess("127.0.0.1", 1, {"h1": "x"})


@contextmanager
def small_disk(folder: Path, size: str = "64k") -> Iterator[Path]:
    """A disk of its own, which is soon full."""
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder))
    try:
        yield folder
    finally:
        run("umount", "-l", str(folder))


def fill(disk: Path) -> Path:
    """Take all room on a disk."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


def header(sequence: int) -> dict[str, Any]:
    return {"device": "h1", "epoch": sequence, "sequence": sequence, "end_ns": sequence}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_writer, "RETRY_S", 0.02)


@needs_root
def test_reports_wait_for_room_on_a_full_disk_and_none_is_lost(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        link = BusLink("h1", BrokerAccess("127.0.0.1", 1, {"h1": "x"}, str(disk)), lambda: None)
        link._writer.start()
        link.report(header(0), {"x": np.arange(4)})
        until(lambda: link._spool.numbers() == [0], "the first report to be on disk")
        ballast = fill(disk)
        for sequence in (1, 2, 3):
            link.report(header(sequence), {"x": np.random.default_rng(sequence).random(500)})
        until(lambda: link.losses()["disk_faults"] > 3, "the disk to be tried again")
        (fault,) = link.faults()
        assert str(disk) in fault and "No space left on device" in fault
        assert link.last_report() == (3, 3) and link._writer._thread.is_alive()
        ballast.unlink()
        until(lambda: len(link._spool.numbers()) == 4, "all reports to be on disk")
        until(lambda: link.faults() == [], "the fault to be over")
        assert [unpack(payload)[0]["sequence"] for _, _, payload in link._spool] == [0, 1, 2, 3]
        until(lambda: json.loads((disk / "h1.last.json").read_text())["sequence"] == 3, "the last number")
        assert link.losses()["reports_lost"] == 0
        link.close(0.0)


@needs_root
@needs_mosquitto
def test_on_a_full_disk_reports_go_out_from_memory(tmp_path: Path) -> None:
    broker = broker_module.Broker(tmp_path / "broker", ["h1"], lambda *_, **__: None)
    broker.start()
    heard: list[bytes] = []
    controller = BusClient(
        topics.CONTROLLER, broker.access, handlers={topics.report("+"): lambda _, p: heard.append(p)}
    )
    try:
        with small_disk(tmp_path / "disk") as disk:
            access = BrokerAccess("127.0.0.1", broker.port, broker.passwords, str(disk))
            link = BusLink("h1", access, lambda: None)
            ballast = fill(disk)
            link.start()
            until(lambda: link.client.connected, "the agent's connection")
            for sequence in range(3):
                link.report(header(sequence), {"x": np.random.default_rng(sequence).random(500)})
            until(lambda: link.losses()["disk_faults"] > 3, "the disk to be tried again")
            assert heard == []
            controller.start()  # until then nobody has subscribed, and the broker keeps nothing
            until(lambda: len({unpack(each)[0]["sequence"] for each in heard}) == 3, "the reports")
            assert link._spool.numbers() == [] and link.losses()["reports_lost"] == 0
            ballast.unlink()
            link.close(1.0)
    finally:
        controller.close()
        broker.stop()


class FullSpool(Spool):
    """A spool on a disk that takes nothing."""

    def put(self, topic: str, payload: bytes) -> int:
        raise OSError(28, "No space left on device", str(self.folder))


def test_reports_that_wait_have_a_bound_and_the_oldest_are_lost_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_writer, "MOST_BYTES", 100_000)
    client = BusClient("h1", NOBODY, spool=FullSpool(tmp_path / "spool"))
    writer = ReportWriter("h1", client, tmp_path / "h1.last.json")
    for sequence in range(10):
        writer.put(header(sequence), {"x": np.zeros(2000)})
    assert writer.lost == 6 and [h["sequence"] for _, (h, _) in writer._reports] == [6, 7, 8, 9]
    writer.start()
    until(lambda: writer.disk_errors > 2, "the disk to be tried again")
    writer.close()  # ends, although the disk takes nothing
    assert writer.lost == 10 and not writer._thread.is_alive()
    client.close()


def test_a_report_that_cannot_be_packed_costs_itself_alone(tmp_path: Path) -> None:
    client = BusClient("h1", NOBODY, spool=Spool(tmp_path / "spool"))
    writer = ReportWriter("h1", client, tmp_path / "h1.last.json")
    writer.put({**header(0), "wrong": object()}, {})
    writer.put(header(1), {})
    writer.start()
    until(lambda: client.spool is not None and len(client.spool.numbers()) == 1, "the other report")
    writer.close()
    assert writer.lost == 1
    client.close()
