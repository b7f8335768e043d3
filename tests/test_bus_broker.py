"""The bus over a real mosquitto: who may say what, and what survives a broker that is killed."""

import json
import resource
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mozart.bus import client as client_module
from mozart.bus import topics
from mozart.bus.access import BrokerAccess
from mozart.bus.client import BusClient
from mozart.bus.spool import Spool
from mozart.errors import BusError, LiveError
from mozart.live import broker as broker_module
from mozart.live.broker import Broker
from mozart.live.operator import Operator
from mozart.live.ports import free_port, holder
from mozart.live.waiting import until
from mozart.tests.needs import needs

pytestmark = needs("paho", "mosquitto")

DEADLINE_S = 20.0


class Heard:
    """A handler that keeps what it gets."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []

    def __call__(self, topic: str, payload: bytes) -> None:
        self.messages.append((topic, payload))

    def on(self, topic: str) -> list[bytes]:
        return [payload for each, payload in self.messages if each == topic]


def record(kind: str, name: str, **more: object) -> None:
    """Tests end what they start themselves."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path / "broker", ["s1", "s2", "h1"], record)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def connect(broker: Broker) -> Iterator[Callable[..., BusClient]]:
    made: list[BusClient] = []

    def connected(user: str, **more: Any) -> BusClient:
        client = BusClient(user, more.pop("access", broker.access), **more)
        made.append(client)
        client.start()
        client.wait_connected(DEADLINE_S)
        return client

    yield connected
    for client in made:
        client.close()


def soon(condition: Callable[[], object], what: str) -> None:
    until(condition, what, DEADLINE_S)


def test_each_hears_what_is_meant_for_it(connect: Callable[..., BusClient]) -> None:
    heard = {user: Heard() for user in ("controller", "s1", "s2")}
    controller = connect("controller", handlers={topics.report("+"): heard["controller"]})
    one = connect("s1", handlers={topics.config("s1"): heard["s1"], topics.select("s1", "+"): heard["s1"]})
    two = connect("s2", handlers={topics.config("s2"): heard["s2"], topics.select("s2", "+"): heard["s2"]})
    controller.publish(topics.config("s1"), "yours", retain=True, wait_s=DEADLINE_S)
    two.publish(topics.select("s1", "s2"), b"a flow", wait_s=DEADLINE_S)
    one.publish(topics.report("s1"), b"\x00\xff", wait_s=DEADLINE_S)
    soon(lambda: len(heard["s1"].messages) == 2 and heard["controller"].messages, "the messages")
    assert heard["s1"].on(topics.config("s1")) == [b"yours"]
    assert heard["s1"].on(topics.select("s1", "s2")) == [b"a flow"]
    assert heard["controller"].messages == [(topics.report("s1"), b"\x00\xff")]
    assert not heard["s2"].messages
    assert (one.sent, one.received, one.malformed, one.connections) == (1, 2, 0, 1)


def test_an_agent_says_nothing_as_another_and_hears_nothing_for_another(connect: Callable[..., BusClient]) -> None:
    heard, overheard = Heard(), Heard()
    controller = connect("controller", handlers={"mozart/report/+": heard, "mozart/status/+": heard})
    spy = connect("s2", handlers={"mozart/#": overheard})
    for topic in (topics.report("s1"), topics.status("s1"), topics.select("h1", "s1"), topics.config("s2"), "other"):
        with pytest.raises(BusError, match=f"s2 says on {topic}: Not authorized"):
            spy.publish(topic, b"lie", wait_s=DEADLINE_S)
    assert len(spy.denied) == 5
    controller.publish(topics.config("s1"), b"secret", retain=True, wait_s=DEADLINE_S)
    controller.publish(topics.config("s2"), b"own", retain=True, wait_s=DEADLINE_S)
    spy.publish(topics.report("s2"), b"truth", wait_s=DEADLINE_S)
    soon(lambda: heard.messages and overheard.messages, "what is allowed")
    assert heard.messages == [(topics.report("s2"), b"truth")]
    assert set(overheard.messages) == {(topics.config("s2"), b"own")}


