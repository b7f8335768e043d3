"""One device at work on real packets: its records and selections equal those of the parts fed directly."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mozart.agents.bus_link import told_of
from mozart.agents.device import BATCH_PACKETS, Device
from mozart.agents.link import Told
from mozart.agents.monitoring import Monitoring
from mozart.agents.observed import RECORD, Observed, read
from mozart.agents.pairs import Pairs
from mozart.agents.places import Place, read_places
from mozart.agents.reports import records_of
from mozart.agents.warm_up import warm_up
from mozart.bus.config import Code, DeviceConfig
from mozart.errors import BusError, LiveError
from mozart.monitors.modes import MODES
from mozart.monitors.records import Records
from mozart.monitors.table import Crossings, Table
from mozart.monitors.table_kernels import PACKET, SELECT, TAGGED
from mozart.selectors.loss import Loss
from mozart.selectors.selection import Selections
from mozart.selectors.selector import Sightings
from mozart.tests.agent_worlds import (
    ALL_PAIRS,
    HOSTS,
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
from mozart.traces.keys import FlowHash
from mozart.traces.packets import PacketBatch
from mozart.traces.sites import HashSites, PrefixSites

FLOW_HASH = FlowHash.seeded(1)

S = 10**9


@pytest.fixture(autouse=True, scope="module")
def compiled():
    """Compiling takes seconds, in which no test is to wait for packets."""
    warm_up()


@contextmanager
def at_work(config: DeviceConfig | None = None, **place: Any) -> Iterator[tuple[Device, MemoryLink, Side, Side]]:
    """A host's agent behind a veth pair (its interface is the second side's)."""
    with veth_pair() as (a, b):
        link = MemoryLink()
        device = Device(Place("h1", "host", b.interface, b.pid, **place), link)
        if config is not None:
            link.incoming.append(config)
            device.work(time.time_ns())
        yield device, link, a, b
        if device.ring.fileno() >= 0:
            device.close(time.time_ns(), remove_tags=True)


def frames(count: int, seed: int = 1) -> list[bytes]:
    """TCP segments of 60 flows; a tenth are sent again, and some carry tags."""
    rng = np.random.default_rng(seed)
    sequence = dict.fromkeys(range(60), 1000)
    made = []
    for flow, dscp in rng.integers(0, (60, 4), (count, 2)).tolist():
        at, again = sequence[flow], rng.random() < 0.1
        made.append(tcp(flow, at - 10 if again else at, dscp=dscp))
        sequence[flow] = at if again else at + 10
    return made


def send(device: Device, side: Side, sent: list[bytes]) -> None:
    """Send frames while the device works, until it has looked at all of them."""
    wanted = device.counters["packets"] + device._totals["packets"] + len(sent)
    for begin in range(0, len(sent), 100):
        side.send(sent[begin : begin + 100])
        device.work(time.time_ns())
    rounds(device, lambda: device.counters["packets"] + device._totals["packets"] >= wanted, f"{wanted} packets")


def luck_plainly(monitoring: Monitoring, number: int) -> int:
    """The draw of packet `number`, in whole numbers of Python."""
    mask = 2**64 - 1
    value = number * 0xD1342543DE82EF95 & mask ^ int(monitoring.seed)
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & mask
    value = (value ^ value >> 27) * 0x94D049BB133111EB & mask
    return (value ^ value >> 31) >> 32


def crossings_plainly(packets: PacketBatch, monitoring: Monitoring, serial: int = 0) -> Crossings:
    """What crosses a monitor, one packet after the other."""
    config, rows = monitoring.config, []
    a, b = HashSites(HOSTS).hosts_of(packets)
    keys, reverse = FLOW_HASH.keys(packets, config.key), FLOW_HASH.keys(packets, config.key, reverse=True)
    items = FLOW_HASH.keys(packets, monitoring.counts) if monitoring.counts else np.zeros(len(packets), np.uint64)
    for i in range(len(packets)):
        pair, back = f"{HOSTS[a[i]]}>{HOSTS[b[i]]}", f"{HOSTS[b[i]]}>{HOSTS[a[i]]}"
        tagged = config.code is not None and packets.dscp[i] & config.code.mask == config.code.value
        time_ns = packets.time_ns[i]
        if pair in config.watches:
            kind = TAGGED if tagged and pair in config.heeds_tag else PACKET
            luck = luck_plainly(monitoring, serial + i)
            rows.append((keys[i], kind, packets.ip_bytes[i], time_ns, luck, config.span.get(pair, 0), items[i]))
        if tagged and pair in config.heeds_reverse_tag:
            rows.append((reverse[i], SELECT, 0, time_ns, 0, config.span.get(back, 0), 0))
    types = np.uint64, np.uint8, np.uint32, np.int64, np.uint32, np.uint8, np.uint64
    return Crossings(*(np.array([r[i] for r in rows], kind) for i, kind in enumerate(types)))


def assert_same(left: Records, right: Records) -> None:
    """Two sets of records hold the same, in whatever order."""
    a, b = left[np.argsort(left.flow)], right[np.argsort(right.flow)]
    for name in Records.__dataclass_fields__:
        if name != "measured":
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert {k: v.tolist() for k, v in a.measured.items()} == {k: v.tolist() for k, v in b.measured.items()}


@needs_root
@pytest.mark.parametrize("mode", ["mozart", "recent", "none"])
@pytest.mark.parametrize(
    "changes",
    [
        {"memory_entries": 24},
        {"key": "src", "measure": "distinct-destinations"},
        {"watches": ALL_PAIRS[:7], "heeds_tag": ALL_PAIRS[3:9], "heeds_reverse_tag": ALL_PAIRS[:5]},
        {"heeds_tag": (), "heeds_reverse_tag": ALL_PAIRS, "code": Code(2, 3)},
    ],
)
def test_records_equal_those_of_a_table_fed_directly(tmp_path: Path, mode: str, changes: dict[str, Any]) -> None:
    config = configuration(mode=mode, probability=0.2, monitors=(monitor(**changes),), observations=str(tmp_path))
    with at_work(config) as (device, link, a, _):
        monitoring = device.modules.monitors["lossy"]
        send(device, a, frames(1500))
    packets, outgoing = read(tmp_path / "h1.packets")
    assert len(packets) == 1500 and not outgoing.any()
    table = Table(MODES[mode], monitoring.table.entries, MODES[mode].probability(0.2), type(monitoring.table.measure)())
    table.observe(crossings_plainly(packets, monitoring))
    assert len(link.reports) == 1 and len(table.records()) > 5
    assert_same(records_of(link.reports[0][1], "lossy"), table.records())


@needs_root
def test_selections_equal_those_of_a_selector_fed_directly(tmp_path: Path) -> None:
    parameters = {"threshold": 0.12, "min_packets": 5}
    watches = ALL_PAIRS[:8]
    wanted = selector(parameters=parameters, watches=watches, hold_s=0.05, code=None, tags_forward=False)
    with at_work(configuration(selectors=(wanted,), observations=str(tmp_path))) as (device, link, a, _):
        send(device, a, frames(3000))
    packets, _ = read(tmp_path / "h1.packets")
    sites = HashSites(HOSTS).hosts_of(packets)
    pairs = [f"{HOSTS[x]}>{HOSTS[y]}" for x, y in zip(*sites, strict=True)]
    where = np.where([p in watches for p in pairs], 0, -1).astype(np.int32)
    keys, nowhere = FLOW_HASH.keys(packets, "five-tuple"), np.full(len(packets), -1, np.int32)
    sightings = Sightings(packets, keys, where, np.zeros(len(packets), np.bool_), FLOW_HASH)
    true = Loss(1, 4096, **parameters).events(sightings)
    _, made = Selections(0.05, (0.0,)).select(keys, where, keys, nowhere, true, packets.time_ns)
    found = link.column("lossy/selector/flow"), link.column("lossy/selector/time_ns")
    assert len(made) > 20
    assert list(zip(*(c.tolist() for c in found), strict=True)) == [(int(keys[m.row]), m.time_ns) for m in made]
    rows = [m.row for m in made]
    for name in ("src", "dst", "src_port", "dst_port", "protocol"):
        np.testing.assert_array_equal(link.column(f"lossy/selector/{name}"), getattr(packets, name)[rows])
    assert link.total("selected") == len(made)


@needs_root
def test_epochs_are_cut_by_the_times_of_packets_and_close_without_any(tmp_path: Path) -> None:
    start = time.time_ns() + S  # by then the network is there
    config = configuration(
        epoch_start_ns=start, epoch_ns=S // 4, end_ns=start + S, mode="none", probability=1.0, monitors=(monitor(),),
        observations=str(tmp_path),
    )  # fmt: skip
    with at_work(config) as (device, link, a, _):
        sequence = iter(range(100_000))

        def worked() -> bool:
            a.send([tcp(i, next(sequence)) for i in range(20)])
            device.work(time.time_ns())
            return time.time_ns() > start + 3 * S // 5

        until(worked, "two epochs and more")
        rounds(device, lambda: link.reports and link.reports[-1][0]["final"], "the last report")
        a.send([tcp(1, 1)])
        rounds(device, lambda: time.time_ns() > start + 5 * S // 4, "the time after the end")
    headers = [header for header, _ in link.reports]
    assert [(h["epoch"], h["sequence"], h["final"]) for h in headers] == [(i, i, i == 3) for i in range(4)]
    cuts = [start + i * S // 4 for i in range(5)]
    assert [(h["start_ns"], h["end_ns"]) for h in headers] == list(itertools.pairwise(cuts))
    packets, _ = read(tmp_path / "h1.packets")
    crossed = np.array([a != b for a, b in zip(*HashSites(HOSTS).hosts_of(packets), strict=True)])
    for header, columns in link.reports:
        within = (packets.time_ns >= header["start_ns"]) & (packets.time_ns < header["end_ns"])
        assert header["counters"]["packets"] == within.sum()
        records = records_of(columns, "lossy")
        assert records.packets.sum() == (within & crossed).sum()
    assert packets.time_ns.min() >= start and headers[0]["counters"]["packets"] > 0 and headers[0]["gaps"] == []


@needs_root
def test_an_end_that_has_passed_when_it_is_heard_of_makes_the_last_report():
    config = configuration(epoch_ns=S // 20, monitors=(monitor(),))
    with at_work(config) as (device, link, a, _):
        send(device, a, [tcp(i, 1) for i in range(20)])
        rounds(device, lambda: len(link.reports) >= 3, "some epochs")
        end_ns = time.time_ns() - S // 10  # in an epoch that has been reported
        link.incoming.append(replace(config, revision=2, end_ns=end_ns))
        rounds(device, lambda: link.reports[-1][0]["final"], "the last report")
        known = len(link.reports)
        a.send([tcp(i, 1) for i in range(20)])
        later_ns = time.time_ns() + S // 5
        rounds(device, lambda: time.time_ns() > later_ns, "some epochs more")
    assert len(link.reports) == known and link.reports[-1][0]["end_ns"] == end_ns
    assert link.total("packets") == 20


@needs_root
def test_selections_stand_in_the_report_of_their_epoch_also_where_the_next_has_begun():
    start = time.time_ns() + S
    config = configuration(epoch_start_ns=start, epoch_ns=S // 4, end_ns=start + S, selectors=(selector(),))
    with at_work(config) as (device, link, a, _):
        rounds(device, lambda: time.time_ns() > start, "the first epoch")
        flows = iter(range(100_000))

        def worked() -> bool:
            flow = next(flows)
            a.send([tcp(flow, s) for s in (1000, 1010, 1000)])
            device.react(time.time_ns())  # what can wait waits for the next epoch's end at least
            return time.time_ns() > start + S

        until(worked, "the end of the run")
        rounds(device, lambda: link.reports and link.reports[-1][0]["final"], "the last report")
    assert [header["epoch"] for header, _ in link.reports] == [0, 1, 2, 3]
    for header, columns in link.reports:
        times = columns["lossy/selector/time_ns"]
        assert len(times) == header["counters"]["selected"] == header["tasks"]["lossy"]["selector"]["selections"] > 0
        assert ((times >= header["start_ns"]) & (times < header["end_ns"])).all()
        assert header["counters"]["packets"] > 0
    assert link.total("selected") == link.total("tags_installed")


@needs_root
def test_an_agent_that_comes_back_names_what_it_missed():
    start = time.time_ns() - 2 * S
    with veth_pair() as (_, b):
        link = MemoryLink(last=(41, start + S))
        device = Device(Place("h1", "host", b.interface, b.pid), link)
        link.incoming.append(configuration(epoch_start_ns=start, monitors=(monitor(),)))
        device.work(time.time_ns())
        device.close(time.time_ns())
    (header, _) = link.reports[0]
    assert header["sequence"] == 42 and header["gaps"][0][0] == start + S and header["start_ns"] == start + S
    assert start + S < header["gaps"][0][1] <= header["end_ns"] and link.states[-1]["state"] == "stopped"


@needs_root
def test_what_the_ring_dropped_is_in_the_report():
    with at_work(configuration(monitors=(monitor(),)), blocks=2, block_bytes=4096) as (device, link, a, _):
        for _ in range(10):
            a.send([tcp(1, i) for i in range(100)])
        rounds(device, lambda: not device.ring.ready, "the ring to be empty")
    counters = link.reports[0][0]["counters"]
    assert counters["packets"] + counters["kernel_drops"] == 1000
    assert counters["kernel_drops"] > 0 and counters["ring_losses"] > 0


@needs_root
def test_an_interface_that_goes_and_comes_is_a_gap_and_tags_are_put_again():
    config = configuration(selectors=(selector(),), monitors=(monitor(),))
    with at_work(config) as (device, link, a, b):
        run("ip", "-n", b.netns, "link", "del", b.interface)
        rounds(device, lambda: device.ring.lost, "the loss to be noticed")
        peer = ("peer", "name", a.interface, "netns", a.netns)
        run("ip", "-n", b.netns, "link", "add", b.interface, "type", "veth", *peer)
        for side in (a, b):
            run("ip", "-n", side.netns, "link", "set", side.interface, "up")
        rounds(device, lambda: not device.ring.lost, "the interface to be found again")
        before = device.counters["packets"]
        a.send([tcp(1, 1)])
        rounds(device, lambda: device.counters["packets"] > before, "a packet again")
        assert f'device "{b.interface}"' in b.run("nft", "list", "ruleset")
    (header, _) = link.reports[0]
    assert header["counters"]["interface_losses"] == 1
    away = header["gaps"][-1]  # before it: what was missed until the configuration came
    assert len(header["gaps"]) == 2 and header["start_ns"] < away[0] < away[1] <= header["end_ns"]


@needs_root
def test_a_selection_is_tagged_told_and_held_while_the_event_stays_true(tmp_path: Path) -> None:
    wanted = selector(
        hold_s=1.0, tells=dict.fromkeys(ALL_PAIRS, ("s7", "h1")), announces=dict.fromkeys(ALL_PAIRS, ("s9",))
    )  # fmt: skip
    config = configuration(selectors=(wanted,), monitors=(monitor(heeds_tag=()),), observations=str(tmp_path))
    with at_work(config) as (device, link, _, b):
        flow = next(f for f in range(100) if crosses(f))
        sequence = 0

        def dscps() -> list[int]:
            packets, _ = read(tmp_path / "h1.packets")
            return packets.dscp.tolist()

        def sends() -> bool:
            nonlocal sequence
            sequence += 1
            b.send([tcp(flow, 1000 + (sequence // 2) * 10)])  # every other segment is sent again
            device.work(time.time_ns())
            return time.time_ns() > end

        end = time.time_ns() + 5 * S // 2
        until(sends, "two and a half times the hold")
        device.close(time.time_ns())
        found = dscps()
        first = found.index(1)
        assert set(found[:first]) == {0} and set(found[first:]) == {1}  # without a break, although hold was over twice
    assert link.column("lossy/selector/flow").tolist() == FLOW_HASH.keys(batch_of(flow), "five-tuple").tolist()
    assert (link.column("lossy/selector/installed_ns") > link.column("lossy/selector/time_ns")).all()
    said = [(n.to, n.kind, n.span) for n in link.notices]
    assert said == [("s7", "select", 3), ("s9", "hint", 3)]
    assert link.total("messages_sent") == 3 and link.total("messages_received") == 1  # one to a monitor on this device
    records = records_of(link.reports[0][1], "lossy")
    assert records.selected.tolist() == [True] and records.pre_packets[0] == 0


def batch_of(flow: int) -> PacketBatch:
    """The columns of the flow number `flow` of `tcp`."""
    src = 0xFFFF << 32 | 10 << 24 | 1 << 16 | flow
    dst = 0xFFFF << 32 | 192 << 24 | 2 << 8 | 1
    return PacketBatch.of(src=[[0, src]], dst=[[0, dst]], src_port=[1000 + flow], dst_port=[80], protocol=[6])


def crosses(flow: int) -> bool:
    """Whether the flow number `flow` of `tcp` goes from one site to another."""
    a, b = HashSites(HOSTS).hosts_of(batch_of(flow))
    return bool(a[0] != b[0])


@needs_root
def test_a_delay_puts_off_the_tag_and_a_hold_that_is_over_is_late():
    delayed = selector(detection_delay_ms=300.0, tags_forward=False, code=None, tells=dict.fromkeys(ALL_PAIRS, ("s7",)))
    with at_work(configuration(selectors=(delayed,))) as (device, link, a, _):
        send(device, a, [tcp(i, s) for i in range(8) for s in (1000, 1010, 1000)])
        selected = device.counters["selected"]
        assert selected > 0 and link.notices == []
        rounds(device, lambda: len(link.notices) == selected, "the messages")
        assert all(time.time_ns() >= n.time_ns + 300_000_000 for n in link.notices)
    with at_work(configuration(selectors=(selector(hold_s=0.02),))) as (device, link, a, _):
        a.send([tcp(i, s) for i in range(8) for s in (1000, 1010, 1000)])
        over = time.time_ns() + S // 10
        until(lambda: time.time_ns() > over, "the hold to be over, with nobody looking")
        rounds(device, lambda: device.counters["selected"] == selected, "the packets")
        assert device.counters["late_selections"] == selected and device.modules.selectors["lossy"].tags_in_force == 0


@needs_root
def test_messages_select_and_hint_and_what_is_late_or_for_nobody_is_counted():
    with at_work(configuration(mode="recent", epoch_ns=S // 2 * 10, monitors=(monitor(),))) as (device, link, a, _):
        send(device, a, [tcp(i, 1000) for i in range(10)])
        rounds(device, lambda: device._filled == 0, "the monitors to have them")
        known = device.modules.monitors["lossy"].records()
        assert len(known) == 0  # the mode reports what was selected or announced
        keys = device.modules.monitors["lossy"].table.fp
        key = int(keys[keys > 0][0])
        now = time.time_ns()
        told = Told("lossy", key, now, "hint", 2, now), Told("lossy", 77, now, "select", 2, now)
        unusable = Told("lossy", 78, now - 6 * S, "select", 2, now), Told("nobody", 79, now, "hint", 1, now)
        link.incoming += [*told, *unusable]
        device.work(time.time_ns())
        send(device, a, [tcp(1, 1010)])
    counters = link.reports[0][0]["counters"]
    assert (counters["messages_received"], counters["messages_late"], counters["messages_malformed"]) == (4, 1, 1)
    assert sorted(records_of(link.reports[0][1], "lossy").flow.tolist()) == sorted([key, 77])


@needs_root
def test_a_new_configuration_keeps_the_state_of_what_it_does_not_change():
    selects = selector("a", code=None, tags_forward=False)
    first = configuration(mode="none", probability=1.0, selectors=(selects,), monitors=(monitor("a"), monitor("b")))
    with at_work(first) as (device, link, a, _):
        kept = device.modules
        send(device, a, [tcp(i, 1000) for i in range(20)])
        second = DeviceConfig(
            **{
                **vars(first), "revision": 2, "selectors": (selector("a", code=None, tags_forward=False, watches=()),),
                "monitors": (monitor("a", watches=ALL_PAIRS[:2]), monitor("c")),
            }
        )  # fmt: skip
        link.incoming.append(second)
        device.work(time.time_ns())
        assert (
            device.modules.selectors["a"] is kept.selectors["a"] and device.modules.monitors["a"] is kept.monitors["a"]
        )
        going, columns = link.reports[0]
        assert set(going["tasks"]) == {"b"} and going["counters"]["packets"] == 0
        assert len(records_of(columns, "b")) == len(device.modules.monitors["a"].table.occupied()) > 5
        link.incoming.append(first)  # an older revision, late
        link.incoming.append(DeviceConfig(**{**vars(second), "revision": 3, "mode": "nosuch"}))
        device.work(time.time_ns())
        assert device.config is second and "nosuch" in link.states[-1]["refused"]
        assert device.counters["messages_malformed"] == 1
    assert set(link.reports[1][0]["tasks"]) == {"a", "c"} and link.total("packets") == 20


@needs_root
def test_a_batch_that_fills_up_loses_nothing():
    config = configuration(mode="none", probability=1.0, monitors=(monitor(),))
    with at_work(config, blocks=2048) as (device, link, a, _):
        flows = [tcp(i % 7, i) for i in range(500)]
        for _ in range(-(-BATCH_PACKETS // 500) + 4):
            a.send(flows)
        total = 500 * (-(-BATCH_PACKETS // 500) + 4)
        rounds(device, lambda: device.counters["packets"] == total, f"{total} packets")
    assert link.total("kernel_drops") == 0
    sent = sum(1 for i in range(500) if crosses(i % 7)) * (total // 500)
    assert records_of(link.reports[0][1], "lossy").packets.sum() == sent


@needs_root
def test_stats_say_how_it_goes():
    with at_work(configuration(monitors=(monitor(),))) as (device, link, a, _):
        send(device, a, [tcp(1, 1)] * 10)
        rounds(device, lambda: len(link.said) > 1, "a second to pass")
    assert link.said[-1]["packets"] == 10 and link.said[-1]["memory_bytes"] > 4 << 20
    assert {"time_ns", "kernel_drops", "selected", "tagged", "cpu_percent"} <= set(link.said[-1])


def test_pairs_by_prefix_and_by_hash_are_those_of_a_replay():
    rng = np.random.default_rng(2)
    addresses = (rng.integers(0, 2**32, (2, 500)) | 0xFFFF << 32).astype(np.uint64)
    words = [np.stack([np.zeros(500, np.uint64), a], axis=1) for a in addresses]
    batch = PacketBatch.of(src=words[0], dst=words[1])
    prefixes = {"h1": ("0.0.0.0/2",), "h2": ("64.0.0.0/2",), "h3": ("128.0.0.0/3",)}
    for config, sites in (
        (configuration(), HashSites(HOSTS)),
        (configuration(map="prefix", prefixes=prefixes), PrefixSites(HOSTS, prefixes)),
    ):
        pairs, column = Pairs(config), np.empty(500, np.int32)
        pairs.write(batch, column)
        for number, a, b in zip(column, *sites.hosts_of(batch), strict=True):
            inside = a >= 0 and b >= 0 and a != b
            assert pairs.name(int(number)) == f"{HOSTS[a]}>{HOSTS[b]}" if inside else number == pairs.none
    with pytest.raises(BusError, match="no pair 'h1>h9'"):
        pairs.number("h1>h9")
    with pytest.raises(BusError, match="no map 'guess'"):
        Pairs(configuration(map="guess"))


def test_explicit_messages_are_checked():
    good = b'{"version": 1, "task": "t", "key": "18446744073709551615", "time_ns": 5, "kind": "hint", "span": 3}'
    assert told_of(good, 9) == Told("t", 2**64 - 1, 5, "hint", 3, 9)
    for bad in (
        b"", b"[]", b"null", b"{", good.replace(b"hint", b"shout"), good.replace(b"18446744073709551615", b"0"),
        good.replace(b"18446744073709551615", b"18446744073709551616"), good.replace(b'"span": 3', b'"span": null'),
    ):  # fmt: skip
        with pytest.raises(BusError, match="not an explicit message"):
            told_of(bad, 0)


def test_observations_come_back_and_a_torn_record_is_left_out(tmp_path: Path) -> None:
    packets = batch_of(3)
    log = Observed(tmp_path, "s1")
    log.add(packets, np.array([1], np.uint8))
    log.close()
    with (tmp_path / "s1.packets").open("ab") as file:
        file.write(bytes(RECORD.itemsize // 2))
    log = Observed(tmp_path, "s1")
    log.add(packets, np.array([0], np.uint8))
    log.close()
    found, outgoing = read(tmp_path / "s1.packets")
    assert outgoing.tolist() == [1, 0] and found.src_port.tolist() == [1003, 1003]
    with pytest.raises(LiveError, match="no observations in"):
        read(tmp_path / "s2.packets")


def test_the_file_of_devices_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "devices.json"
    path.write_text('[{"device": "h1", "kind": "host", "interface": "h1-eth0", "netns_pid": 12}]')
    assert read_places(path) == [Place("h1", "host", "h1-eth0", 12)]
    for text, what in (
        ("[]", "names no device"), ("{", "not a list"), ("[3]", "not a list"),
        ('[{"device": "h1"}]', "h1 lacks kind, interface"),
        ('[{"device": "s1", "kind": "switch", "interface": "s1-mon"}]', "needs 'management'"),
        ('[{"device": "x", "kind": "router", "interface": "x"}]', "a switch or a host, not 'router'"),
        ('[{"device": "h1", "kind": "host", "interface": "x", "colour": 1}]', "no such keys: colour"),
        ('[{"device": "h1", "kind": "host", "interface": "a\\" drop; b"}]', "interface .* is no name"),
        ('[{"device": "h1", "kind": "host", "interface": "-x"}]', "interface '-x' is no name"),
        ('[{"device": "h1", "kind": "host", "interface": 3}]', "interface 3 is no name"),
        ('[{"device": "../h1", "kind": "host", "interface": "x"}]', "device '../h1' is no name"),
        ('[{"device": "h1/+", "kind": "host", "interface": "x"}]', "device 'h1/[+]' is no name"),
        ('[{"device": "h1", "kind": "host", "interface": "x", "netns_pid": "1/../2"}]', "netns_pid must be a whole"),
        ('[{"device": "h1", "kind": "host", "interface": "x", "netns_pid": true}]', "netns_pid must be a whole"),
        ('[{"device": "h1", "kind": "host", "interface": "x", "blocks": 1e9}]', "blocks must be a whole number from 1"),
        ('[{"device": "s1", "kind": "switch", "interface": "x", "management": "/a\\u0000b"}]', "no path of a socket"),
        ('[{"device": "s1", "kind": "switch", "interface": "x", "management": "a", "bridge": "--x"}]', "bridge '--x'"),
        ('[{"device": "h1", "kind": "host", "interface": "x"}, {"device": "h1", "kind": "host", "interface": "y"}]',
         "names h1 more than once"),
        ("[" * 100_000, "not a list"), ('{"device": "h1"}', "must be a JSON list"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(LiveError, match=what):
            read_places(path)


def test_what_a_message_tells_is_in_the_table_as_said():
    config = configuration(probability=1.0, monitors=(monitor(),))
    made = Monitoring(config.monitors[0], config, Pairs(config))
    made.tell(5, "select", 300, 10)
    nothing, pair, key = PacketBatch.empty(0), np.empty(0, np.int32), np.empty(0, np.uint64)
    made.take(nothing, pair, key, key, key, 0, 10)
    assert len(made.records()) == 0  # not before its time
    made.take(nothing, pair, key, key, key, 0, 11)
    assert made.records().flow.tolist() == [5] and made.records().selected_ns.tolist() == [10]
