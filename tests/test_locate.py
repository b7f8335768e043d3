"""Where packets are lost: monitors along a path compared, by hand and through a whole replay."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from mozart.monitors.modes import MODES
from mozart.monitors.records import Records
from mozart.monitors.table import Crossings, Table
from mozart.monitors.table_kernels import PACKET, TAGGED
from mozart.replay import run
from mozart.replay.locate import LinkLoss, compare, hops_between, learn_truth, located
from mozart.replay.routes import Routes
from mozart.replay.truth import Losses, Selected
from mozart.replay.vocabulary import load
from mozart.topologies.catalogue import load as load_topology
from mozart.traces.packets import PacketBatch, address_words

LINE = load_topology("line,n=3")
ROUTES = Routes(LINE)
LINKS = [link.name for link in LINE.links]
MONITORS = ("s1", "s2", "s3")
HOPS = hops_between(MONITORS, ROUTES, [{0, 1, 2}] * ROUTES.whole)
S12, S23, HOST = LINKS.index("s1-s2"), LINKS.index("s2-s3"), LINKS.index("h1-s1")
FLOWS = np.array([101, 102, 103], np.uint64)
"""Keys of three flows by number."""


def path(devices: str) -> int:
    return next(i for i, r in enumerate(ROUTES.all[: ROUTES.whole]) if r.devices == tuple(devices.split()))


THERE, BACK, SHORT = path("h1 s1 s2 s3 h3"), path("h3 s3 s2 s1 h1"), path("h1 s1 s2 h2")


def report(untagged: dict[int, int], tagged: dict[int, int], mode: str = "mozart") -> Records:
    """The report of a monitor that saw so many packets of each flow, the tagged ones last."""
    keys = [FLOWS[f] for counts in (untagged, tagged) for f, n in counts.items() for _ in range(n)]
    kinds = [PACKET] * sum(untagged.values()) + [TAGGED] * sum(tagged.values())
    n = len(keys)
    table = Table(MODES[mode], 64, 1.0)
    zero = np.zeros(n, np.uint32)
    table.observe(
        Crossings(
            np.array(keys, np.uint64),
            np.array(kinds, np.uint8),
            zero + 100,
            np.arange(n),
            zero,
            np.ones(n, np.uint8),
            np.zeros(0, np.uint64),
        )
    )
    return table.records()


def compared(
    records: list[Records],
    paths: list[int],
    reports_all: bool = False,
    some: Any = (0, 1, 2),
    complete: Any = (False, False, False),
    hops: Any = HOPS,
) -> LinkLoss:
    found = LinkLoss(len(LINKS))
    selected = Selected(np.array(some, np.int32), FLOWS)
    compare(found, records, complete, selected, hops, np.array(paths), reports_all)
    return found


def test_a_hop_is_a_link_between_two_monitors_in_one_direction() -> None:
    directions = {(MONITORS[h.before], MONITORS[h.behind], LINKS[h.link]) for h in HOPS}
    assert directions == {("s1", "s2", "s1-s2"), ("s2", "s1", "s1-s2"), ("s2", "s3", "s2-s3"), ("s3", "s2", "s2-s3")}
    there = {(MONITORS[h.before], MONITORS[h.behind]) for h in HOPS if h.on_path[THERE]}
    assert there == {("s1", "s2"), ("s2", "s3")}


def test_what_the_next_monitor_has_less_was_lost_between() -> None:
    found = compared([report({}, {0: 10}), report({}, {0: 10}), report({}, {0: 7})], [THERE, 0, 0])
    assert (found.passed[S12], found.lost[S12]) == (10, 0)
    assert (found.passed[S23], found.lost[S23]) == (10, 3)
    assert found.named == {(0, S23)}


def test_the_direction_follows_from_the_path_of_the_flow() -> None:
    found = compared([report({}, {0: 7}), report({}, {0: 10}), report({}, {0: 10})], [BACK, 0, 0])
    assert (found.lost[S12], found.passed[S12], found.lost[S23]) == (3, 10, 0)


def test_only_packets_since_the_selection_are_compared() -> None:
    """Sampling began at different packets; the tag began at the same one."""
    found = compared([report({0: 9}, {0: 5}), report({0: 2}, {0: 5}), report({}, {0: 5})], [THERE, 0, 0])
    assert found.lost.sum() == 0
    assert found.passed[S12] == 5


def test_a_monitor_without_a_record_and_a_flow_not_selected_say_nothing() -> None:
    found = compared([report({}, {0: 10, 1: 10}), report({}, {1: 4}), report({}, {0: 1})], [THERE] * 3, some=(0, 2))
    assert found.lost.sum() == 0
    assert found.named == set()


def test_a_flow_that_no_packet_of_came_through_has_lost_all_where_every_selected_flow_had_room() -> None:
    records = [report({}, {0: 10}), report({}, {0: 10}), report({}, {})]
    found = compared(records, [THERE, 0, 0], complete=(False, False, True))
    assert (found.passed[S23], found.lost[S23], found.named) == (10, 10, {(0, S23)})
    assert compared(records, [THERE, 0, 0]).lost.sum() == 0
    untagged = hops_between(MONITORS, ROUTES, [{0, 1}] * ROUTES.whole)
    assert compared(records, [THERE, 0, 0], complete=(True, True, True), hops=untagged).lost.sum() == 0
    short = compared(records, [SHORT, 0, 0], complete=(True, True, True))
    assert short.lost.sum() == 0


def test_a_link_beside_the_path_is_not_blamed() -> None:
    found = compared([report({}, {0: 5}), report({}, {0: 5}), report({}, {0: 1})], [SHORT, 0, 0])
    assert (found.passed[S12], found.passed[S23], found.lost.sum()) == (5, 0, 0)


def test_without_coordination_all_that_was_recorded_is_compared() -> None:
    records = [report({0: 9}, {}, "none"), report({0: 8}, {}, "none"), report({0: 8}, {}, "none")]
    found = compared(records, [THERE, 0, 0], reports_all=True)
    assert (found.lost[S12], found.passed[S12]) == (1, 9)


def test_what_is_reported_of_each_link() -> None:
    found = LinkLoss(len(LINKS))
    found.passed[[S12, S23]], found.lost[[S12, S23]] = (200, 100), (1, 20)
    found.named = {(0, S23), (1, S23), (1, S12)}
    learn_truth(found, Losses(np.array([0, 2, 1]), np.array([S23, S23, S12]), np.array([20, 3, 0])))
    chances = [0.0] * len(LINKS)
    chances[S23] = 0.2
    chances[HOST] = 0.1
    found.true.add((2, HOST))
    assert located(found, LINKS, chances, HOPS) == {
        "links": [
            {"link": "s1-s2", "judged": True, "lost_packets": 1, "estimated_loss": 0.005, "true_loss": 0.0, "flows": 1},
            {"link": "s2-s3", "judged": True, "lost_packets": 20, "estimated_loss": 0.2, "true_loss": 0.2, "flows": 2},
            {"link": "h1-s1", "judged": False, "lost_packets": 0, "estimated_loss": None, "true_loss": 0.1, "flows": 0},
        ],
        "precision": 0.5,
        "recall": 1.0,
        "flow_precision": 1 / 3,
        "flow_recall": 0.5,
    }


def test_without_loss_there_is_nothing_to_be_precise_about() -> None:
    nothing = located(LinkLoss(len(LINKS)), LINKS, [0.0] * len(LINKS), HOPS)
    assert nothing["links"] == []
    assert {nothing[name] for name in ("precision", "recall", "flow_precision", "flow_recall")} == {None}


# through a whole replay


def flows(number: int, packets: int, seed: int) -> PacketBatch:
    """UDP flows between all hosts of the line, in random order."""
    rng = np.random.default_rng(seed)
    flow = rng.integers(0, number, packets)
    src, dst = flow % 3, (flow % 3 + 1 + flow // 3 % 2) % 3
    address = np.array([address_words(f"10.0.{i + 1}.1") for i in range(3)], np.uint64)
    return PacketBatch.of(
        time_ns=np.arange(packets) * 1_000_000,
        src=address[src],
        dst=address[dst],
        src_port=flow + 1,
        dst_port=np.full(packets, 9),
        protocol=np.full(packets, 17),
        ip_bytes=np.full(packets, 100),
    )


def replayed(monkeypatch: pytest.MonkeyPatch, batch: PacketBatch, loss: dict[str, float], **task: Any) -> Any:
    """Replay flows whose senders hear of drops, in one epoch; returns what was located, by mode."""
    prefixes = {f"h{i}": f"10.0.{i}.0/24" for i in (1, 2, 3)}
    selector = {"event": "loss", "threshold": 0.05, "min_packets": 10, "at": "source-host", **task}
    spec = {
        "topology": {"name": "line", "n": 3},
        "traffic": {"trace": "packets.pcap", "map": "prefix", "prefixes": prefixes},
        "sampling": {"probability": 0.1, "epoch_s": 3600},
        "tasks": [{"name": "lossy", "selector": selector, "monitor": {"measure": "volume", "at": "path-switches"}}],
    }
    monkeypatch.setattr(run, "_open", lambda plan: ([batch], nullcontext()))
    result = run.replay(load(spec), loss=loss, memory=[4096])
    return {found["mode"]: found for found in result.located_links}


COORDINATED = [name for name, mode in MODES.items() if mode.heeds_tags]


def test_the_lossy_link_is_named_and_its_loss_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    found = replayed(monkeypatch, flows(30, 6000, 1), {"s2-s3": 0.2})
    for mode in COORDINATED:
        (link,) = found[mode]["links"]
        assert (link["link"], link["true_loss"]) == ("s2-s3", 0.2)
        assert link["estimated_loss"] == pytest.approx(0.2, abs=0.03)
        assert {found[mode][k] for k in ("precision", "recall", "flow_precision", "flow_recall")} == {1.0}


def test_two_lossy_links_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    found = replayed(monkeypatch, flows(30, 6000, 2), {"s1-s2": 0.05, "s2-s3": 0.3})
    for mode in COORDINATED:
        estimates = {link["link"]: link["estimated_loss"] for link in found[mode]["links"]}
        assert estimates == {"s1-s2": pytest.approx(0.05, abs=0.02), "s2-s3": pytest.approx(0.3, abs=0.04)}
        assert found[mode]["flow_precision"] == 1.0


def test_no_link_is_blamed_for_the_packet_that_completes_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """The selector stands on a monitor's own device, so its hint is there at once; retransmissions make the event."""
    batch = flows(12, 1500, 3)
    batch.protocol[:], batch.payload_bytes[:], batch.tcp_seq[:] = 6, 60, 5
    found = replayed(monkeypatch, batch, {"s1-s2": 0.0, "s2-s3": 0.1}, at="ingress-switch")
    for mode in COORDINATED:
        assert [link["link"] for link in found[mode]["links"]] == ["s2-s3"]
        assert found[mode]["flow_precision"] == 1.0