def test_a_refused_spooled_message_stays_in_the_spool(connect: Callable[..., BusClient], tmp_path: Path) -> None:
    client = connect("s2", spool=Spool(tmp_path / "spool"))
    client.publish_spooled(topics.report("s1"), b"lie")
    soon(lambda: client.denied, "the refusal")
    client.publish(topics.report("s2"), b"truth", wait_s=DEADLINE_S)
    assert client.waiting() == 1
    assert client.denied == ["message of s2 on mozart/report/s1: Not authorized"]


def test_a_wrong_password_is_refused_and_named(broker: Broker) -> None:
    client = BusClient("s1", BrokerAccess("127.0.0.1", broker.port, {"s1": "guess"}))
    client.start()
    with pytest.raises(BusError, match=f"127.0.0.1:{broker.port} does not take s1: login refused, "):
        client.wait_connected(DEADLINE_S)
    assert client.denied and not client.connected
    client.close()


def test_nobody_gets_in_without_a_name(broker: Broker) -> None:
    from paho.mqtt.client import CallbackAPIVersion, Client

    answers: list[str] = []
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda client, data, flags, reason, properties: answers.append(str(reason))
    client.connect_async("127.0.0.1", broker.port)
    client.loop_start()
    soon(lambda: answers, "the broker's answer")
    client.loop_stop()
    assert answers[0] == "Not authorized"


def test_no_broker_is_an_error_that_says_so() -> None:
    client = BusClient("s1", BrokerAccess("127.0.0.1", free_port(), {"s1": "x"}))
    client.start()
    with pytest.raises(BusError, match="no answer"):
        client.wait_connected(0.3)
    client.close()


def test_last_will_speaks_for_who_vanishes_but_not_for_who_leaves(
    broker: Broker, connect: Callable[..., BusClient]
) -> None:
    heard = Heard()
    connect("controller", handlers={topics.status("+"): heard})
    vanishing = connect("s1", will=(topics.status("s1"), b"lost"))
    leaving = connect("s2", will=(topics.status("s2"), b"lost"))
    leaving.publish(topics.status("s2"), b"stopped", retain=True, wait_s=DEADLINE_S)
    leaving.close()
    vanishing._client.socket().close()  # type: ignore[union-attr]
    soon(lambda: heard.on(topics.status("s1")), "the last will")
    assert heard.on(topics.status("s1"))[0] == b"lost"
    assert heard.on(topics.status("s2")) == [b"stopped"]


