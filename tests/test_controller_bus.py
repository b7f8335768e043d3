"""What arrives at the controller: checked, kept before it is acknowledged, and never the end of its connection."""

from __future__ import annotations

import errno
import importlib.util
import json
import logging
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from mozart.bus import topics
from mozart.bus.access import BrokerAccess
from mozart.bus.messages import pack
from mozart.bus.reports import read_report
from mozart.controller import requests
from mozart.controller.report_files import ReportFiles
from mozart.errors import BusError, SpecError

HEADER: dict[str, Any] = {
    "version": 1, "device": "s1", "revision": 1, "epoch": 3, "sequence": 7, "start_ns": 0, "end_ns": 10, "final": False,
    "gaps": [[1, 2]], "taken": [[1, 5]], "faults": [], "counters": {"packets": 5}, "cpu_s": 0.5, "memory_bytes": 9,
    "tasks": {"t": {"monitor": {"counters": {"moves": 1}, "probability": 0.5, "cpu_percent": 0.0}}},
}  # fmt: skip
COLUMNS = {"t/monitor/flow": np.arange(3), "t/monitor/measured/x": np.zeros(3)}


def test_a_report_is_read_and_written(tmp_path: Path) -> None:
    header, columns = read_report(pack(HEADER, COLUMNS))
    assert header["gaps"] == ((1, 2),) and set(columns) == set(COLUMNS)
    files = ReportFiles(tmp_path, ["s1"])
    path = files.take(topics.report("s1"), pack(HEADER, COLUMNS))
    assert path == tmp_path / "s1" / "3-7.npz" and path.read_bytes() == pack(HEADER, COLUMNS)


@pytest.mark.parametrize(
    ("changes", "columns", "why"),
    [
        ({"version": 2}, COLUMNS, "version"), ({"device": "s2"}, COLUMNS, "a report of 's2'"),
        ({"device": "../s1"}, COLUMNS, "device: must be"), ({"epoch": -1}, COLUMNS, "epoch: must be"),
        ({"epoch": True}, COLUMNS, "epoch: must be"), ({"epoch": "../../x"}, COLUMNS, "epoch: must be"),
        ({"sequence": 1.5}, COLUMNS, "sequence: must be"), ({"colour": 1}, COLUMNS, "colour: unknown key"),
        ({"gaps": [[1]]}, COLUMNS, "gaps: each must have two times"), ({"gaps": [["a", "b"]]}, COLUMNS, "gaps"),
        ({"counters": {"packets": -1}}, COLUMNS, "counters.packets"), ({"counters": []}, COLUMNS, "counters: must be"),
        ({"tasks": {"a/b": {}}}, COLUMNS, "tasks"), ({"tasks": {}}, COLUMNS, "no module for the column"),
        ({"cpu_s": None}, COLUMNS, "cpu_s: must be"), ({"final": 1}, COLUMNS, "final: must be true or false"),
        ({}, {**COLUMNS, "t/monitor/bytes": np.zeros(2)}, "not as long as the others"),
        ({}, {"t/selector/flow": np.zeros(2)}, "no module for the column"), ({}, {"flow": np.zeros(2)}, "no module"),
    ],
)  # fmt: skip
def test_what_is_no_report_is_refused_and_not_written(
    tmp_path: Path, changes: dict[str, Any], columns: dict[str, Any], why: str
) -> None:
    with pytest.raises(BusError, match=why):
        ReportFiles(tmp_path, ["s1"]).take(topics.report("s1"), pack({**HEADER, **changes}, columns))
    assert list(tmp_path.rglob("*.npz")) == []


