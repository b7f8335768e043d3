"""Sites against ipaddress, routes and drops against plain twins."""

from __future__ import annotations

from ipaddress import ip_address
from itertools import pairwise
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mozart.errors import SpecError
from mozart.replay import route_kernels
from mozart.replay.feed import DROP_SALT
from mozart.replay.notices import Notices
from mozart.replay.routes import Routes, link_drops, lossy_links
from mozart.replay.streams import Streams
from mozart.tests import oracle
from mozart.topologies.catalogue import load
from mozart.traces.keys import FlowHash
from mozart.traces.packets import PacketBatch, address_words
from mozart.traces.sites import HashSites, PrefixSites

FLOW_HASH = FlowHash.seeded(1)

HOSTS = ("h1", "h2", "h3")
B4 = load("b4")
LEAVES = load("leaf-spine,leaves=3,spines=3,hosts=1")


def between(src: list[str], dst: list[str], **columns: Any) -> PacketBatch:
    words = {"src": [address_words(a) for a in src], "dst": [address_words(a) for a in dst]}
    return PacketBatch.of(time_ns=np.arange(len(src)), **words, **columns)


# sites


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_longest_prefix_wins_as_ipaddress_says(data: st.DataObject) -> None:
    near = st.integers(0, 255).map(lambda i: f"10.0.{i % 3}.{i}")
    far = st.ip_addresses().map(str)
    near6 = st.integers(0, 255).map(lambda i: f"2001:db8:{i % 3}::{i:x}")
    some = st.one_of(near, far, near6)
    given_prefixes: dict[str, list[str]] = {host: [] for host in HOSTS}
    flat: dict[str, int] = {}
    for _ in range(data.draw(st.integers(0, 8))):
        address = ip_address(data.draw(some))
        length = data.draw(st.integers(0, address.max_prefixlen))
        base = int(address) >> (address.max_prefixlen - length) << (address.max_prefixlen - length)
        text = f"{type(address)(base)}/{length}"
        if text not in flat:
            flat[text] = data.draw(st.integers(0, 2))
            given_prefixes[HOSTS[flat[text]]].append(text)
    addresses = data.draw(st.lists(some, min_size=1, max_size=20))
    src, dst = PrefixSites(HOSTS, given_prefixes).hosts_of(between(addresses, addresses[::-1]))
    expected = [oracle.prefix_site(address, flat.items()) for address in addresses]
    assert src.tolist() == expected
    assert dst.tolist() == expected[::-1]


def test_a_prefix_of_ipv6_holds_no_ipv4_address() -> None:
    src, _ = PrefixSites(HOSTS, {"h1": "::/0"}).hosts_of(between(["192.0.2.1", "2001:db8::1"], ["::", "::"]))
    assert src.tolist() == [-1, 0]


