"""What other programs did to the rules and groups of one switch: found by comparing three states. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .reconcile import Changes, is_ours
from .rules import Rule, Tables


@dataclass(frozen=True, slots=True)
class Damage:
    """Rules and groups of ours that another program deleted, changed or added."""

    deleted: int = 0
    changed: int = 0
    added: int = 0
    """Rules with our cookie that nobody of us made."""
    groups: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Why the switch says that rules went (FLOW_REMOVED), and of how many it said so."""

    def __bool__(self) -> bool:
        return bool(self.deleted or self.changed or self.added or self.groups)

    def text(self) -> str:
        """Say what was done, by another program, to what is ours."""
        parts = [(self.deleted, "deleted"), (self.changed, "changed"), (self.added, "added")]
        said = [f"{number} flow {_entries(number)} of ours {what}" for number, what in parts if number]
        if self.groups:
            said.append(f"{self.groups} group{'s' if self.groups > 1 else ''} of ours deleted or changed")
        why = ", ".join(f"{reason}: {number}" for reason, number in sorted(self.reasons.items()))
        return f"{' and '.join(said)} by another program{f' (the switch says: {why})' if why else ''}"


def _entries(number: int) -> str:
    return "entry" if number == 1 else "entries"


def damage(before: Tables | None, changes: Changes, rules: Iterable[Rule], reasons: Counter[str]) -> Damage:
    """Return what other programs did since a switch had all of `before`; None: that is not known, so nothing.

    `changes` is what now has to be done for what it should have, which may be more than `before`, and `rules` what it
    has.
    """
    if before is None:
        return Damage()
    there = {rule.place: rule for rule in rules}
    lost = [rule for rule in (*changes.add_rules, *changes.blocked) if rule in before.rules]
    deleted = [rule for rule in lost if rule.place not in there or not is_ours(there[rule.place])]
    places = {rule.place for rule in before.rules}
    strays = [rule for rule in changes.delete_rules if rule.place not in places]
    known = {group.number: group for group in before.groups}
    groups = [g for g in (*changes.add_groups, *changes.modify_groups) if known.get(g.number) == g]
    return Damage(len(deleted), len(lost) - len(deleted), len(strays), len(groups), dict(reasons))