@pytest.mark.parametrize("chance", [1.0, 0.9])
def test_a_link_that_lets_next_to_nothing_through_is_named(monkeypatch: pytest.MonkeyPatch, chance: float) -> None:
    found = replayed(monkeypatch, flows(30, 3000, 6), {"s2-s3": chance})
    for mode in COORDINATED:
        (link,) = found[mode]["links"]
        assert (link["link"], link["estimated_loss"]) == ("s2-s3", pytest.approx(chance, abs=0.05))
        assert {found[mode][k] for k in ("precision", "recall", "flow_precision", "flow_recall")} == {1.0}


def test_drops_on_host_links_lie_outside_all_monitors(monkeypatch: pytest.MonkeyPatch) -> None:
    found = replayed(monkeypatch, flows(12, 1500, 4), {"h1-s1": 0.3})
    for mode in COORDINATED:
        assert [(link["lost_packets"], link["judged"]) for link in found[mode]["links"]] == [(0, False)]
        assert found[mode]["recall"] is found[mode]["flow_recall"] is None


def test_drops_after_the_hold_are_true_losses_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The records go on when the selection has ended, and so does the truth they are compared with."""
    found = replayed(monkeypatch, flows(12, 3000, 5), {"s2-s3": 0.03}, hold_s=0.05)
    for mode in COORDINATED:
        assert found[mode]["flow_precision"] == 1.0
