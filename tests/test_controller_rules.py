"""Rules on B4, asked of tables in memory: where packets go, what is measured, how tags come and go."""

from __future__ import annotations

import dataclasses
import itertools
from functools import cache
from typing import Any

import pytest
from mozart.controller.plan import make_plan, plan_from
from mozart.controller.planned import Plan
from mozart.controller.rules import FORWARD, IPV4, IPV6, PURPOSES, forward_bit, reverse_bit, tables_of
from mozart.errors import LiveError
from mozart.replay.routes import Routes
from mozart.replay.vocabulary import load
from mozart.tests.flow_world import FlowWorld, Packet
from mozart.topologies.catalogue import load as load_topology

ARP = 0x0806
LOSSES = {
    "name": "losses",
    "selector": {"event": "loss", "at": "source-host", "cpu_percent": 2},
    "monitor": {"measure": "volume", "at": "path-switches"},
}
SCANS = {
    "name": "scans",
    "selector": {"event": "port-scan", "ports": [22], "threshold": 10, "at": "egress-switch"},
    "monitor": {"measure": "distinct-destinations", "key": "src", "at": "ingress-switch"},
}
ELEPHANTS = {
    "name": "elephants",
    "selector": {"event": "elephant", "key": "src+dst", "threshold_mbps": 1, "at": "ecmp-switch"},
    "monitor": {"measure": "volume", "at": "ecmp-peers"},
}
INGRESS = {
    "name": "ingress",
    "selector": {"event": "loss", "at": "ingress-switch"},
    "monitor": {"measure": "volume", "at": "egress-switch"},
}


@cache
def planned(*names: str) -> Plan:
    known = {task["name"]: task for task in (LOSSES, SCANS, ELEPHANTS, INGRESS)}
    return plan_from({"spec": {"topology": {"name": "b4"}, "tasks": [known[name] for name in names]}})


def all_pairs() -> list[tuple[str, str]]:
    return list(itertools.permutations(load_topology("b4").hosts, 2))


def b4_paths() -> dict[tuple[str, str], set[tuple[str, ...]]]:
    routes = Routes(load_topology("b4"))
    found: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    for route in routes.all[: routes.whole]:
        found.setdefault((route.devices[0], route.devices[-1]), set()).add(route.devices[1:-1])
    return found


@pytest.mark.parametrize("eth_type", [IPV4, IPV6, ARP])
def test_every_pair_of_hosts_takes_exactly_its_equal_cost_paths(eth_type: int) -> None:
    world, paths = FlowWorld(planned("losses", "scans", "elephants")), b4_paths()
    for source, destination in all_pairs():
        journeys = world.send(Packet(source, destination, eth_type=eth_type))
        assert {j.delivered_to for j in journeys} == {destination}
        assert {j.switches for j in journeys} == paths[source, destination]


def test_who_wants_to_see_a_packet_gets_one_copy_and_nobody_else_does() -> None:
    plan = planned("scans")
    world = FlowWorld(plan)
    for source, destination in all_pairs():
        for journey in world.send(Packet(source, destination)):
            # where scans leave they are detected and answers tagged; where they come in, they are counted
            assert set(journey.measured) == {journey.switches[0], journey.switches[-1]}
    idle = FlowWorld(planned("elephants"))
    watched = {s: {p for p, c in plan.items() if c.watched} for s, plan in planned("elephants").switches.items()}
    for source, destination in all_pairs():
        for journey in idle.send(Packet(source, destination)):
            assert set(journey.measured) == {s for s in journey.switches if f"{source}>{destination}" in watched[s]}


def test_without_a_task_forwarding_is_untouched() -> None:
    world = FlowWorld(planned())
    assert {rule.purpose for rules in world.rules.values() for rule in rules} == {"site", "pass", "forward"}
    for source, destination in all_pairs():
        for eth_type, dscp in ((IPV4, 46), (IPV6, 10), (IPV4, 0)):
            for journey in world.send(Packet(source, destination, dscp, eth_type)):
                assert (journey.delivered_to, journey.dscp, journey.measured) == (destination, dscp, {})


def test_packets_of_no_pair_hit_no_rule_of_ours() -> None:
    plan = planned("losses", "scans", "elephants")
    world = FlowWorld(plan)
    world.ports["s1"]["h99"] = 77
    (journey,) = world.send(Packet("h99", "h5"))
    assert journey.delivered_to is None and journey.switches == ("s1",) and not journey.measured
    for rules in world.rules.values():
        assert all(rule.match for rule in rules if rule.table in (0, FORWARD))


@pytest.mark.parametrize("eth_type", [IPV4, IPV6])
def test_the_tag_of_a_host_reaches_every_switch_and_not_the_destination(eth_type: int) -> None:
    plan = planned("losses", "scans", "elephants")
    code = plan.codes["losses"]
    assert plan.channels["losses"] == ("tag",)
    world = FlowWorld(plan)
    for source, destination in all_pairs():
        # h1 tags by itself, so its switch trusts what it says
        for journey in world.send(Packet(source, destination, code.value, eth_type)):
            assert journey.dscp == 0 and journey.cleaned == 0
            assert [journey.measured[s] & code.mask for s in journey.switches] == [code.value] * len(journey.switches)