def test_handlers_that_fail_are_counted_and_the_connection_lives(
    connect: Callable[..., BusClient], caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard()

    seen: list[bytes] = []

    def heard_so_many(messages: int) -> bool:
        return len(seen) == messages

    def handler(topic: str, payload: bytes) -> None:
        seen.append(payload)
        if payload == b"malformed":
            raise BusError("malformed")
        if payload == b"bug":
            raise IndexError("a mistake of ours")
        heard(topic, payload)

    controller = connect("controller")
    agent = connect("s1", handlers={topics.config("s1"): handler})
    for number, payload in enumerate((b"malformed", b"bug", b"good"), 1):
        controller.publish(topics.config("s1"), payload, retain=True)
        soon(partial(heard_so_many, number), "the message")
    assert heard.on(topics.config("s1")) == [b"good"]
    assert (agent.received, agent.malformed, agent.handler_errors) == (3, 1, 1)
    assert "a mistake of ours" in caplog.text


def test_what_is_said_to_one_who_is_away_waits_also_across_a_restart_of_the_broker(
    broker: Broker, connect: Callable[..., BusClient]
) -> None:
    connect("controller", handlers={topics.report("+"): Heard()}).close()
    agent = connect("s1")
    agent.publish(topics.report("s1"), b"while you were away", wait_s=DEADLINE_S)
    agent.publish(topics.status("s1"), b"running", retain=True, wait_s=DEADLINE_S)
    broker.restart()
    heard = Heard()
    connect("controller", handlers={topics.report("+"): heard, topics.status("+"): heard})
    soon(lambda: len(heard.messages) == 2, "the messages")
    assert heard.on(topics.report("s1")) == [b"while you were away"]
    assert heard.on(topics.status("s1")) == [b"running"]


def send_numbered(agent: BusClient, numbers: range) -> None:
    for number in numbers:
        agent.publish_spooled(topics.report("s1"), b"%d" % number)


def saved_s(broker: Broker) -> float:
    """When the broker last wrote its data down, in s since 1970."""
    path = broker.data / "mosquitto.db"
    return path.stat().st_mtime if path.exists() else 0.0


@pytest.mark.parametrize("controller_away", [False, True])
def test_a_broker_that_is_killed_twice_loses_no_spooled_report(
    broker: Broker, connect: Callable[..., BusClient], tmp_path: Path, controller_away: bool
) -> None:
    heard = Heard()
    handlers = {topics.report("+"): heard}
    controller = connect("controller", handlers=handlers)
    if controller_away:
        controller.close()
        away_s = time.time()
        soon(lambda: saved_s(broker) > away_s, "the broker to save that there is a controller")
    agent = connect("s1", spool=Spool(tmp_path / "spool"))
    sender = threading.Thread(target=send_numbered, args=(agent, range(200)))
    sender.start()
    for reports in (40, 120):

        def so_many_sent(reports: int = reports) -> bool:
            return agent.sent >= reports or not sender.is_alive()

        soon(so_many_sent, "reports to be sent")
        broker.kill()
        broker.restart()
    sender.join()
    if controller_away:
        soon(lambda: agent.flush(1.0) == 0, "all acknowledgements")
        broker.kill()  # and what it has acknowledged since it last saved is lost with it
        broker.restart()
        controller = connect("controller", handlers=handlers)
    soon(lambda: len({payload for _, payload in heard.messages}) == 200, "200 reports")
    soon(lambda: agent.flush(1.0) == 0, "all acknowledgements")
    counts = Counter(int(payload) for _, payload in heard.messages)
    assert sorted(counts) == list(range(200))
    assert agent.connections >= 2 and not agent.denied  # it may have missed that one of the two brokers was there


def test_reports_left_in_the_spool_by_a_dead_agent_are_sent_by_the_next(
    connect: Callable[..., BusClient], tmp_path: Path
) -> None:
    dead = Spool(tmp_path / "spool")
    for number in range(3):
        dead.put(topics.report("s1"), b"%d" % number)
    dead.close()
    heard = Heard()
    connect("controller", handlers={topics.report("+"): heard})
    agent = connect("s1", spool=Spool(tmp_path / "spool"))
    assert agent.flush(DEADLINE_S) == 0
    soon(lambda: len(heard.messages) == 3, "the three reports")
    assert [payload for _, payload in heard.messages] == [b"0", b"1", b"2"]
    agent.close()
    assert len(Spool(tmp_path / "spool")) == 0


def test_a_report_that_nobody_heard_waits_for_somebody(connect: Callable[..., BusClient], tmp_path: Path) -> None:
    agent = connect("s1", spool=Spool(tmp_path / "spool"))
    agent.publish_spooled(topics.report("s1"), b"early")
    assert agent.flush(0.5) == 1
    heard = Heard()
    connect("controller", handlers={topics.report("+"): heard})
    assert agent.flush(DEADLINE_S) == 0
    soon(lambda: heard.messages, "the report")
    assert heard.on(topics.report("s1")) == [b"early"]


class SlowSpool(Spool):
    """A spool on a disk that takes its time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.begun, self.go_on, self.in_time = threading.Event(), threading.Event(), False

    def put(self, topic: str, payload: bytes) -> int:
        number = super().put(topic, payload)
        self.begun.set()
        self.in_time = self.go_on.wait(DEADLINE_S)
        return number


def test_nobody_waits_for_the_disk_but_who_spools_and_a_new_connection_meanwhile_sends_nothing_twice(
    connect: Callable[..., BusClient], broker: Broker, tmp_path: Path
) -> None:
    heard = Heard()
    connect("controller", handlers={topics.report("+"): heard, topics.status("+"): heard})
    spool = SlowSpool(tmp_path / "spool")
    agent = connect("s1", spool=spool)
    thread = threading.Thread(target=agent.publish_spooled, args=(topics.report("s1"), b"whole"))
    thread.start()
    assert spool.begun.wait(DEADLINE_S)
    agent.publish(topics.status("s1"), b"here", wait_s=DEADLINE_S)
    broker.kill()
    broker.restart()
    until(lambda: agent.connections == 2, "the second connection", DEADLINE_S)
    spool.go_on.set()
    thread.join(DEADLINE_S)
    assert spool.in_time  # nothing else waited for the disk until then
    assert agent.flush(DEADLINE_S) == 0
    soon(lambda: heard.on(topics.report("s1")), "the report")
    agent.close()
    assert heard.on(topics.report("s1")) == [b"whole"]


def test_more_messages_than_paho_takes_at_a_time_all_arrive_in_order(
    connect: Callable[..., BusClient], broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MOST_OPEN", 10)
    heard = Heard()
    connect("controller", handlers={topics.report("+"): heard, topics.status("+"): heard})
    agent = BusClient("s1", broker.access, spool=Spool(tmp_path / "spool"))
    for number in range(300):
        agent.publish(topics.status("s1"), b"%d" % number)
        if number % 10 == 0:
            agent.publish_spooled(topics.report("s1"), b"%d" % number)
    agent.start()
    soon(lambda: len(heard.messages) == 330, "all that was said")
    for topic, every in ((topics.status("s1"), 1), (topics.report("s1"), 10)):
        assert [int(payload) for payload in heard.on(topic)] == list(range(0, 300, every))
    assert agent.flush(DEADLINE_S) == 0 and agent.lost == 0
    agent.close()


def test_a_message_that_nobody_heard_is_counted(connect: Callable[..., BusClient]) -> None:
    agent = connect("s1")
    agent.publish(topics.status("s1"), b"kept", retain=True, wait_s=DEADLINE_S)
    agent.publish(topics.select("h1", "s1"), b"gone", wait_s=DEADLINE_S)
    assert agent.lost == 1


def test_an_error_in_any_callback_leaves_the_connection_at_work(
    connect: Callable[..., BusClient], broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard()
    controller = connect("controller")
    spool = Spool(tmp_path / "spool")
    agent = connect("s1", handlers={topics.config("s1"): heard}, spool=spool)

    def fails(*_: object) -> list[int]:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(spool, "numbers", fails)  # asked for at each new connection
    broker.restart()
    soon(lambda: agent.connections == 2 and agent.callback_errors == 1, "the new connection, and the error")
    soon(lambda: controller.connections == 2, "the controller")
    controller.publish(topics.config("s1"), b"still there", wait_s=DEADLINE_S)
    soon(lambda: heard.messages, "the message")
    monkeypatch.setattr(spool, "done", fails)
    monkeypatch.setattr(client_module, "KEEP_S", 0.0)
    agent._kept[0] = 0.0
    agent.publish(topics.status("s1"), b"x", wait_s=DEADLINE_S)
    assert agent.connected and agent.callback_errors == 1


def test_one_who_comes_late_hears_what_fifteen_hundred_devices_said_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rights = broker_module.right_lines

    def more_rights(devices: Any) -> list[str]:
        return [
            line for each in rights(devices) for line in (each, *["topic write mozart/status/+"] * (each == "user s1"))
        ]

    monkeypatch.setattr(broker_module, "right_lines", more_rights)  # one speaks for all, to spare connections
    made = Broker(tmp_path / "broker", ["s1"], record)
    made.start()
    heard, late = Heard(), None
    speaker = BusClient("s1", made.access)
    try:
        speaker.start()
        for number in range(1500):
            speaker.publish(topics.status(f"h{number}"), b"%d" % number, retain=True)
        soon(lambda: speaker.sent == 1500, "all to be said")
        late = BusClient("operator", made.access, handlers={topics.status("+"): heard}, lasting=False)
        late.start()
        soon(lambda: len(heard.messages) >= 1500, "all to be heard")
        assert {int(payload) for _, payload in heard.messages} == set(range(1500))
    finally:
        for client in (speaker, late):
            if client is not None:
                client.close()
        made.stop()


def test_the_broker_may_have_as_many_connections_as_the_user(broker: Broker) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    try:
        broker.restart()
        # another user's process by now: its limits may be read, and not be asked for
        limits = Path(f"/proc/{broker.process.pid}/limits").read_text()
        assert f"{hard} {hard}" in " ".join(limits.partition("Max open files")[2].split("\n")[0].split())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_operators_stand_side_by_side(connect: Callable[..., BusClient]) -> None:
    requests, one, two = Heard(), Heard(), Heard()
    controller = connect("controller", handlers={topics.request("+"): requests})
    first = connect("operator", handlers={topics.reply("operator"): one}, lasting=False)
    second = connect("operator", handlers={topics.reply("operator"): two}, lasting=False)
    first.publish(topics.request("operator"), json.dumps({"id": "1"}), wait_s=DEADLINE_S)
    soon(lambda: requests.messages, "the request")
    controller.publish(topics.reply("operator"), b'{"id": "1"}')
    soon(lambda: one.messages and two.messages, "the reply")
    assert first.connections == second.connections == 1


def test_who_asks_a_controller_that_ends_hears_so_at_once(connect: Callable[..., BusClient], broker: Broker) -> None:
    asked, begin = Heard(), time.monotonic()
    controller = connect(topics.CONTROLLER, handlers={topics.request("+"): asked})

    def status(state: str) -> None:
        controller.publish(topics.status(topics.CONTROLLER), json.dumps({"state": state}), retain=True)

    def end() -> None:
        soon(lambda: asked.messages, "the request")
        status("stopped")

    status("running")
    with Operator(broker.access) as operator, pytest.raises(LiveError, match="the run has ended"):
        threading.Thread(target=end).start()
        operator.ask("remove", tasks=["lossy"])
    assert asked.messages and time.monotonic() - begin < DEADLINE_S


def test_a_port_in_use_is_refused_with_the_name_of_its_holder(broker: Broker, tmp_path: Path) -> None:
    assert holder(broker.port) == f"mosquitto (process {broker.process.pid})"
    with pytest.raises(LiveError, match=rf"port {broker.port}.* in use by mosquitto \(process \d+\)"):
        Broker(tmp_path / "second", ["s1"], record, broker.port).start()
    assert not (tmp_path / "second").exists()


def test_two_brokers_side_by_side_and_a_given_port(tmp_path: Path, broker: Broker) -> None:
    port = free_port()
    second = Broker(tmp_path / "second", ["s1"], record, port)
    second.start()
    assert second.port == port != broker.port
    second.stop()
    assert holder(port) is None


def test_the_folder_keeps_its_secrets_and_the_broker_stays_on_loopback(broker: Broker) -> None:
    assert broker.folder.stat().st_mode & 0o777 == 0o700
    for path in ("passwords", "rights", "mosquitto.conf"):
        assert (broker.data / path).stat().st_mode & 0o777 == 0o600
    texts = [path.read_text(errors="replace") for path in broker.data.iterdir()]
    command = Path(f"/proc/{broker.process.pid}/cmdline").read_text()
    assert not any(password in text for password in broker.passwords.values() for text in [*texts, command])
    local = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    assert {address for address in local if int(address[-4:], 16) == broker.port} >= {f"0100007F:{broker.port:04X}"}
    assert not any(address == f"00000000:{broker.port:04X}" for address in local)


def test_closing_is_quick_when_the_broker_is_gone(broker: Broker, connect: Callable[..., BusClient]) -> None:
    agent = connect("s1")
    broker.kill()
    soon(lambda: not agent.connected, "the agent to notice")
    begin = time.monotonic()
    agent.close()
    assert time.monotonic() - begin < DEADLINE_S


def test_an_operator_hears_at_once_which_agent_refuses_the_plan_and_why(
    connect: Callable[..., BusClient], broker: Broker
) -> None:
    agent = connect("s1")
    said = {"state": "running", "revision": None, "refused": "no such event", "refused_revision": 3}
    agent.publish(topics.status("s1"), json.dumps(said), retain=True, wait_s=DEADLINE_S)
    with Operator(broker.access) as operator, pytest.raises(LiveError, match=r"refuse revision 3.*s1: no such event"):
        operator.wait_for_agents(["s1"], 3, DEADLINE_S)