@pytest.mark.parametrize(
    ("prefixes", "message"),
    [
        ({"h9": "10.0.0.0/8"}, "traffic.prefixes names h9, and the topology has no such host"),
        ({"h1": "10.0.0.1/8"}, "traffic.prefixes.h1: '10.0.0.1/8' is no prefix"),
        ({"h1": ["10.0.0.0/8", "ten"]}, "write one as 192.0.2.0/24"),
    ],
)
def test_prefixes_that_are_none_are_refused(prefixes: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        PrefixSites(HOSTS, prefixes)


def test_hashed_sites_are_even_and_the_same_for_both_directions() -> None:
    some = [f"10.{i // 256}.{i % 256}.7" for i in range(6000)]
    batch = between(some, some[::-1])
    src, dst = HashSites(B4.hosts).hosts_of(batch)
    assert src.tolist() == dst.tolist()[::-1]
    assert np.bincount(src, minlength=12) == pytest.approx(500, rel=0.2)
    assert src.tolist() == [oracle.hash_site(address, 12) for address in some]


# routes


def chosen(routes: Routes, batch: PacketBatch, src: list[int], dst: list[int]) -> list[int]:
    """Route of each packet between two hosts."""
    addresses, ports = (batch.src ^ batch.dst).astype(np.uint64), batch.src_port ^ batch.dst_port
    return [
        int(route_kernels.path_between(*each, routes.first, routes.count, routes.outside))
        for each in zip(src, dst, map(tuple, addresses), ports, batch.protocol, strict=True)
    ]


def random_flows(n: int, seed: int = 1) -> PacketBatch:
    rng = np.random.default_rng(seed)
    src, dst = ([f"10.0.{a}.{b}" for a, b in rng.integers(0, 200, (n, 2))] for _ in range(2))
    ports = {"src_port": rng.integers(0, 65536, n), "dst_port": rng.integers(0, 65536, n)}
    return between(src, dst, **ports, protocol=rng.choice([6, 17], n))


def turned(batch: PacketBatch) -> PacketBatch:
    """The answers to packets."""
    return PacketBatch.of(
        time_ns=batch.time_ns, src=batch.dst, dst=batch.src, src_port=batch.dst_port, dst_port=batch.src_port,
        protocol=batch.protocol,
    )  # fmt: skip


def test_an_answer_takes_the_way_of_its_flow_backwards() -> None:
    routes = Routes(LEAVES)
    batch = random_flows(300)
    there = chosen(routes, batch, [0] * 300, [2] * 300)
    back = chosen(routes, turned(batch), [2] * 300, [0] * 300)
    for a, b in zip(there, back, strict=True):
        assert routes.all[a].devices == routes.all[b].devices[::-1]
        assert (routes.all[a].reverse, routes.all[b].reverse) == (b, a)


def test_equal_cost_paths_share_the_flows_evenly_and_a_flow_stays_on_one() -> None:
    routes = Routes(LEAVES)
    batch = random_flows(3000)
    route = chosen(routes, batch, [0] * 3000, [1] * 3000)
    first = int(routes.first[0, 1])
    assert np.bincount(np.array(route) - first, minlength=3) == pytest.approx(1000, rel=0.1)
    assert chosen(routes, batch[::-1], [0] * 3000, [1] * 3000) == route[::-1]


def test_choices_equal_their_plain_twin() -> None:
    routes = Routes(B4)
    rng = np.random.default_rng(2)
    src, dst = (rng.integers(0, 12, 400).tolist() for _ in range(2))
    batch = random_flows(400)
    route = chosen(routes, batch, src, dst)
    for i, (a, b, r) in enumerate(zip(src, dst, route, strict=True)):
        if a == b:
            assert r == routes.outside
            continue
        paths = B4.paths(B4.hosts[a], B4.hosts[b])
        one, two = (oracle.address_text(*address[i]) for address in (batch.src, batch.dst))
        ports = int(batch.src_port[i]), int(batch.dst_port[i]), int(batch.protocol[i])
        choice = oracle.path_choice(one, two, *ports, len(paths)) if len(paths) > 1 else 0
        assert routes.all[r].devices == paths[choice]


# flows are followed


@pytest.mark.parametrize("counts", [True, False])
def test_a_flow_is_followed_as_if_each_packet_were_routed_anew(counts: bool) -> None:
    routes, sites = Routes(LEAVES), HashSites(LEAVES.hosts)
    flows = random_flows(150)
    batch = flows[np.random.default_rng(4).integers(0, 150, 1200)]
    batch.ip_bytes[:] = np.arange(1200) + 40
    key = FLOW_HASH.keys(batch, "five-tuple")
    src, dst = (hosts.tolist() for hosts in sites.hosts_of(batch))
    expected = np.array(chosen(routes, batch, src, dst), np.int32)
    streams, plain = Streams(64, finds_flows=True), Streams(64)
    for part in (slice(0, 1), slice(1, 700), slice(700, 1200)):
        route, row, unrouted = streams.follow(key[part], batch[part], sites, routes, counts)
        assert route.tolist() == expected[part].tolist()
        assert unrouted.tolist() == [(route == routes.outside).sum(), 0]
        assert streams.add(key[part], route, batch.ip_bytes[part]).tolist() == (row.tolist() if counts else ANY)
        plain.add(key[part], expected[part], batch.ip_bytes[part])
    assert streams.key[: len(streams)].tolist() == plain.key[: len(plain)].tolist()
    assert streams.route[: len(streams)].tolist() == plain.route[: len(plain)].tolist()
    assert streams.volume.tolist() == (plain.volume * (2 if counts else 1)).tolist()


def test_a_dropped_packet_does_not_hide_the_path_of_its_flow() -> None:
    routes, sites = Routes(B4), HashSites(B4.hosts)
    batch = random_flows(50)
    key = FLOW_HASH.keys(batch, "five-tuple")
    streams = Streams(64, finds_flows=True)
    path, _, _ = streams.follow(key, batch, sites, routes, False)
    inside = path != routes.outside
    dropped = np.where(inside, [routes.cut.get((int(p), 1), routes.outside) for p in path], path).astype(np.int32)
    streams.add(key, dropped, batch.ip_bytes)
    assert inside.sum() > 30
    assert streams.follow(key, batch, sites, routes, False)[0].tolist() == path.tolist()


@pytest.mark.parametrize("counts", [True, False])
def test_packets_that_stay_outside_are_counted_by_reason_each_time(counts: bool) -> None:
    routes = Routes(LEAVES)
    sites = PrefixSites(LEAVES.hosts, {"h1": "10.0.1.0/24", "h2": "10.0.2.0/24"})
    batch = between(["10.0.1.1", "10.0.1.1", "10.9.9.9", "10.9.9.9"], ["10.0.2.1", "10.0.1.2", "10.0.1.1", "10.9.9.9"])
    key = FLOW_HASH.keys(batch, "five-tuple")
    streams = Streams(64, finds_flows=True)
    for _ in range(3):
        route, _, unrouted = streams.follow(key, batch, sites, routes, counts)
        assert (route == routes.outside).tolist() == [False, True, True, True]
        assert unrouted.tolist() == [1, 2]
        if not counts:
            streams.add(key, route, batch.ip_bytes)


# drops


def test_drops_equal_their_plain_twin_and_the_route_ends_where_the_packet_did() -> None:
    routes = Routes(B4)
    loss = {"s2-s5": 0.1, "s3-s6": 0.5, "h1-s1": 0.2}
    drops = link_drops(routes, loss)
    route = np.random.default_rng(3).integers(0, routes.whole, 2000).astype(np.int32)
    path, noticed = route.copy(), np.empty(2000, np.int64)
    number = route_kernels.drop(
        route, 500, np.uint64(9 ^ DROP_SALT), drops.hop_start, drops.hop_chance, drops.cut, drops.round_trip_ns,
        np.arange(2000), noticed,
    )  # fmt: skip
    assert number == (noticed >= 0).sum() > 100
    chance = {frozenset(name.split("-")): value for name, value in loss.items()}
    for i in range(2000):
        devices = routes.all[path[i]].devices
        links = list(pairwise(devices))
        hop = oracle.dropped_after(500 + i, 9, [chance.get(frozenset(link), 0.0) for link in links])
        assert routes.all[route[i]].dropped_hop == hop
        trip = round(2e6 * sum(B4.link(*link).latency_ms for link in links))
        assert noticed[i] == (-1 if hop is None else i + trip)


@pytest.mark.parametrize(("chance", "share"), [(0.0, 0.0), (1.0, 1.0), (0.02, 0.02)])
def test_a_link_drops_its_share(chance: float, share: float) -> None:
    line = load("line,n=2")
    routes = Routes(line)
    drops = link_drops(routes, {"s1-s2": chance})
    route, noticed = np.zeros(50_000, np.int32), np.empty(50_000, np.int64)
    number = route_kernels.drop(
        route, 0, np.uint64(1), drops.hop_start, drops.hop_chance, drops.cut, drops.round_trip_ns,
        np.zeros(50_000, np.int64), noticed,
    )  # fmt: skip
    assert number / 50_000 == pytest.approx(share, rel=0.1)


def test_notices_come_once_in_order_of_time() -> None:
    notices = Notices()
    batch = random_flows(4)
    notices.add(batch, np.arange(4), np.array([30, -1, 10, 20]))
    due, path = notices.due(30)
    assert (due.time_ns.tolist(), path.tolist()) == ([10, 20], [2, 3])
    assert due.src.tolist() == batch.src[[2, 3]].tolist()
    assert notices.due(31)[1].tolist() == [0]
    assert len(notices.due(10**9)[0]) == 0


def test_every_route_has_its_parts_and_its_reverse() -> None:
    routes = Routes(B4)
    for number, route in enumerate(routes.all[: routes.whole]):
        assert routes.all[route.reverse].devices == route.devices[::-1]
        for reach in range(1, route.reach):
            part = routes.cut[number, reach]
            assert routes.all[part].devices == route.devices[:reach]
            assert routes.path_number[part] == number
    assert routes.all[routes.outside].devices == ()


def test_parts_of_paths_are_routes_only_where_a_link_may_drop_packets() -> None:
    lossy = lossy_links(B4, {"s3-s6": 0.1, "s1-s2": 0.0})
    every, some, none = Routes(B4), Routes(B4, lossy=lossy), Routes(B4, lossy=())
    assert len(none) == none.whole + 1
    assert [every.all[every.cut[part]] for part in some.cut] == some.all[some.whole : some.outside]
    ends = {tuple(sorted(route.path.devices[route.reach - 1 : route.reach + 1])) for route in some.all[some.whole : -1]}
    assert ends == {("s3", "s6")}
    link = B4.links.index(B4.link("s3", "s6"))
    assert {some.dropping_link(number) for number in range(some.whole, some.outside)} == {link}
