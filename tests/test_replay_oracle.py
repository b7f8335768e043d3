"""`mozart replay` against the oracle: equal rows and located links, for all channels, selectors and modes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mozart.errors import SpecError
from mozart.replay import run
from mozart.replay.placed import Placed
from mozart.replay.vocabulary import load
from mozart.tasks import Spec
from mozart.tests import oracle
from mozart.tests.flow_rules import flows_add_up, same_flows
from mozart.topologies.topology import Topology
from mozart.traces.packets import PacketBatch, address_words
from mozart.traces.writer import PcapWriter

MODES = tuple(oracle.MODE_TRAITS)
S = 10**9
TABLE_OF_ANY_SIZE = 4096


def world(tasks: Sequence[dict[str, Any]], topology: dict[str, Any], **other: Any) -> dict[str, Any]:
    """A task file; its packets are what the tests hand in."""
    named = [{"name": f"task-{i}", **task} for i, task in enumerate(tasks)]
    return {"topology": topology, "traffic": {"trace": "packets.pcap"}, "tasks": named, **other}


def batches_of(batch: PacketBatch, size: int) -> Iterator[PacketBatch]:
    """Cut packets into batches of a size."""
    for begin in range(0, len(batch), size):
        yield batch[begin : begin + size]


def replayed(
    monkeypatch: pytest.MonkeyPatch,
    spec: dict[str, Any],
    batch: PacketBatch,
    size: int = 1 << 20,
    **options: Any,
) -> Any:
    """Replay packets that come in batches of a size."""
    monkeypatch.setattr(run, "_open", lambda plan: (batches_of(batch, size), nullcontext()))
    return run.replay(load(spec), **options)


def random_packets(seed: int, packets: int, duration_s: float = 20, hosts: int = 14) -> PacketBatch:
    """Packets of all sorts, in time order and with ties: lossy TCP, scans, SYNs, bulk."""
    rng = np.random.default_rng(seed)
    address = np.array([address_words(f"192.0.2.{i + 1}") for i in range(hosts)], np.uint64)
    kind = rng.choice(5, packets, p=[0.45, 0.2, 0.1, 0.15, 0.1])
    flow = rng.integers(0, 12, packets)
    flow_src, flow_dst = rng.integers(0, hosts, 12), rng.integers(0, hosts, 12)
    port = rng.integers(1024, 1030, packets)
    src, dst = rng.integers(0, hosts, packets), rng.integers(0, hosts, packets)
    lossy = kind == 0
    answers = lossy & (rng.random(packets) < 0.3)
    src[lossy], dst[lossy] = flow_src[flow[lossy]], flow_dst[flow[lossy]]
    src[answers], dst[answers] = dst[answers], src[answers]
    src_port, dst_port = port.copy(), np.full(packets, 443)
    src_port[lossy], dst_port[lossy] = 2000 + flow[lossy], 80
    src_port[answers], dst_port[answers] = dst_port[answers], src_port[answers]
    dst_port[kind == 1] = rng.choice([22, 23, 445], int((kind == 1).sum()))
    src[kind == 1] = rng.integers(0, 3, int((kind == 1).sum()))
    protocol = np.where(kind == 2, 17, 6)
    payload = rng.choice([0, 10, 1000], packets)
    flags = rng.choice([16, 24, 17, 4, 18], packets)
    flags[kind == 3] = rng.choice([2, 2, 2, 16, 18], int((kind == 3).sum()))
    flags[kind == 1] = rng.choice([2, 2, 2, 16, 18], int((kind == 1).sum()))
    dst[kind == 3] = rng.integers(0, 2, int((kind == 3).sum()))
    time_ns = np.sort(rng.integers(0, int(duration_s * S), packets) // 1000 * 1000)
    ties = rng.random(packets) < 0.2
    time_ns[1:][ties[1:]] = time_ns[:-1][ties[1:]]
    sequence = np.arange(packets) * 300 + rng.integers(0, 600, packets) + 2**32 - 9000
    return PacketBatch.of(
        time_ns=np.sort(time_ns) + 1_600_000_000 * S,
        src=address[src],
        dst=address[dst],
        src_port=src_port,
        dst_port=dst_port,
        protocol=protocol,
        ip_bytes=payload + 40,
        payload_bytes=payload,
        tcp_flags=np.where(protocol == 6, flags, 0),
        tcp_seq=np.where(protocol == 6, sequence % 2**32, 0),
    )


def assert_equal(spec: dict[str, Any], batch: PacketBatch, result: Any, **options: Any) -> list[dict[str, Any]]:
    """Compare rows, located links and flows with the oracle's; returns the oracle's rows."""
    tasks = oracle.run(
        load(spec),
        batch,
        options.get("mode", MODES),
        options.get("memory"),
        options.get("detection_delay_ms"),
    )
    rows, links = [row for task in tasks for row in task.rows()], [found for task in tasks for found in task.located()]
    assert len(result.rows) == len(rows)
    for mine, expected in zip(result.rows, rows, strict=True):
        error = mine["volume_error"], expected["volume_error"]
        assert error[0] == error[1] or error[0] == pytest.approx(error[1], rel=1e-9)
        not_compared = {"floor_ratio": mine["floor_ratio"], "volume_error": error[0]}
        assert mine == {**expected, **not_compared}
        if expected["memory_entries"] >= TABLE_OF_ANY_SIZE:
            assert mine["floor_ratio"] in (0, None)
    assert result.located_links == links
    flows = [row for task in tasks for row in task.flow_rows]
    if options.get("all_records"):
        flows += [row for task in tasks for row in task.unselected_rows]
    same_flows(result.flows, flows)
    flows_add_up(result.flows, rows)
    return rows


B4, LINE, LEAVES = {"name": "b4"}, {"name": "line", "n": 4}, {"name": "leaf-spine", "leaves": 3, "spines": 3}
SWITCHES = {"monitor": {"measure": "volume", "at": "path-switches"}}


def task(event: str, at: Any, monitor_at: Any, measure: str = "volume", **parameters: Any) -> dict[str, Any]:
    """One task of a task file."""
    return {
        "selector": {"event": event, "at": at, **parameters},
        "monitor": {"measure": measure, "at": monitor_at},
    }


LOSSY: dict[str, Any] = {"threshold": 0.05, "min_packets": 5}
LOSS_ON_PATH = task("loss", "source-host", "path-switches", **LOSSY)
SCANS = task("port-scan", "egress-switch", "ingress-switch", "distinct-destinations", threshold=4, window_s=3)
ELEPHANTS = task("elephant", "ecmp-switch", "ecmp-peers", threshold_mbps=0.005, key="src+dst")
FLOODS = task("syn-flood", "ingress-switch", "egress-switch", "distinct-sources", threshold=3, hold_s=2)
LISTS = task("elephant", ["s2", "s4"], ["s1", "s3", "h2", "s5"], threshold_mbps=0.005, hold_s=2)
SHORT = {"sampling": {"probability": 0.2, "epoch_s": 7}}

WORLDS: dict[str, tuple[dict[str, Any], dict[str, Any], set[str]]] = {
    # what it shows: (task file, options, channels of the first task)
    "tags": (world([LOSS_ON_PATH], B4, **SHORT), {}, {"tag"}),
    "hold ends": (
        world([task("loss", "source-host", "path-switches", hold_s=0.5, **LOSSY)], LINE, **SHORT),
        {},
        {"tag"},
    ),
    "delays": (
        world([task("loss", "source-host", "path-switches", hold_s=3, **LOSSY)], B4, **SHORT),
        {"detection_delay_ms": [0, 1.001, 4000], "memory": [TABLE_OF_ANY_SIZE]},
        {"tag"},
    ),
    "tags both ways": (
        world([task("loss", "egress-switch", "path-switches", hold_s=2, **LOSSY)], LINE, **SHORT),
        {},
        {"tag", "reverse tag"},
    ),
    "reverse tags": (world([SCANS], B4, **SHORT), {}, {"reverse tag"}),
    "messages": (
        world([ELEPHANTS], LEAVES, sampling={"probability": 0.05, "epoch_s": 7}),
        {"detection_delay_ms": [0, 2.3]},
        {"message", "tag"},
    ),
    "floods": (world([FLOODS], B4, **SHORT), {}, {"tag"}),
    "device lists": (world([LISTS], B4, **SHORT), {}, {"message", "reverse tag", "tag"}),
    "drops": (world([LOSS_ON_PATH], LINE, loss={"s2-s3": 0.1, "h1-s1": 0.02}, **SHORT), {}, {"tag"}),
    "drops seen late": (
        world(
            [task("loss", "ingress-switch", "path-switches", hold_s=3, **LOSSY)],
            LINE,
            loss={"s2-s3": 0.1},
            **SHORT,
        ),
        {},
        {"tag"},
    ),
    "no sampling": (world([LOSS_ON_PATH], LINE, sampling={"probability": 0, "epoch_s": 7}), {}, {"tag"}),
    "all sampled": (world([LOSS_ON_PATH], LINE, sampling={"probability": 1, "epoch_s": 7}), {}, {"tag"}),
    "one path": (world([LOSS_ON_PATH], {**LEAVES, "ecmp": "none"}, **SHORT), {}, {"tag"}),
    "fast": (
        world([LOSS_ON_PATH], LINE, traffic={"trace": "packets.pcap", "speed": 3.7}, seed=5, **SHORT),
        {},
        {"tag"},
    ),
    "prefixes": (
        world(
            [LOSS_ON_PATH],
            LINE,
            traffic={
                "trace": "packets.pcap",
                "map": "prefix",
                "prefixes": {
                    "h1": "192.0.2.0/28",
                    "h2": "192.0.2.4/30",
                    "h4": ["192.0.2.1/32", "192.0.2.8/30"],
                },
            },
            **SHORT,
        ),
        {},
        {"tag"},
    ),
    "three tasks": (
        world([LOSS_ON_PATH, SCANS, ELEPHANTS], B4, loss={"s2-s5": 0.05, "s3-s6": 0.3}),
        {"memory": [TABLE_OF_ANY_SIZE, 2]},
        {"tag"},
    ),
}


def everywhere(spec: Spec, topology: Topology, algorithm: str) -> Placed:
    """Stands in for the placement: modules on all devices of a list, as the oracle has them."""
    return Placed(algorithm, "optimal", {task.name: (task.selector.at, task.monitor.at) for task in spec.tasks}, {})


@pytest.mark.parametrize("name", WORLDS)
def test_a_random_trace_gives_the_rows_of_the_oracle(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, given, channels = WORLDS[name]
    if name == "device lists":
        monkeypatch.setattr(run, "place_tasks", everywhere)
        # hosts and switches beside each other, which no placement chooses from
        monkeypatch.setattr(run, "network_of", lambda spec: oracle.load(spec.topology.name, **spec.topology.options))
    options = {"memory": [TABLE_OF_ANY_SIZE, 8, 3], "all_records": True, **given}
    batch = random_packets(seed=len(name), packets=900)
    result = replayed(monkeypatch, spec, batch, **options)
    rows = assert_equal(spec, batch, result, **options)
    assert set(result.placement["task-0"]["channels"]) == channels
    assert rows[0]["selected_flows"] > 0
    assert sum(result.trace["skipped"].values()) < len(batch) / 2


# by hand: one flow from h1 to h4 of a line, packets of 100 bytes


def flow_of(times_ms: Sequence[float], flow: int = 1, **columns: Any) -> PacketBatch:
    """Packets of 100 bytes, all of one flow; each is a retransmission of the first, unless said."""
    n = len(times_ms)
    return PacketBatch.of(
        time_ns=np.round(np.array(times_ms) * 1e6).astype(np.int64) + S,
        src=[address_words("10.0.0.1")] * n,
        dst=[address_words("10.0.4.1")] * n,
        dst_port=np.full(n, 80),
        **{
            "src_port": np.full(n, flow),
            "protocol": np.full(n, 6),
            "ip_bytes": np.full(n, 100),
            "payload_bytes": np.full(n, 60),
            "tcp_flags": np.full(n, 16),
            "tcp_seq": np.full(n, 7),
            **columns,
        },
    )


BY_PREFIX = {
    "trace": "packets.pcap",
    "map": "prefix",
    "prefixes": {f"h{i}": f"10.0.{i - 1 if i == 1 else i}.0/24" for i in (1, 2, 3, 4)},
}


def hand(monkeypatch: pytest.MonkeyPatch, batch: PacketBatch, selector: dict[str, Any], **other: Any) -> dict[str, Any]:
    """Replay a flow over a line with monitors at all its switches; returns the row of each mode by name."""
    tasks = [{"selector": {"event": "loss", "at": "source-host", **selector}, **SWITCHES}]
    spec = world(tasks, LINE, traffic=BY_PREFIX, **{"sampling": {"probability": 0}, **other})
    result = replayed(monkeypatch, spec, batch, memory=[TABLE_OF_ANY_SIZE])
    assert_equal(spec, batch, result, memory=[TABLE_OF_ANY_SIZE])
    return {row["mode"]: row for row in result.rows}


THIRD = {"threshold": 0.5, "min_packets": 3}
"""The event is true at the third packet (two of three are retransmissions)."""


def test_the_packet_that_completes_the_event_is_the_last_untagged_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = hand(monkeypatch, flow_of([0, 1, 2, 3, 4]), THIRD)["tag"]
    assert (row["selected_flows"], row["captured_flows"]) == (1, 1)
    assert (row["captured_bytes"], row["pre_event_bytes"]) == (4 * 2 * 100, 4 * 3 * 100)


def test_packets_of_the_same_nanosecond_are_tagged_when_they_come_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = hand(monkeypatch, flow_of([0, 0, 0, 0, 0]), THIRD)["tag"]
    assert (row["captured_bytes"], row["pre_event_bytes"]) == (4 * 2 * 100, 4 * 3 * 100)


@pytest.mark.parametrize(("last_ms", "tagged"), [(3.001, 1), (3.000999, 0), (3.001001, 1)])
def test_a_detection_delay_holds_to_the_nanosecond(
    last_ms: float, tagged: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = hand(monkeypatch, flow_of([0, 1, 2, last_ms]), {**THIRD, "detection_delay_ms": 1.001})["tag"]
    assert row["captured_bytes"] == tagged * 4 * 100
    assert row["unreachable_flows"] == 1 - tagged


@pytest.mark.parametrize(("last_ms", "tagged"), [(1002.0, 1), (1002.000001, 0)])
def test_a_selection_ends_when_its_hold_is_over(last_ms: float, tagged: int, monkeypatch: pytest.MonkeyPatch) -> None:
    row = hand(monkeypatch, flow_of([0, 1, 2, last_ms]), {**THIRD, "hold_s": 1})["tag"]
    assert row["captured_bytes"] == tagged * 4 * 100
    assert row["pre_event_bytes"] == tagged * 4 * 3 * 100


def test_a_selection_whose_hold_is_over_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # true at the third packet, and again at the fifth, which the first hold does not reach
    rows = hand(
        monkeypatch,
        flow_of([0, 1, 2, 3, 5000, 5001]),
        {**THIRD, "hold_s": 1},
        sampling={"probability": 0, "epoch_s": 4},
    )
    assert rows["tag"]["selected_flows"] == 1
    assert rows["tag"]["captured_bytes"] == 4 * 2 * 100  # the fourth and the sixth packet


def test_a_flow_that_sends_nothing_more_is_reached_by_the_message_of_recent_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = hand(monkeypatch, flow_of([0, 1, 2]), THIRD, sampling={"probability": 1})
    assert {name: row["unreachable_flows"] for name, row in rows.items()} == dict.fromkeys(MODES, 1)
    captured = {name: row["unreachable_captured_flows"] for name, row in rows.items()}
    assert captured == {"none": 1, "tag": 0, "two-mode": 0, "mozart": 0, "recent": 1}


def test_the_selector_tells_all_of_the_path_also_when_a_link_drops_the_packet_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of three packets the third, which completes the event, is dropped between s2 and s3."""
    chances = [0.0, 0.0, 0.5, 0.0, 0.0]
    wanted = [None, None, 2]
    seed = next(s for s in range(99) if [oracle.dropped_after(i, s, chances) for i in range(3)] == wanted)
    rows = hand(monkeypatch, flow_of([0, 1, 2]), THIRD, sampling={"probability": 1}, loss={"s2-s3": 0.5}, seed=seed)
    assert rows["mozart"]["unreachable_captured_flows"] == 0
    assert rows["recent"]["unreachable_captured_flows"] == 1


