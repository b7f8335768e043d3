"""Reconciling: what to add, replace and delete so that a switch has exactly the rules and groups it should have.

Pure. Whose a rule is says its cookie: rules without our prefix are never touched, the agents' tag rules neither.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from .rules import COOKIE_PREFIX, COOKIE_SHIFT, GROUP_PREFIX, Group, Rule, Tables


@dataclass(frozen=True, slots=True)
class Changes:
    """What to do, in this order: groups added and modified, rules added and deleted, groups deleted."""

    add_groups: tuple[Group, ...] = ()
    modify_groups: tuple[Group, ...] = ()
    add_rules: tuple[Rule, ...] = ()
    """New ones, and those that replace one of ours in the same place with other actions or another cookie."""
    delete_rules: tuple[Rule, ...] = ()
    delete_groups: tuple[int, ...] = ()
    blocked: tuple[Rule, ...] = ()
    """Rules that a foreign rule with the same table, priority and match keeps out."""

    def __len__(self) -> int:
        """Return the number of changes."""
        return sum(map(len, (self.add_groups, self.modify_groups, self.add_rules, self.delete_rules))) + len(
            self.delete_groups
        )


def is_ours(rule: Rule) -> bool:
    """Whether a rule has our cookie prefix."""
    return rule.cookie >> COOKIE_SHIFT == COOKIE_PREFIX


def reconcile(should: Tables, rules: Iterable[Rule], groups: Collection[Group]) -> Changes:
    """Compare what a switch should have with all rules and groups that it has.

    1. Rules of ours in no place where one should be are strays: deleted. 2. A rule that is not there as it should be is
    added; that replaces one of ours in its place, and is blocked by a foreign one. 3. The same for groups, whose number
    says whose they are; those that go, go after the rules that use them.
    """
    there = {rule.place: rule for rule in rules}
    wanted = {rule.place for rule in should.rules}
    strays = (rule for rule in there.values() if is_ours(rule) and rule.place not in wanted)  # 1
    add, blocked = [], []
    for rule in should.rules:  # 2
        present = there.get(rule.place)
        if present is not None and not is_ours(present):
            blocked.append(rule)
        elif present != rule:
            add.append(rule)
    have = {group.number: group for group in groups}  # 3
    needed = {group.number for group in should.groups}
    return Changes(
        tuple(sorted((g for g in should.groups if g.number not in have), key=_number)),
        tuple(sorted((g for g in should.groups if have.get(g.number, g) != g), key=_number)),
        tuple(sorted(add, key=_order)),
        tuple(sorted(strays, key=_order)),
        tuple(sorted(n for n in have if n >> 16 == GROUP_PREFIX and n not in needed)),
        tuple(sorted(blocked, key=_order)),
    )


def _number(group: Group) -> int:
    return group.number


def _order(rule: Rule) -> tuple[int, int, str]:
    """Later tables first, so that no packet goes to a table whose rules are not there yet."""
    return -rule.table, -rule.priority, str(rule.match)