def request(**message: Any) -> dict[str, Any]:
    return requests.read(json.dumps({"version": 1, "id": "x", **message}).encode())


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b'{"id": []}', b'{"id": {"a": 1}}', b"[" * 99_999, b"\xff"])
def test_what_has_no_id_is_no_request(payload: bytes) -> None:
    with pytest.raises(BusError, match="not a request"):
        requests.read(payload)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({"op": "paint"}, "no operation 'paint'; there are list, add"), ({}, "no operation None"),
        ({"op": ["add"]}, "no operation"), ({"op": "list", "colour": 1}, "colour: unknown key"),
        ({"op": "list", "version": 2}, "version: must be"), ({"op": "add"}, "tasks: is missing"),
        ({"op": "add", "tasks": ["x"]}, r"tasks\[0\]: must be a table"), ({"op": "add", "tasks": {}}, "must be a list"),
        ({"op": "add", "tasks": []}, "of at least one"), ({"op": "add", "tasks": [None]}, r"tasks\[0\]"),
        ({"op": "remove", "tasks": []}, "of at least one"), ({"op": "remove", "tasks": [3]}, "must be a task's name"),
        ({"op": "remove", "tasks": [["a"]]}, "must be a task's name"),
        ({"op": "time", "end_ns": "soon"}, "end_ns: must be a whole number of ns"),
        ({"op": "time", "end_ns": True}, "end_ns: must be a whole number of ns"),
        ({"op": "time", "epoch_start_ns": None}, "epoch_start_ns: must be a whole number of ns"),
        ({"op": "time", "epoch_start_ns": -1}, "epoch_start_ns: must be a whole number of ns"),
        ({"op": "time", "start": 1}, "start: unknown key"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_told_what_is_wrong(message: dict[str, Any], why: str) -> None:
    with pytest.raises(SpecError, match=why):
        requests.changed({"spec": {"tasks": []}}, request(**message))


def test_right_requests() -> None:
    plan = {"spec": {"tasks": [{"name": "a"}]}}
    for op in ("list", "rules"):
        assert requests.changed(plan, request(op=op)) is None
    assert requests.changed(plan, request(op="add", tasks=[{"name": "b"}]))["spec"]["tasks"][1] == {"name": "b"}  # type: ignore[index]
    assert requests.changed(plan, request(op="remove", tasks=["a"])) == {"spec": {"tasks": []}}
    message = request(op="time", end_ns=None, epoch_start_ns=5)
    assert requests.changed(plan, message) is None and requests.times_of(message) == {
        "end_ns": None,
        "epoch_start_ns": 5,
    }


def test_a_part_of_a_report_that_did_not_fit_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    files = ReportFiles(tmp_path, ["s1"])
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left") as found:
            files.take(topics.report("s1"), pack(HEADER, COLUMNS))
    assert found.value.filename == str(tmp_path / "s1" / "3-7.npz")
    assert list((tmp_path / "s1").iterdir()) == [] and files.written == 0


needs_ryu = pytest.mark.skipif(importlib.util.find_spec("ryu") is None, reason="Ryu is not installed")


class Message:
    """A message as paho hands it over."""

    qos = 1

    def __init__(self, mid: int, topic: str, payload: bytes) -> None:
        self.mid, self.topic, self.payload = mid, topic, payload


class Link:
    """The controller's link without a broker: what it acknowledges, and what it complains of."""

    def __init__(self, handler: Any) -> None:
        from mozart.controller.bus_link import BusLink

        self.complaints: list[tuple[str, str]] = []
        access = BrokerAccess("127.0.0.1", 1, {"controller": "x"})
        self.link = BusLink(
            access, "controller", {"mozart/report/+": handler}, ("mozart/status/controller", b"lost"),
            logging.getLogger("test"), lambda *complaint: self.complaints.append(complaint),
        )  # fmt: skip
        self.client = cast(Any, self.link._client)
        self.acknowledged: list[int] = []
        self.client.ack = lambda mid, qos: self.acknowledged.append(mid)

    def hear(self, *mids: int, payload: bytes = b"x" * 100) -> None:
        for mid in mids:
            self.client.on_message(self.client, None, Message(mid, "mozart/report/s1", payload))

    def retry(self) -> None:
        self.link._retry_at = 0.0
        self.link._retry()


@needs_ryu
def test_a_full_disk_leaves_reports_unacknowledged_until_they_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from mozart.controller import bus_link

    kept, room = [], False

    def handler(topic: str, payload: bytes) -> None:
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device", "/run/reports/s1")
        kept.append(payload)

    monkeypatch.setattr(bus_link, "MOST_KEPT_BYTES", 350)
    world = Link(handler)
    again: list[str] = []
    world.client.disconnect = lambda: again.append("again")
    world.hear(1, 2, 3, 4)
    assert world.acknowledged == [] and world.link.postponed == 4 and len(world.link._kept) == 3
    full = ("disk-full", "cannot write /run/reports/s1: No space left on device; trying again")
    assert world.complaints == [full]
    world.retry()
    assert world.acknowledged == [] and len(world.complaints) == 1
    room = True
    world.retry()
    assert world.acknowledged == [1, 2, 3] and len(kept) == 3 and world.complaints == [full, ("disk-full", "")]
    assert again == ["again"]  # so that the broker sends the fourth again
    world.hear(4)
    assert world.acknowledged == [1, 2, 3, 4] and world.link._kept_bytes == 0


@needs_ryu
def test_an_error_of_any_kind_in_a_handler_is_counted_and_the_next_message_heard() -> None:
    def handler(topic: str, payload: bytes) -> None:
        raise {b"a": BusError("no use"), b"b": ZeroDivisionError(), b"c": KeyError("x")}[payload]

    world = Link(handler)
    for mid, payload in enumerate((b"a", b"b", b"c")):
        world.hear(mid, payload=payload)
    assert world.acknowledged == [0, 1, 2] and (world.link.malformed, world.link.handler_errors) == (1, 2)


@needs_ryu
def test_what_the_controller_says_waits_in_order_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    from mozart.controller import bus_link

    monkeypatch.setattr(bus_link, "MOST_OPEN", 5)
    monkeypatch.setattr(bus_link, "MOST_OUTGOING", 50)
    world = Link(lambda *_: None)
    link, said = world.link, []

    class Info:
        def __init__(self, mid: int, rc: int = 0) -> None:
            self.mid, self.rc = mid, rc

    full = True

    def publish(topic: str, payload: bytes, qos: int, retain: bool) -> Info:
        if full:
            return Info(0, 15)  # MQTT_ERR_QUEUE_SIZE
        said.append(int(payload))
        return Info(len(said))

    world.client.publish = publish
    link.connected = True
    for number in range(60):
        link.publish("mozart/reply/operator", b"%d" % number)
    assert said == [] and link.lost == 10 and len(world.complaints) == 1
    full = False
    link.publish("mozart/config/s1", b"100", retain=True)
    assert said == [0, 1, 2, 3, 4]
    for mid in range(1, 60):
        world.client.on_publish(world.client, None, mid, None, None)
    assert said == [*range(50), 100]
