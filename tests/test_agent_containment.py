"""What fails in one module or device of an agent is counted and told, and costs the others nothing."""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mozart.agents import kept as kept_module
from mozart.agents.device import Device
from mozart.agents.kept import Kept
from mozart.agents.observed import Observed, read
from mozart.agents.places import Place
from mozart.agents.warm_up import warm_up
from mozart.bus.config import DeviceConfig
from mozart.errors import LiveError
from mozart.tests.agent_worlds import (
    MemoryLink,
    Side,
    configuration,
    monitor,
    needs_root,
    rounds,
    run,
    selector,
    tcp,
    until,
    veth_pair,
)  # fmt: skip
from mozart.traces.packets import PacketBatch

S = 10**9


@pytest.fixture(autouse=True, scope="module")
def compiled() -> None:
    warm_up()


@pytest.fixture(scope="module")
def sides() -> Iterator[tuple[Side, Side]]:
    """One pair of namespaces for all tests here, which leave nothing in it."""
    with veth_pair() as made:
        yield made


@contextmanager
def at_work(sides: tuple[Side, Side], config: DeviceConfig) -> Iterator[tuple[Device, MemoryLink, Side]]:
    a, b = sides
    link = MemoryLink(incoming=[config])
    device = Device(Place("h1", "host", b.interface, b.pid), link)
    device.work(time.time_ns())
    yield device, link, a
    device.close(time.time_ns(), remove_tags=True)


def fails(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError("made to fail")


TWO: dict[str, Any] = {"selectors": (selector("a"), selector("b", table=2)), "monitors": (monitor("a"), monitor("b"))}
LOSSY = [tcp(flow, sequence) for sequence in (1000, 1010, 1000) for flow in range(20)]


@needs_root
@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("selectors", "take"), ("selectors", "due"), ("selectors", "report"),
        ("monitors", "take"), ("monitors", "records"), ("monitors", "summary"),
    ],
)  # fmt: skip
def test_a_module_that_fails_is_counted_and_told_and_the_others_go_on(
    sides: tuple[Side, Side], kind: str, method: str
) -> None:
    with at_work(sides, configuration(mode="none", probability=1.0, **TWO)) as (device, link, a):
        setattr(getattr(device.modules, kind)["a"], method, fails)
        a.send(LOSSY)
        rounds(device, lambda: device.counters["packets"] == 60, "the packets")
        rounds(device, lambda: device._measured == device._filled, "the monitors to have had them")
        early = method in ("take", "due")
        if early:
            assert link.states[-1]["faults"] == [f"{kind[:-1]} of a: ZeroDivisionError: made to fail"]
            assert link.states[-1]["state"] == "running" and "a" not in getattr(device.modules, kind)
    (header, columns) = link.reports[0]
    assert header["counters"]["module_faults"] == 1
    assert kind[:-1] not in header["tasks"].get("a", {})
    assert header["faults"] == [f"{kind[:-1]} of a: ZeroDivisionError: made to fail"]
    other = "monitor" if kind == "selectors" else "selector"
    assert {"selector", "monitor"} == set(header["tasks"]["b"]) and other in header["tasks"]["a"]
    assert len(columns["b/selector/flow"]) > 5 and columns["b/monitor/packets"].sum() > 40


