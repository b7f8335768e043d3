"""What a device says of a configuration that changes while it is at work."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from mozart.agents.device import Device
from mozart.agents.places import Place
from mozart.agents.warm_up import warm_up
from mozart.tests.agent_worlds import MemoryLink, configuration, monitor, needs_root, rounds, selector, tcp, veth_pair

S = 10**9


@pytest.fixture(autouse=True, scope="module")
def compiled():
    warm_up()


@needs_root
def test_the_selections_of_a_task_that_goes_are_reported_and_so_is_when_it_went():
    begun = time.time_ns()
    first = configuration(selectors=(selector(code=None, tags_forward=False),), monitors=(monitor(), monitor("other")))
    with veth_pair() as (a, b):
        link = MemoryLink(incoming=[first])
        device = Device(Place("h1", "host", b.interface, b.pid), link)
        device.work(time.time_ns())
        a.send([tcp(flow, sequence) for sequence in (1000, 1010, 1000) for flow in range(20)])
        rounds(device, lambda: device.counters["packets"] == 60, "the packets")
        selected = device.counters["selected"]
        changed = time.time_ns()
        link.incoming.append(replace(first, revision=2, selectors=(), monitors=(monitor("other"),)))
        device.work(time.time_ns())
        a.send([tcp(flow, 2000) for flow in range(20)])
        rounds(device, lambda: device.counters["packets"] == 80, "more packets")
        device.close(time.time_ns())
    (going, _), (last, columns) = link.reports
    assert selected > 5
    assert going["tasks"]["lossy"]["selector"]["selections"] == selected == len(link.column("lossy/selector/flow"))
    assert (link.column("lossy/selector/time_ns") < changed).all()
    assert set(going["tasks"]) == {"lossy"} and set(last["tasks"]) == {"other"}
    assert "other/monitor/flow" in columns and not any(name.startswith("lossy") for name in columns)
    assert (going["taken"], going["cpu_s"]) == ([], 0.0)
    (one, one_ns), (two, two_ns) = last["taken"]
    assert (one, two) == (1, 2) and begun < one_ns < two_ns and changed - S // 100 < two_ns < time.time_ns()
    assert link.column("lossy/selector/time_ns").max() < two_ns


@needs_root
def test_a_report_says_only_what_was_taken_since_the_last():
    start = time.time_ns()
    config = configuration(epoch_start_ns=start, epoch_ns=S // 4, end_ns=start + S // 2, monitors=(monitor(),))
    with veth_pair() as (_, b):
        link = MemoryLink(incoming=[config])
        device = Device(Place("h1", "host", b.interface, b.pid), link)
        rounds(device, lambda: link.reports and link.reports[-1][0]["final"], "the last report")
        device.close(time.time_ns())
    assert [revision for header, _ in link.reports for revision, _ in header["taken"]] == [1]
