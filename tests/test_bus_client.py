"""What a connection to the bus does with messages that have no way out yet: they wait, within bounds."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from mozart.bus.access import BrokerAccess
from mozart.bus.spool import Spool
from mozart.tests.agent_worlds import until

pytest.importorskip("paho.mqtt", reason="paho-mqtt is not installed (scripts/setup live)")
from mozart.bus import client as client_module
from mozart.bus.client import BusClient

ACCESS = BrokerAccess("127.0.0.1", 1, {"s1": "x"})


def test_of_more_messages_than_paho_has_numbers_none_is_lost() -> None:
    client = BusClient("s1", ACCESS)
    for number in range(70_000):
        client.publish("t", b"%d" % number)
    kept = len(client._client._out_messages) + len(client._backlog)
    assert kept == 70_000 and client.lost == 0
    assert len(client._in_flight) == len(client._client._out_messages) == client_module.MOST_OPEN


def test_what_there_is_no_room_for_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("MOST_OPEN", 4), ("MOST_WAITING", 6)):
        monkeypatch.setattr(client_module, name, value)
    client = BusClient("s1", ACCESS)
    for _ in range(25):
        client.publish("t", b"x")
    assert client.lost == 15
    monkeypatch.setattr(client_module, "MOST_WAITING", 1000)
    monkeypatch.setattr(client_module, "MOST_WAITING_BYTES", 100)
    client.publish("t", bytes(95))
    assert client.lost == 16


def test_what_needs_no_acknowledgement_is_lost_without_a_connection_and_counted() -> None:
    client = BusClient("s1", ACCESS)
    for _ in range(3):
        client.publish("t", b"x", qos=0)
    assert client.lost == 3 and not client._in_flight


def test_a_number_of_paho_that_is_still_in_use_is_passed_over() -> None:
    client = BusClient("s1", ACCESS)
    for number in range(40):
        client.publish("t", b"%d" % number)
    client._client._last_mid = 0  # as after 65,535 messages, with the first forty still open
    client.publish("t", b"new")
    assert [sent.payload for sent in client._in_flight.values()] == [b"%d" % n for n in range(40)] + [b"new"]
    assert client.lost == 0 and not client._backlog


def test_a_spool_that_is_large_is_not_read_into_memory_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MOST_OPEN_BYTES", 1000)
    spool = Spool(tmp_path)
    for _ in range(20):
        spool.put("t", bytes(400))
    client = BusClient("s1", ACCESS, spool=spool)

    class Reason:
        is_failure, value = False, 0

    client._on_connect(client._client, None, None, Reason(), None)
    seen: list[int] = []
    while client._in_flight:
        mid = next(iter(client._in_flight))
        seen.append(int(client._in_flight[mid].number or 0))
        assert len(client._in_flight) <= 3
        client._client._out_messages.pop(mid)
        client._on_publish(client._client, None, mid, Reason(), None)
    assert seen == list(range(20)) and client.waiting() == 0
    spool.close()


def test_a_disk_that_takes_nothing_is_an_error_and_the_next_message_is_spooled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path)
    client = BusClient("s1", ACCESS, spool=spool)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            client.publish_spooled("t", b"first")
    assert client._writing is None and [path.name for path in tmp_path.iterdir()] == []
    client.publish_spooled("t", b"second")
    assert [payload for _, _, payload in spool] == [b"second"]
    spool.close()


def test_many_who_speak_at_once_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MOST_OPEN", 8)
    client = BusClient("s1", ACCESS)
    done = threading.Event()

    class Reason:
        is_failure, value = False, 0

    def acknowledge() -> None:
        while not done.is_set() or client._in_flight or client._backlog:
            for mid in list(client._in_flight):
                client._client._out_messages.pop(mid, None)
                client._on_publish(client._client, None, mid, Reason(), None)

    acknowledging = threading.Thread(target=acknowledge)
    acknowledging.start()

    def speak() -> None:
        for _ in range(500):
            client.publish("t", b"x")

    speakers = [threading.Thread(target=speak) for _ in range(4)]
    for thread in speakers:
        thread.start()
    for thread in speakers:
        thread.join()
    done.set()
    until(lambda: client.sent == 2000, "all messages to be acknowledged")
    acknowledging.join()
    assert client.lost == 0 and client._open_bytes == client._backlog_bytes == 0