@needs_root
def test_a_module_that_failed_is_made_anew_with_the_next_epoch(sides: tuple[Side, Side]) -> None:
    config = configuration(epoch_ns=S // 5, **TWO)
    with at_work(sides, config) as (device, link, a):
        device.modules.monitors["a"].take = fails  # type: ignore[method-assign]
        device.modules.selectors["b"].begin_epoch = fails  # type: ignore[method-assign]
        a.send(LOSSY)
        rounds(device, lambda: sum(h["counters"]["module_faults"] for h, _ in link.reports) == 2, "both to fail")
        rounds(
            device, lambda: set(device.modules.monitors) == set(device.modules.selectors) == {"a", "b"}, "them again"
        )
        known = len(link.reports)
        a.send(LOSSY)
        rounds(device, lambda: len(link.reports) > known + 2, "epochs with both")
        assert link.states[-1]["faults"] == []
    assert set(link.reports[-2][0]["tasks"]["a"]) == {"selector", "monitor"}


@needs_root
def test_a_device_that_fails_is_begun_anew_and_the_others_do_not_notice(
    sides: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_module, "FIRST_PAUSE_NS", 20_000_000)
    a, b = sides
    config = configuration(monitors=(monitor(),))
    links = [MemoryLink(incoming=[config]), MemoryLink(incoming=[replace(config, device="h2")])]
    devices = [
        Kept(Place(name, "host", side.interface, side.pid), link)
        for name, side, link in zip(("h1", "h2"), (b, a), links, strict=True)
    ]

    def work(done: Any, what: str) -> None:
        def worked() -> object:
            for each in devices:
                each.react(time.time_ns())
                each.tend(time.time_ns())
            return done()

        until(worked, what)

    work(lambda: all(each.device and each.device.config for each in devices), "both configured")
    first, other = devices[0].device, devices[1].device
    assert first is not None
    first.tagger.poll = fails  # type: ignore[method-assign]
    work(lambda: devices[0].device is not first, "the first to fail")
    failed = next(state for state in links[0].states if state["state"] == "failed")
    assert failed["faults"] == ["ZeroDivisionError: made to fail"] and failed["restarts"] == 1
    work(lambda: devices[0].device is not None and devices[0].device.config == config, "it to be begun anew")
    a.send([tcp(1, 1)])
    work(lambda: all(each.device and each.device.counters["packets"] for each in devices), "packets at both")
    assert devices[1].device is other and links[0].states[-1]["state"] == "running"
    for each in devices:
        each.close(time.time_ns())
    ((header, _),) = links[0].reports
    assert header["counters"]["device_faults"] == 1 and len(header["gaps"]) == 1
    assert links[1].reports[0][0]["counters"]["device_faults"] == 0


@needs_root
def test_a_device_that_fails_all_the_time_is_tried_less_and_less_often(sides: tuple[Side, Side]) -> None:
    _, b = sides
    link = MemoryLink()
    kept = Kept(Place("h1", "host", b.interface, b.pid), link)
    now_ns, begun = time.time_ns(), []
    for _ in range(300):  # half a minute
        now_ns += 100_000_000
        if kept.device is None:
            kept.react(now_ns)
        if kept.device is not None:
            begun.append(now_ns)
            kept.device.react = fails  # type: ignore[method-assign]
            assert kept.react(now_ns) == 0
    pauses = np.diff(begun) / S
    assert len(begun) < 12 and (np.diff(pauses) >= 0).all() and pauses[-1] <= 10.1
    kept.close(now_ns)
    assert link.states[-1]["state"] == "stopped"


@needs_root
def test_a_full_disk_costs_observations_and_nothing_else(tmp_path: Path, sides: tuple[Side, Side]) -> None:
    run("mount", "-t", "tmpfs", "-o", "size=16k", "none", str(tmp_path))
    try:
        config = configuration(monitors=(monitor(),), observations=str(tmp_path))
        with at_work(sides, config) as (device, link, a):
            for _ in range(10):
                a.send([tcp(flow, 1) for flow in range(100)])
                rounds(device, lambda: not device.ring.ready and device._filled == 0, "them to be measured")
            rounds(device, lambda: bool(link.said and link.said[-1]["observations_lost"]), "the loss to be said")
            rounds(device, lambda: bool(link.states[-1]["faults"]), "the fault to be said")
            (fault,) = link.states[-1]["faults"]
            assert str(tmp_path) in fault and "No space left" in fault
        packets, _ = read(tmp_path / "h1.packets")
        assert len(packets) + link.total("observations_lost") == link.total("packets") == 1000
        assert 0 < len(packets) < 1000 and (np.diff(packets.time_ns) >= 0).all()
    finally:
        run("umount", str(tmp_path))


def test_a_log_that_was_full_goes_on_with_whole_records(tmp_path: Path) -> None:
    log = Observed(tmp_path, "h1")
    batch, outgoing = PacketBatch.of(src_port=[7, 8], src=np.ones((2, 2)), dst=np.ones((2, 2))), np.zeros(2, np.uint8)
    log.add(batch, outgoing)
    real = log._file

    class Full:
        def write(self, data: Any) -> int:
            real.write(data[:5])
            raise OSError(errno.ENOSPC, "No space left on device")

        def truncate(self, size: int) -> int:
            return real.truncate(size)

    log._file = Full()  # type: ignore[assignment]
    log.add(batch, outgoing)
    log._file = real
    log.add(batch, outgoing)
    log.close()
    assert read(tmp_path / "h1.packets")[0].src_port.tolist() == [7, 8, 7, 8] and log.lost == 2


WRONG = [
    ({"mode": "nonsense", "monitors": (monitor(),)}, "no mode 'nonsense'"),
    ({"monitors": (monitor(measure="nonsense"),)}, "no measure 'nonsense'"),
    ({"monitors": (monitor(parameters={"colour": 1}),)}, "colour is no parameter of volume"),
    ({"monitors": (monitor(memory_entries=2**62),)}, "memory|large|Maximum"),
    ({"selectors": (selector(event="nonsense"),)}, "no event 'nonsense'"),
    ({"selectors": (selector(parameters={"threshold": "x"}),)}, "threshold must be"),
    ({"selectors": (selector(parameters={"thresold": 0.1}),)}, "did you mean threshold"),
    ({"selectors": (selector(watches=("h1>h9",)),)}, "no pair 'h1>h9'"),
    ({"selectors": (selector("{"),)}, "nftables refuses"),
    ({"map": "nonsense"}, "no map 'nonsense'"),
    ({"observations": "/proc/nowhere"}, "cannot keep observations"),
]


@needs_root
@pytest.mark.parametrize(("wrong", "why"), WRONG)
def test_a_configuration_that_is_refused_leaves_all_as_it_was(
    sides: tuple[Side, Side], wrong: dict[str, Any], why: str
) -> None:
    with at_work(sides, configuration(**TWO)) as (device, link, a):
        a.send(LOSSY)
        rounds(device, lambda: device.counters["tags_installed"] > 10, "tags")
        before = device.modules
        link.incoming.append(configuration(revision=2, **{**TWO, **wrong}))
        device.work(time.time_ns())
        assert (
            device.modules is before
            and device.config is not None
            and device.config.revision == 1
            and link.reports == []
        )
        (refused,) = [state for state in link.states if "refused" in state]
        assert refused["revision"] == 1 and refused["refused_revision"] == 2
        assert re.search(why, refused["refused"]), refused["refused"]
        known = device.counters["packets"]
        a.send([tcp(flow, 1020) for flow in range(20)])
        rounds(device, lambda: device.counters["packets"] >= known + 20, "more packets")
        assert device.counters["messages_malformed"] == 1
    ((header, columns),) = link.reports
    assert set(header["tasks"]) == {"a", "b"} and header["revision"] == 1
    assert header["counters"]["selected"] == len(columns["a/selector/flow"]) + len(columns["b/selector/flow"]) > 20
    assert [revision for revision, _ in header["taken"]] == [1]


@needs_root
def test_a_device_that_cannot_be_opened_is_an_error_at_the_start() -> None:
    with pytest.raises(LiveError, match="no capture ring"):
        Kept(Place("h1", "host", "nosuch0"), MemoryLink())
