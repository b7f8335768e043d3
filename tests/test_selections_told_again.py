"""Monitors that no tag reaches are told again, at the start of an epoch, of the selections that last."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mozart.agents.device import Device
from mozart.agents.pairs import Pairs
from mozart.agents.places import Place
from mozart.agents.reports import records_of
from mozart.agents.selecting import Selecting
from mozart.agents.warm_up import warm_up
from mozart.tests.agent_worlds import (
    ALL_PAIRS,
    HOSTS,
    MemoryLink,
    configuration,
    monitor,
    needs_root,
    rounds,
    selector,
    tcp,
    until,
    veth_pair,
)
from mozart.tests.oracle import PlainSelections
from mozart.traces.keys import FlowHash
from mozart.traces.packets import PacketBatch, address_words
from mozart.traces.sites import HashSites

FLOW_HASH = FlowHash.seeded(1)

S = 10**9
MS = 10**6
EPOCH_NS = S


class World:
    """A selector that tells s7 of its flows and announces them to s9; its event is true where the test says so."""

    def __init__(self, **changes: Any) -> None:
        told = {"tells": dict.fromkeys(ALL_PAIRS, ("s7",)), "announces": dict.fromkeys(ALL_PAIRS, ("s9",))}
        given = {"hold_s": 1.5, "code": None, "tags_forward": False, **told, **changes}
        self.pairs = Pairs(configuration())
        always: Any = SimpleNamespace(events=lambda seen, value: np.ones(len(seen.key), np.bool_), evicted=0)
        self.selecting = Selecting(selector(**given), self.pairs, FLOW_HASH)
        self.selecting.selector = always

    def true(self, now_ns: int, *flows: int) -> None:
        """At some time the event is true for some flows, a packet each."""
        packets = PacketBatch.of(time_ns=[now_ns] * len(flows))
        pair = np.full(len(flows), self.pairs.number("h1>h2"), np.int32)
        key = np.array(flows, np.uint64) + np.uint64(1 << 40)
        self.selecting.take(packets, key, pair, now_ns)

    def said(self, now_ns: int) -> list[tuple[str, int, int, str]]:
        """What is sent by some time: to whom, of which flow, of when, and as what."""
        _, notices, _ = self.selecting.due(now_ns)
        return [(n.to, n.key - (1 << 40), n.time_ns, n.kind) for n in notices]


def test_a_selection_is_told_again_as_long_as_it_lasts_and_a_hint_is_not() -> None:
    world = World()
    world.true(400 * MS, 1)
    assert world.said(400 * MS) == [("s7", 1, 400 * MS, "select"), ("s9", 1, 400 * MS, "hint")]
    world.selecting.begin_epoch(1 * S)
    assert world.selecting.next_due_ns == 1 * S
    assert world.said(S - 1) == []  # not before the epoch has begun, by this device's clock
    assert world.said(S) == [("s7", 1, S, "select")]
    assert world.said(S) == [] and world.selecting.next_due_ns > 1 << 60
    world.true(1200 * MS, 1)
    assert world.said(1200 * MS) == []  # it lasts still, and is none that is new
    world.selecting.begin_epoch(2 * S)
    assert world.said(2 * S) == [("s7", 1, 2 * S, "select")]
    world.selecting.begin_epoch(3 * S)
    assert world.said(3 * S) == []  # it has ended 1.5 s after 1.2 s
    world.true(3500 * MS, 1)
    assert world.said(3500 * MS)[0] == ("s7", 1, 3500 * MS, "select")


def test_what_was_told_in_the_new_epoch_already_is_not_told_twice() -> None:
    world = World(detection_delay_ms=300.0)
    world.true(800 * MS, 1)
    world.true(600 * MS, 2)
    assert world.said(900 * MS)[0][1] == 2
    assert world.said(1100 * MS)[0] == ("s7", 1, 800 * MS, "select")  # before anybody has seen that the epoch is over
    world.selecting.begin_epoch(S)
    assert world.said(1101 * MS) == [("s7", 2, S, "select")]


def test_a_task_that_goes_tells_no_more() -> None:
    world = World()
    world.true(400 * MS, 1)
    world.said(400 * MS)
    world.selecting.begin_epoch(S)
    world.selecting.stop()
    assert world.said(S) == []


@pytest.mark.parametrize("seed", range(3))
def test_of_many_selections_those_are_told_again_that_plainly_last(seed: int) -> None:
    rng = np.random.default_rng(seed)
    world, twin = World(announces={}), PlainSelections(1.5, 0.0)
    flows, told, again = 3000, 0, 0
    for epoch in range(40):
        for at in np.sort(rng.integers(epoch * EPOCH_NS, (epoch + 1) * EPOCH_NS, 12)).tolist():
            true = np.unique(rng.integers(1, flows, 30)).tolist()
            new = [flow for flow in true if twin.event(flow, at)]
            world.true(at, *true)
            assert sorted(world.said(at)) == sorted(("s7", flow, at, "select") for flow in new)
            told += len(new)
        start_ns = (epoch + 1) * EPOCH_NS
        world.selecting.begin_epoch(start_ns)
        expected = [("s7", flow, start_ns, "select") for flow in range(flows) if twin.holds(flow, start_ns)]
        assert sorted(world.said(start_ns)) == expected
        again += len(expected)
    assert told > 5000 and again > 10_000
    assert len(world.selecting._told) < 600  # it keeps what lasts, and not all there was


@needs_root
def test_a_monitor_beside_the_path_records_a_selected_flow_in_every_epoch(tmp_path: Path) -> None:
    """On a real device: the flow is selected in the first epoch, and just goes on in the next ones."""
    warm_up()
    start = time.time_ns() + S
    config = configuration(
        epoch_start_ns=start, epoch_ns=S // 2, end_ns=start + 2 * S, observations=str(tmp_path),
        selectors=(selector(code=None, tags_forward=False, tells=dict.fromkeys(ALL_PAIRS, ("h1", "s7"))),),
        monitors=(monitor(heeds_tag=(), code=None),),
    )  # fmt: skip
    with veth_pair() as (a, b):
        link = MemoryLink(incoming=[config])
        device = Device(Place("h1", "host", b.interface, b.pid), link)
        flow = next(flow for flow in range(100) if crosses(flow))
        rounds(device, lambda: time.time_ns() > start, "the first epoch", 20)
        a.send([tcp(flow, sequence) for sequence in (1000, 1010, 1000)])
        rounds(device, lambda: link.notices, "the selection")
        sequence = iter(range(2000, 1_000_000, 10))

        def sends() -> bool:
            a.send([tcp(flow, next(sequence))])
            device.work(time.time_ns())
            return bool(link.reports) and link.reports[-1][0]["final"]

        until(sends, "the last report")
        device.close(time.time_ns())
    key = FLOW_HASH.keys(batch_of(flow), "five-tuple").tolist()
    by_epoch = [(header["epoch"], records_of(columns, "lossy")) for header, columns in link.reports]
    assert [epoch for epoch, _ in by_epoch] == [0, 1, 2, 3]
    for epoch, records in by_epoch:
        assert (epoch, records.flow.tolist(), records.selected.tolist()) == (epoch, key, [True])
        assert records.packets[0] > 5
    assert [n.to for n in link.notices] == ["s7"] * 4
    assert [n.time_ns for n in link.notices[1:]] == [start + epoch * S // 2 for epoch in (1, 2, 3)]
    assert link.total("messages_received") == 4 and link.total("messages_late") == 0


def batch_of(flow: int) -> PacketBatch:
    """The columns of the flow number `flow` of `tcp`."""
    ends = {"src": [address_words(f"10.1.0.{flow}")], "dst": [address_words("192.0.2.1")]}
    return PacketBatch.of(**ends, src_port=[1000 + flow], dst_port=[80], protocol=[6])


def crosses(flow: int) -> bool:
    """Whether the flow goes from one site to another."""
    a, b = HashSites(HOSTS).hosts_of(batch_of(flow))
    return bool(a[0] != b[0])