def test_the_tag_of_a_switch_follows_the_flow_and_no_other() -> None:
    plan = planned("ingress")
    code, table = plan.codes["ingress"], plan.tables["ingress"]
    for source, destination in (("h1", "h12"), ("h4", "h6")):
        world = FlowWorld(plan)
        world.tag(f"s{source[1:]}", table, forward_bit(table), code.value, code.mask, flow=7)
        for flow, tag in ((7, code.value), (8, 0)):
            for journey in world.send(Packet(source, destination, flow=flow)):
                assert journey.measured[journey.switches[-1]] == tag
                assert journey.dscp == 0
        for journey in world.send(Packet(destination, source, flow=7)):
            assert journey.measured[journey.switches[-1]] == 0, "the reverse packets are not this rule's matter"


def test_a_reverse_tag_goes_back_to_where_the_flow_came_in() -> None:
    plan = planned("scans")
    assert plan.channels["scans"] == ("reverse tag",)
    code, table = plan.codes["scans"], plan.tables["scans"]
    world = FlowWorld(plan)
    world.tag("s5", table, reverse_bit(table), code.value, code.mask, flow=7)
    for journey in world.send(Packet("h5", "h1", flow=7)):
        assert journey.measured["s1"] == code.value and journey.delivered_to == "h1" and journey.dscp == 0
    for journey in world.send(Packet("h1", "h5", flow=7)):
        assert set(journey.measured.values()) == {0}


def test_messages_go_where_no_tag_does() -> None:
    plan = planned("elephants")
    told = {
        (device, pair): set(devices)
        for device, config in plan.devices.items()
        for selector in config.selectors
        for pair, devices in selector.tells.items()
    }
    topology = load_topology("b4")
    for (device, pair), devices in told.items():
        source, _, destination = pair.partition(">")
        paths = topology.paths(source, destination)
        part = next(i for i in range(len(paths[0])) if len({path[i] for path in paths}) > 1)
        assert {device} | devices == {path[part] for path in paths}
    assert {pair for _, pair in told} == {f"{a}>{b}" for a, b in all_pairs() if len(topology.paths(a, b)) > 1}


def test_a_packet_can_be_selected_for_several_tasks_at_once() -> None:
    plan = planned("ingress", "scans")
    world = FlowWorld(plan)
    for name, bit in (("ingress", forward_bit), ("scans", reverse_bit)):
        code, table = plan.codes[name], plan.tables[name]
        world.tag("s1", table, bit(table), code.value, code.mask, flow=7)
    both = plan.codes["ingress"].value | plan.codes["scans"].value
    for journey in world.send(Packet("h1", "h5", flow=7)):
        assert journey.measured["s5"] == both and journey.dscp == 0


@pytest.mark.parametrize("eth_type", [IPV4, IPV6])
def test_a_foreign_dscp_is_removed_where_it_comes_in_and_counted(eth_type: int) -> None:
    world = FlowWorld(planned("ingress"))
    for source, destination in all_pairs():
        for journey in world.send(Packet(source, destination, 46, eth_type)):
            assert set(journey.measured.values()) == {0} and journey.dscp == 0 and journey.cleaned == 1
        for journey in world.send(Packet(source, destination, 0, eth_type)):
            assert journey.cleaned == 0


def test_a_host_whose_agent_tags_is_trusted_and_the_others_are_not() -> None:
    task = {**LOSSES, "selector": {"event": "loss", "at": ["h3"]}, "monitor": {"measure": "volume", "at": ["s6"]}}
    world = FlowWorld(make_plan(load({"topology": {"name": "b4"}, "tasks": [task]})))
    assert [j.cleaned for j in world.send(Packet("h3", "h6", 1))] == [0]
    assert [j.cleaned for j in world.send(Packet("h1", "h3", 1))] == [1]


def test_every_rule_has_our_cookie_and_says_what_it_is_for() -> None:
    world = FlowWorld(planned("losses", "scans", "elephants"))
    for rules in world.rules.values():
        assert {rule.cookie >> 48 for rule in rules} == {0x6D7A}
        assert {rule.purpose for rule in rules} <= set(PURPOSES)
        assert len({rule.place for rule in rules}) == len(rules)


def test_a_switch_without_some_port_does_what_it_can() -> None:
    plan = planned("ingress")
    world = FlowWorld(plan, without_ports=[("s4", "s5"), ("s1", "mon")])
    assert world.tables["s4"].unreached == ("s5",) and world.tables["s1"].unreached == ("mon",)
    journeys = world.send(Packet("h1", "h2"))
    assert [(j.delivered_to, set(j.measured)) for j in journeys] == [("h2", {"s2"})]


def test_tables_are_the_same_whoever_asks() -> None:
    plan = planned("losses", "scans", "elephants")
    ports = FlowWorld(plan).ports
    again = Plan.from_json(plan.to_json())
    assert again == plan
    for switch in plan.switches:
        assert tables_of(plan, switch, ports[switch]) == tables_of(again, switch, ports[switch])
    with pytest.raises(LiveError, match="s99 is no switch of b4"):
        tables_of(plan, "s99", {})


def test_a_group_keeps_its_number_when_paths_change() -> None:
    plan = planned("losses")
    down: Any = make_plan(load(dict(plan.request["spec"])), revision=2, keep=plan.kept, down={"s1-s2"})
    before, after = FlowWorld(plan), FlowWorld(down)
    for switch in plan.switches:
        numbers = {group.ports: group.number for group in before.tables[switch].groups}
        for group in after.tables[switch].groups:
            assert numbers.get(group.ports, group.number) == group.number
    assert dataclasses.replace(down, revision=1) != plan
