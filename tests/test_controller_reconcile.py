"""Reconciling, as a table of cases: what a switch has, what it should have, what is done about it."""

from __future__ import annotations

import pytest
from mozart.controller.links import down_links, port_states, waited_for
from mozart.controller.reconcile import Changes, reconcile
from mozart.controller.rules import AGENT_COOKIE_PREFIX, COOKIE_SHIFT, Group, Rule, Tables, cookie_of

OURS, AGENTS, FOREIGN = cookie_of("forward"), AGENT_COOKIE_PREFIX << COOKIE_SHIFT | 5, 0x2A


def rule(destination: int, out: int = 1, cookie: int = OURS, priority: int = 1000) -> Rule:
    return Rule(101, priority, (("eth_dst", f"02:00:00:00:00:{destination:02x}"),), (("output", out),), cookie)


G1, G2 = Group(0x6D7A0001, (1, 2)), Group(0x6D7A0002, (3, 4))
G1_OTHER = Group(0x6D7A0001, (1, 3))
FOREIGN_GROUP = Group(7, (1,))

CASES = {
    "nothing there": ([rule(1), rule(2)], [], [], [], Changes(add_rules=(rule(1), rule(2)))),
    "all there": ([rule(1)], [], [rule(1)], [], Changes()),
    "a stray of ours": ([rule(1)], [], [rule(1), rule(2)], [], Changes(delete_rules=(rule(2),))),
    "a foreign rule": ([rule(1)], [], [rule(1), rule(2, cookie=FOREIGN)], [], Changes()),
    "an agent's rule": ([rule(1)], [], [rule(1), rule(2, cookie=AGENTS)], [], Changes()),
    "ours with other actions": ([rule(1, 2)], [], [rule(1, 1)], [], Changes(add_rules=(rule(1, 2),))),
    "ours for another purpose": (
        [rule(1)], [], [rule(1, cookie=cookie_of("untag"))], [], Changes(add_rules=(rule(1),)),
    ),
    "a foreign rule in our place": ([rule(1)], [], [rule(1, 9, FOREIGN)], [], Changes(blocked=(rule(1),))),
    "the same match, another priority": (
        [rule(1)], [], [rule(1, priority=7)], [],
        Changes(add_rules=(rule(1),), delete_rules=(rule(1, priority=7),)),
    ),
    "a group missing": ([], [G1], [], [], Changes(add_groups=(G1,))),
    "a group with other ports": ([], [G1], [], [G1_OTHER], Changes(modify_groups=(G1,))),
    "a group too many": ([], [G1], [], [G1, G2], Changes(delete_groups=(G2.number,))),
    "a foreign group": ([], [G1], [], [G1, FOREIGN_GROUP], Changes()),
    "nothing wanted any more": (
        [], [], [rule(1), rule(2, cookie=FOREIGN)], [G1, FOREIGN_GROUP],
        Changes(delete_rules=(rule(1),), delete_groups=(G1.number,)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_reconcile(case: str) -> None:
    should, should_groups, rules, groups, changes = CASES[case]
    tables = Tables(frozenset(should), frozenset(should_groups))
    assert reconcile(tables, rules, groups) == changes
    assert bool(len(reconcile(tables, rules, groups))) == any(
        (changes.add_groups, changes.modify_groups, changes.add_rules, changes.delete_rules, changes.delete_groups)
    )


def test_later_tables_come_first_so_that_no_packet_is_sent_to_an_empty_one() -> None:
    rules = [Rule(table, 0, (), (("goto", table + 1),), OURS) for table in (0, 1, 2, 100)]
    changes = reconcile(Tables(frozenset(rules), frozenset()), [], [])
    assert [each.table for each in changes.add_rules] == [100, 2, 1, 0]


LINKS = [{"a": "s1", "b": "s2"}, {"a": "s2", "b": "s3"}, {"a": "h1", "b": "s1"}]


@pytest.mark.parametrize(
    ("states", "down"),
    [
        ({}, set()),
        ({"s1": {"s2": True, "h1": True}, "s2": {"s1": True, "s3": True}}, set()),
        ({"s1": {"s2": False, "h1": True}, "s2": {"s1": True, "s3": True}}, {"s1-s2"}),
        ({"s3": {"s2": False}}, {"s2-s3"}),
        ({"s1": {"s2": True, "h1": False}}, {"h1-s1"}),
    ],
)
def test_a_link_is_down_when_one_of_its_ends_is(states: dict[str, dict[str, bool]], down: set[str]) -> None:
    assert down_links(LINKS, states) == down


def test_a_port_that_was_there_and_is_gone_is_down() -> None:
    assert port_states({}, {"s2": True}) == {"s2": True}
    assert port_states({"s2": True, "s3": True}, {"s2": True}) == {"s2": True, "s3": False}
    assert port_states({"s2": True, "s3": True}, {"s2": False}, fresh=True) == {"s2": False, "s3": True}
    assert port_states({"s2": True, "s3": False}, {"s3": True}) == {"s2": False, "s3": True}


def test_missing_switches_are_named_in_the_order_of_the_topology() -> None:
    assert waited_for(("s1", "s2", "s3", "s10"), {"s2"}) == ["s1", "s3", "s10"]
