"""Channels: tag, reverse tag or message, as the paths ask; and what crosses each monitor, in order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mozart.errors import SpecError
from mozart.monitors.table_kernels import HINT, PACKET, SELECT, TAGGED
from mozart.replay.channels import MOST_SPAN, Channels
from mozart.replay.crossings import Messages, Room, Routed, crossings
from mozart.replay.routes import Routes
from mozart.replay.vocabulary import load
from mozart.selectors.selection import Selection
from mozart.topologies.catalogue import load as load_topology
from mozart.topologies.lists import Lists

LINE = load_topology("line,n=4,latency_ms=2.3")
LEAVES = load_topology("leaf-spine,leaves=3,spines=3,hosts=1")


def channels_of(topology: Any, selector_at: Any, monitor_at: Any) -> tuple[Channels, Routes]:
    spec = load(
        {
            "topology": {"name": "line"},
            "tasks": [
                {
                    "name": "one",
                    "selector": {"event": "loss", "at": selector_at},
                    "monitor": {"measure": "volume", "at": monitor_at},
                }
            ],
        }
    )
    routes = Routes(topology)
    return Channels(spec.tasks[0], routes), routes


def route_between(routes: Routes, devices: str, reach: int | None = None) -> int:
    """Number of the route over some devices, or of its first part."""
    path = tuple(devices.split())
    whole = next(i for i, r in enumerate(routes.all[: routes.whole]) if r.devices == path)
    return whole if reach is None else routes.cut[whole, reach]


def names(channels: Channels, lists: Lists, route: int) -> list[str]:
    """Monitors that a list has for a route."""
    return [channels.monitors[m] for m in lists.expand(np.array([route]))[1]]


@pytest.mark.parametrize(
    ("topology", "selector_at", "monitor_at", "kinds"),
    [
        (LINE, "source-host", "path-switches", {"tag"}),
        (LINE, "ingress-switch", "path-switches", {"tag"}),
        (LINE, "egress-switch", "path-switches", {"tag", "reverse tag"}),
        (LINE, "egress-switch", "ingress-switch", {"reverse tag"}),
        (LINE, "destination-host", "source-host", {"reverse tag"}),
        (LEAVES, "ecmp-switch", "ecmp-peers", {"tag", "message"}),
        (LINE, ["s2"], ["s4"], {"tag", "reverse tag", "message"}),
        (LINE, ["s2"], ["s2"], {"tag", "message"}),
    ],
)
def test_the_channel_follows_from_the_paths(topology: Any, selector_at: Any, monitor_at: Any, kinds: set[str]) -> None:
    channels, _ = channels_of(topology, selector_at, monitor_at)
    assert channels.kinds() == kinds


def test_a_tag_reaches_what_is_behind_the_selector_and_a_reverse_tag_what_is_before_it() -> None:
    channels, routes = channels_of(LINE, ["s2"], ["s1", "s2", "s3"])
    there = route_between(routes, "h1 s1 s2 s3 s4 h4")
    back = route_between(routes, "h4 s4 s3 s2 s1 h1")
    assert names(channels, channels.crossed, there) == ["s1", "s2", "s3"]
    reached = channels.reached.items[channels.reached.start[there] : channels.reached.start[there + 1]]
    assert reached.tolist() == [0, 1, 1]
    # packets back are tagged at s2, for the flow there, and meet s1 behind it
    assert names(channels, channels.reverse_reached, back) == ["s1"]
    assert channels.selectors[channels.reverse_where[back]] == "s2"


def test_a_dropped_packet_crosses_the_first_part_of_its_path() -> None:
    channels, routes = channels_of(LINE, "egress-switch", "path-switches")
    part = route_between(routes, "h1 s1 s2 s3 h3", reach=3)
    assert routes.all[part].devices == ("h1", "s1", "s2")
    assert routes.all[part].dropped_hop == 2  # from s2 to s3
    assert names(channels, channels.crossed, part) == ["s1", "s2"]
    assert channels.where[part] == -1  # it does not come to the selector at s3
    assert channels.reverse_where[part] == 0  # s1 is the egress switch of the flow back
    assert names(channels, channels.reverse_reached, part) == ["s2"]


def test_messages_go_to_the_members_of_the_set_that_the_path_passes_by() -> None:
    channels, routes = channels_of(LEAVES, "ecmp-switch", "ecmp-peers")
    over_s5 = route_between(routes, "h1 s1 s5 s2 h2")
    assert names(channels, channels.beside, over_s5) == ["s4", "s6"]
    assert channels.selectors[channels.where[over_s5]] == "s5"
    assert channels.latency_ns[channels.selectors.index("s5"), channels.monitors.index("s4")] == 100_000


def test_nothing_reaches_packets_outside_the_network() -> None:
    channels, routes = channels_of(LINE, ["s2"], ["s1", "s4"])
    assert channels.where[routes.outside] == channels.reverse_where[routes.outside] == -1
    for lists in (channels.crossed, channels.reverse_reached, channels.beside):
        assert names(channels, lists, routes.outside) == []


@pytest.mark.parametrize(
    ("selector_at", "monitor_at", "message"),
    [
        ("ecmp-switch", "path-switches", "device for the selector at ecmp-switch; the paths have no equal-cost"),
        ("source-host", "ecmp-peers", "device for the monitor at ecmp-peers"),
        (["s9"], "path-switches", "no path of line has a device for the selector at s9$"),
    ],
)
def test_a_task_without_a_device_is_refused(selector_at: Any, monitor_at: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        channels_of(LINE, selector_at, monitor_at)


# messages

LONG_NS = 30 * 10**9
"""A hold that no hint outlasts."""


def sent(
    channels: Channels, route: int, time_ns: int, selector: str, delay_ns: int = 0, hold_ns: int = LONG_NS
) -> Messages:
    messages = Messages()
    selection = Selection(0, channels.selectors.index(selector), time_ns, 0)
    messages.send([selection], np.array([route], np.int32), channels, delay_ns, hold_ns, np.array([77], np.uint64))
    return messages


@pytest.mark.parametrize(("hold_ns", "told"), [(4_600_050, ["s2", "s4"]), (4_600_049, [])])
def test_hints_that_would_not_all_be_there_within_the_hold_are_not_sent(hold_ns: int, told: list[str]) -> None:
    channels, routes = channels_of(LINE, ["s2"], ["s2", "s4"])
    messages = sent(channels, route_between(routes, "h1 s1 s2 s3 s4 h4"), 1000, "s2", delay_ns=50, hold_ns=hold_ns)
    assert [channels.monitors[int(m)] for _, m, _, _, _ in messages.due(LONG_NS)] == told


def test_a_message_takes_effect_after_the_latency_and_the_delay() -> None:
    channels, routes = channels_of(LINE, ["s2"], ["s2", "s4"])
    messages = sent(channels, route_between(routes, "h1 s1 s2 s3 h3"), 1000, "s2", delay_ns=50)
    due = messages.due(10**9)
    told = [(int(at), channels.monitors[int(m)], int(key), int(kind)) for at, m, key, kind, _ in due]
    # s2 is crossed, so it gets a hint; s4 lies beside the path, two links of 2.3 ms away
    assert told == [(1050, "s2", 77, HINT), (1050 + 4_600_000, "s4", 77, SELECT)]


def test_a_message_comes_after_what_caused_it_also_on_the_same_device() -> None:
    channels, routes = channels_of(LINE, ["s2"], ["s2"])
    messages = sent(channels, route_between(routes, "h1 s1 s2 s3 h3"), 1000, "s2")
    assert len(messages.due(1001)) == 0
    assert messages.due(1002)[0, 0] == 1001
    assert len(messages.due(10**9)) == 0  # and only once


def test_messages_of_the_same_time_come_in_one_order_whatever_the_batches() -> None:
    channels, routes = channels_of(LINE, ["s2"], ["s2", "s4"])
    over, beside = route_between(routes, "h1 s1 s2 s3 s4 h4"), route_between(routes, "h1 s1 s2 s3 h3")
    messages = sent(channels, over, 1000, "s2")  # hints of s2 and s4
    again = Selection(1, 0, 1000, 0)
    messages.send([again], np.array([beside], np.int32), channels, 0, LONG_NS, np.array([77, 78], np.uint64))
    due = [(channels.monitors[int(m)], int(key), int(kind)) for _, m, key, kind, _ in messages.due(10**9)]
    assert due == [("s2", 77, HINT), ("s2", 78, HINT), ("s4", 78, SELECT), ("s4", 77, HINT)]


def test_the_span_weighs_the_monitors_of_a_path_by_how_many_paths_cross_them() -> None:
    """Of the twelve paths on a line of four, six cross s1 or s4, and ten s2 or s3: all four weigh 32."""
    channels, routes = channels_of(LINE, "source-host", "path-switches")
    for devices, weight in (
        ("h1 s1 s2 h2", 16),
        ("h2 s2 s3 h3", 20),
        ("h2 s2 s3 s4 h4", 26),
        ("h1 s1 s2 s3 s4 h4", 32),
    ):
        assert channels.span[route_between(routes, devices)] == round(MOST_SPAN * weight / 32)
    assert channels.span[route_between(routes, "h1 s1 s2 s3 s4 h4", 2)] == MOST_SPAN


# crossings


@pytest.mark.parametrize("most_table", [1 << 26, 0])
def test_what_crosses_a_monitor_in_order(most_table: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mozart.replay.crossings.MOST_TABLE", most_table)
    channels, routes = channels_of(LINE, ["s2"], ["s1", "s3"])
    there, back = (route_between(routes, path) for path in ("h1 s1 s2 s3 h3", "h3 s3 s2 s1 h1"))
    route = np.array([there, there, back, routes.outside, routes.cut[there, 3]], np.int32)
    time_ns = np.array([10, 20, 30, 40, 50])
    routed = Routed(time_ns, np.array([100, 200, 300, 400, 500], np.uint32), route, 7)
    key, back_key = np.array([1, 1, 2, 3, 1], np.uint64), np.array([2, 2, 1, 4, 2], np.uint64)
    forward = np.array([0, 0b10, 0, 0, 0b01], np.uint8)
    reverse = np.array([0, 0, 0b10, 0, 0], np.uint8)
    messages = np.array([[20, channels.monitors.index("s3"), 9, SELECT, 5], [60, 0, 8, HINT, 6]], np.uint64)
    item = key * np.uint64(100)
    gather = crossings(routed, channels, key, back_key, item, forward, reverse, 1, messages, seed=1)
    one, three = (gather(channels.monitors.index(device), Room()) for device in ("s1", "s3"))
    assert rows(one) == [
        (1, PACKET, 100, 10), (1, PACKET, 200, 20), (2, PACKET, 300, 30), (1, SELECT, 0, 30), (1, PACKET, 500, 50),
        (8, HINT, 0, 60),
    ]  # fmt: skip
    assert rows(three) == [(1, PACKET, 100, 10), (9, SELECT, 0, 20), (1, TAGGED, 200, 20), (2, PACKET, 300, 30)]
    assert one.item[[0, 1, 2, 4]].tolist() == [100, 100, 200, 100]
    assert one.span.tolist() == [12, 12, 12, 12, 12, 6]
    assert three.span.tolist() == [12, 5, 12, 12]


def rows(some: Any) -> list[tuple[int, ...]]:
    columns = (some.key, some.kind, some.ip_bytes, some.time_ns)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_monitors_draw_luck_of_their_own_and_evenly() -> None:
    channels, routes = channels_of(LINE, "source-host", "path-switches")
    n = 20_000
    routed = Routed(np.arange(n), np.ones(n, np.uint32), np.full(n, route_between(routes, "h1 s1 s2 h2"), np.int32), 0)
    nothing, none = np.zeros(n, np.uint64), np.zeros(n, np.uint8)
    gather = crossings(routed, channels, nothing, nothing, nothing[:0], none, none, 0, np.zeros((0, 5), np.uint64), 3)
    one, two = (gather(channels.monitors.index(device), Room()).luck / 2**32 for device in ("s1", "s2"))
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.03
    for luck in (one, two):
        assert np.histogram(luck, 10, (0, 1))[0] == pytest.approx(n / 10, rel=0.08)


def test_packets_dealt_to_their_monitors_cross_them_as_packets_looked_up_in_a_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    channels, routes = channels_of(load_topology("b4"), "egress-switch", "path-switches")
    random = np.random.default_rng(5)
    n = 3_000
    time_ns = np.sort(random.integers(0, 10**9, n))
    routed = Routed(
        time_ns, random.integers(40, 1500, n).astype(np.uint32), random.integers(0, len(routes), n, np.int32), 9
    )
    key, back_key = random.integers(1, 2**63, (2, n), np.uint64)
    forward, reverse = (random.integers(0, 2, (2, n)) * (random.integers(0, 10, n) == 0)).astype(np.uint8)
    messages = np.stack([np.sort(random.integers(0, 10**9, 50)), random.integers(0, 12, 50), *np.full((3, 50), 2)], 1)
    given = routed, channels, key, back_key, key, forward, reverse, 0, messages.astype(np.uint64), 3
    columns = ("key", "kind", "ip_bytes", "time_ns", "luck", "span", "item")
    found = []
    for most_table in (1 << 26, 0):
        monkeypatch.setattr("mozart.replay.crossings.MOST_TABLE", most_table)
        gather = crossings(*given)
        found.append([[getattr(gather(m, Room()), c).tolist() for c in columns] for m in range(len(channels.monitors))])
    assert found[0] == found[1]
    assert all(len(monitor[0]) > 100 for monitor in found[0])
