"""The agent's end of OpenFlow against a switch that misbehaves: what it sends, what it takes, when it goes."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mozart.agents import openflow as of
from mozart.agents.switch_tagger import MOST_SECONDS, SwitchTagger
from mozart.agents.tagger import Tag, tag_of
from mozart.errors import LiveError
from mozart.tests.agent_worlds import selector, until
from mozart.traces.packets import PacketBatch

S = 10**9
HARD_TIMEOUT = 20
"""Where it stands in the body of a flow_mod."""


def tag(last: int, task: str = "t") -> Tag:
    """The tag of a numbered flow."""
    batch = PacketBatch.of(
        src=np.array([[0, 0xFFFF0A000000 + last]]), dst=np.array([[0, 0xFFFF0A010001]]), protocol=[6]
    )
    return tag_of(task, "five-tuple", batch, 0, False)


class FakeSwitch:
    """A management socket whose every byte the test writes."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(self.path)
        self.listening.listen()
        self.rest, self.connection = b"", self.listening

    def accept(self, tagger: SwitchTagger) -> None:
        """Take the connection of a tagger."""
        until(lambda: tagger.poll(time.time_ns()) is not None and tagger.fileno() >= 0, "the tagger to connect")
        self.connection, self.rest = self.listening.accept()[0], b""

    def heard(self) -> list[of.Message]:
        """All messages that the tagger has sent since."""
        while True:
            try:
                data = self.connection.recv(1 << 20, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            if not data:
                break
            self.rest += data
        found, self.rest = of.split(self.rest)
        return found

    def confirm(self) -> list[of.Message]:
        """Answer the barriers; what was sent before them."""
        found = self.heard()
        for each in found:
            if each.type == of.BARRIER_REQUEST:
                self.connection.sendall(of.message(of.BARRIER_REPLY, each.xid))
        return [each for each in found if each.type == of.FLOW_MOD]

    def close(self) -> None:
        self.connection.close()
        self.listening.close()


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[FakeSwitch]:
    with closing(FakeSwitch(tmp_path / "s1.mgmt")) as made:
        yield made


@pytest.fixture
def tagger(switch: FakeSwitch) -> Iterator[SwitchTagger]:
    made = SwitchTagger(switch.path)
    made.configure([selector("t")])
    switch.accept(made)
    yield made
    made.close(remove=False)


@pytest.mark.parametrize("body", [b"", b"\0", b"\0\3\0"])
def test_an_error_that_is_too_short_is_an_outcome_and_counted(
    switch: FakeSwitch, tagger: SwitchTagger, body: bytes
) -> None:
    now_ns = time.time_ns()
    tagger.put([(tag(1), now_ns + S)], now_ns)
    (asked,) = [each for each in switch.heard() if each.type == of.FLOW_MOD]
    switch.connection.sendall(of.message(of.ERROR, asked.xid, body))
    (outcome,) = tagger.settle(5)
    assert outcome.tag == tag(1) and outcome.installed_ns is None and f"{len(body)} bytes" in outcome.why
    assert tagger.faults == 1 and tagger.fileno() >= 0


@pytest.mark.parametrize("garbage", [struct.pack(">BBHI", 4, 1, 7, 1), bytes(8), b"\xff\xff\0\0\xff\xff\xff\xff"])
def test_what_is_no_message_is_counted_and_the_tags_in_force_are_put_again(
    switch: FakeSwitch, tagger: SwitchTagger, garbage: bytes
) -> None:
    now_ns = time.time_ns()
    tagger.put([(tag(1), now_ns + 60 * S)], now_ns)
    assert len(switch.confirm()) == 1 and len(tagger.settle(5)) == 1
    switch.connection.sendall(garbage)
    until(lambda: tagger.poll(time.time_ns()) == [] and tagger.fileno() < 0, "the connection to be given up")
    assert tagger.faults == 1
    switch.connection.close()
    switch.accept(tagger)
    assert [each.type for each in switch.heard()] == [of.HELLO, of.FLOW_MOD, of.BARRIER_REQUEST]


def test_messages_of_any_kind_and_length_are_contained(switch: FakeSwitch, tagger: SwitchTagger) -> None:
    now_ns = time.time_ns()
    for kind in range(32):
        for size in (0, 1, 3, 4, 40):
            tagger.put([(tag(1), now_ns + 60 * S)], now_ns)
            switch.connection.sendall(of.message(kind, tagger._xid, bytes(size)))
            tagger.poll(time.time_ns())
    assert tagger.faults == 3 and tagger.fileno() >= 0  # the errors that are too short


def test_a_switch_that_does_not_read_is_never_waited_for(switch: FakeSwitch, tagger: SwitchTagger) -> None:
    now_ns = time.time_ns()
    for begin in range(0, 4000, 500):
        tagger.put([(tag(i), now_ns + 60 * S) for i in range(begin, begin + 500)], now_ns)
        assert tagger.fileno() >= 0 and tagger.waits()
    asked = 0

    def read() -> bool:
        nonlocal asked
        asked += len(switch.confirm())
        tagger.poll(time.time_ns())
        return asked == 4000

    until(read, "all rules, when it reads again")
    until(lambda: tagger.poll(time.time_ns()) == [] and not tagger.waits(), "all of them to be confirmed")


def test_a_switch_that_never_reads_is_given_up_at_a_bound(
    tagger: SwitchTagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of, "MOST_UNSENT", 1 << 16)
    now_ns = time.time_ns()
    for begin in range(0, 4000, 500):
        tagger.put([(tag(i), now_ns + 60 * S) for i in range(begin, begin + 500)], now_ns)
    assert tagger.fileno() < 0 and tagger.faults == 1


def test_the_rule_of_a_tag_that_lasts_longer_than_a_timeout_is_put_again(
    switch: FakeSwitch, tagger: SwitchTagger
) -> None:
    def timeouts() -> list[int]:
        return [struct.unpack_from(">H", each.body, HARD_TIMEOUT)[0] for each in switch.confirm()]

    now_ns = time.time_ns()
    end_ns = now_ns + (2 * MOST_SECONDS + 1000) * S
    tagger.put([(tag(1), end_ns), (tag(2), now_ns + 5 * S)], now_ns)
    assert timeouts() == [MOST_SECONDS, 5]
    seen = []
    at_ns, left_ns = now_ns, MOST_SECONDS * S
    for _ in range(400):  # ten minutes at a time
        at_ns += 600 * S
        left_ns -= 600 * S
        tagger.poll(at_ns)
        for seconds in timeouts():
            seen.append(seconds)
            left_ns = seconds * S
        if at_ns < end_ns:
            assert left_ns > 0 or seen == [], "the rule has ended before its tag"
    assert seen[0] == MOST_SECONDS and at_ns - end_ns > 0 and sum(seen) < 3 * MOST_SECONDS
    assert tagger._renewals == []


def test_a_tag_that_is_ended_while_the_switch_is_away_ends_when_it_is_back(
    switch: FakeSwitch, tagger: SwitchTagger
) -> None:
    now_ns = time.time_ns()
    tagger.put([(tag(1), now_ns + 600 * S), (tag(2), now_ns + 600 * S), (tag(3), now_ns + 600 * S)], now_ns)
    switch.confirm()
    assert len(tagger.settle(5)) == 3
    switch.connection.close()
    until(lambda: tagger.poll(time.time_ns()) == [] and tagger.fileno() < 0, "the connection to be lost")
    tagger.remove([tag(1), tag(2)])
    tagger.put([(tag(2), now_ns + 600 * S)], now_ns)
    switch.accept(tagger)
    sent = switch.confirm()
    assert [each.body[17] for each in sent] == [of.DELETE_STRICT, of.ADD, of.ADD]
    assert {each.tag for each in tagger.settle(5)} == {tag(2), tag(3)} and not tagger._ending


def test_a_tag_of_a_task_that_is_not_here_is_refused(tagger: SwitchTagger) -> None:
    now_ns = time.time_ns()
    tagger.put([(tag(1, "nobody"), now_ns + S)], now_ns)
    (outcome,) = tagger.poll(now_ns)
    assert outcome.installed_ns is None and "nobody" in outcome.why


@pytest.mark.parametrize("path", ["/nowhere/s1.mgmt", "/" + "x" * 200, "a\0b", ""])
def test_a_path_where_no_switch_can_be_is_an_error(path: str) -> None:
    with pytest.raises(LiveError, match="no switch at"):
        of.Connection(path)


def test_a_switch_whose_queue_of_connections_is_full_is_not_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "full.mgmt")
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(path)
        listening.listen(0)
        made: list[of.Connection] = []
        with pytest.raises(LiveError, match="no switch at"):
            for _ in range(10):
                made.append(of.Connection(path))
        for each in made:
            each.close()


def test_the_rules_of_two_tasks_have_cookies_of_their_own(switch: FakeSwitch, tagger: SwitchTagger) -> None:
    tagger.configure([replace(selector("plumless"), table=1), replace(selector("buckeroo"), table=2)])
    now_ns = time.time_ns()
    tagger.put([(tag(1, "plumless"), now_ns + S), (tag(1, "buckeroo"), now_ns + S)], now_ns)
    cookies = {each.body[:8] for each in switch.confirm()}
    assert len(cookies) == 2