def test_what_comes_after_a_selection_ended_is_not_pre_event(monkeypatch: pytest.MonkeyPatch) -> None:
    good: dict[str, Any] = {
        "tcp_seq": np.array([7, 7, 7, 8, 100, 200]),
        "payload_bytes": np.array([60, 60, 60, 0, 0, 0]),
    }
    rows = hand(
        monkeypatch,
        flow_of([0, 1, 2, 3, 5000, 5001], **good),
        {"threshold": 0.6, "min_packets": 3, "hold_s": 1},
    )
    assert rows["tag"]["pre_event_bytes"] == 4 * 3 * 100
    assert rows["tag"]["pre_event_captured_bytes"] == 0


@pytest.mark.parametrize(
    ("second_s", "hold_s", "delay_ms", "captured"),
    [
        (6, 30, 0, True),
        (10, 30, 0, True),
        (7.000001, 30, 0, False),  # the message of the new epoch is on its way
        (10, 30, 8000, True),  # so is the first one still when the epoch begins
        (29, 30, 0, True),  # epochs without packets lie between
        (29, 20, 0, False),  # the selection is over
        (29, 20, 8000, False),  # and the message that came between is forgotten
    ],
)
def test_a_monitor_beside_the_path_is_told_again_when_an_epoch_begins(
    second_s: float, hold_s: float, delay_ms: float, captured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pair of hosts is selected on one spine; later its packets take another one."""
    selector = {"event": "elephant", "at": "ecmp-switch", "key": "src+dst", "threshold_mbps": 0.005, "hold_s": hold_s}
    tasks = [{"selector": selector, "monitor": {"measure": "volume", "at": "ecmp-peers"}}]
    spec = world(tasks, LEAVES, sampling={"probability": 0, "epoch_s": 7})
    trial = flow_of([0] * 40, src_port=np.arange(40))
    packets = oracle.routed_packets(load(spec), oracle.load("leaf-spine", leaves=3, spines=3), trial)
    spines = [packet.path.devices[2] for packet in packets if packet.path]
    other = next(port for port, spine in enumerate(spines) if spine != spines[0])
    batch = flow_of([0, second_s * 1000], src_port=[0, other], ip_bytes=[1500, 41])
    options: dict[str, Any] = {"mode": ["tag"], "memory": [TABLE_OF_ANY_SIZE], "detection_delay_ms": [delay_ms]}
    result = replayed(monkeypatch, spec, batch, **options)
    (row,) = assert_equal(spec, batch, result, **options)
    assert row["captured_bytes"] == (41 if captured else 0)


# determinism


@pytest.mark.parametrize("size", [3, 200])
@pytest.mark.parametrize("name", ["drops seen late", "messages", "hold ends"])
def test_the_batches_of_the_source_make_no_difference(name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, given, _ = WORLDS[name]
    batch = random_packets(seed=3, packets=500)
    options = {"memory": [TABLE_OF_ANY_SIZE, 3], **given}
    whole, cut = (replayed(monkeypatch, spec, batch, size=n, **options) for n in (len(batch), size))
    for part in ("rows", "located_links", "trace"):
        assert json.dumps(getattr(whole, part)) == json.dumps(getattr(cut, part))


def test_the_seed_decides_all_that_is_random(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, options, _ = WORLDS["drops"]
    batch = random_packets(seed=4, packets=1500)
    one, two, other = (replayed(monkeypatch, spec, batch, seed=seed, **options) for seed in (1, 1, 2))
    assert json.dumps(one.rows) == json.dumps(two.rows)
    assert json.dumps(one.rows) != json.dumps(other.rows)


def test_a_trace_file_gives_the_same_as_its_packets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, options, _ = WORLDS["tags both ways"]
    batch = random_packets(seed=6, packets=500)
    with PcapWriter(tmp_path / "packets.pcap.gz") as writer:
        writer.write(batch)
    from_file = run.replay(load(spec), trace=tmp_path / "packets.pcap.gz", **options)
    assert json.dumps(from_file.rows) == json.dumps(replayed(monkeypatch, spec, batch, **options).rows)


# input that cannot be used

ONE_TASK = world([LOSS_ON_PATH], LINE)
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "unknown mode": (ONE_TASK, {"mode": ["mozart", "bach"]}, "no mode 'bach'; there are none, tag"),
    "no memory": (ONE_TASK, {"memory": [64, 0]}, "memory must be a whole number from 1 to 1,073,741,824"),
    "a delay before the event": (
        ONE_TASK,
        {"detection_delay_ms": [-1]},
        "detection_delay_ms must be a number from 0 to",
    ),
    "nine delays": (ONE_TASK, {"detection_delay_ms": range(9)}, "detection_delay_ms: 8 can stand side by side, not 9"),
    "sampling twice": (ONE_TASK, {"probability": 2}, "probability must be a number from 0 to 1"),
    "loss of more than all": (ONE_TASK, {"loss": {"s1-s2": 1.1}}, "loss of s1-s2 must be a number from 0 to 1"),
    "loss without links": (ONE_TASK, {"loss": 0.1}, "loss must give a probability for each link"),
    "memory in words": (ONE_TASK, {"memory": "much"}, "memory must be a whole number"),
    "too much memory": (ONE_TASK, {"memory": 10**11}, "memory must be a whole number from 1 to 1,073,741,824"),
    "an endless delay": (ONE_TASK, {"detection_delay_ms": 1e300}, "detection_delay_ms must be a number"),
    "a seed below 0": (ONE_TASK, {"seed": -1}, "seed must be a whole number"),
    "a trace that is none": (ONE_TASK, {"trace": 5}, "trace must be a file or a list of files, not 5"),
    "synthetic traffic of no kind": (
        {**ONE_TASK, "traffic": {"synthetic": "x"}},
        {},
        "traffic.synthetic: must be one of caida-like",
    ),
    "a window of ages": (
        world([task("port-scan", "egress-switch", "ingress-switch", "volume", threshold=4, window_s=1e30)], LINE),
        {},
        "window_s: must be a number above 0 and at most",
    ),
    "no traffic": ({**ONE_TASK, "traffic": {}}, {}, "no traffic: name a trace"),
    "unknown link": (
        ONE_TASK,
        {"loss": {"s1-s4": 0.1}},
        "names the link s1-s4, and line has no such link; it has",
    ),
    "unknown link in the file": ({**ONE_TASK, "loss": {"s1-s9": 0.1}}, {}, "loss.s1-s9: line has no such link; it has"),
    "no equal-cost paths": (
        world([ELEPHANTS], LINE),
        {},
        "no path of line has a device for the selector at ecmp",
    ),
    "two keys": (
        world([{**LOSS_ON_PATH, "monitor": {"measure": "volume", "at": "path-switches", "key": "src"}}], LINE),
        {},
        "monitor.key: must be five-tuple as selector.key is, not src",
    ),
    "a host that is not there": (
        world([LOSS_ON_PATH], LINE, traffic={"trace": "x", "map": "prefix", "prefixes": {"h9": "10.0.0.0/8"}}),
        {},
        "traffic.prefixes.h9: line has no such host; it has h1",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_input_that_cannot_be_used_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, options, message = REFUSED[name]
    with pytest.raises(SpecError, match=re.escape(message)):
        replayed(monkeypatch, spec, flow_of([0]), **options)
