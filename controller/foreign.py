"""Flow entries of other programs that stand in the way of ours. Pure.

An entry stands in the way of one of ours in the same table where it comes first (a higher priority, or the same one,
where OpenFlow does not say which is taken) and some packet could match both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from .reconcile import is_ours
from .rules import AGENT_COOKIE_PREFIX, COOKIE_SHIFT, Rule, Tables

MOST = 2000
"""So many foreign entries of a switch are looked at."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Foreign entries of one cookie and table that stand in the way."""

    cookie: int
    table: int
    entries: int
    hides: int
    """Entries of ours before which they come."""
    drops: bool
    """Whether one of them drops what it matches."""
    example: Rule

    def text(self, switch: str) -> str:
        """Say what it is, what it does, and how to be rid of it."""
        many = "a flow entry" if self.entries == 1 else f"{self.entries} flow entries"
        where = f"table {self.table}, priority {self.example.priority}, {matched(self.example)}"
        does = ("drops" if self.entries == 1 else "drop") if self.drops else ("takes" if self.entries == 1 else "take")
        of = "an entry" if self.hides == 1 else f"{self.hides} entries"
        return (
            f"{many} of another program (cookie {self.cookie:#x}, {where}) {does} packets of {of} of ours; left alone. "
            f"To remove: ovs-ofctl -O OpenFlow13 del-flows {switch} cookie={self.cookie:#x}/-1,table={self.table}"
        )


def is_foreign(rule: Rule) -> bool:
    """Whether a rule is neither the controller's nor an agent's."""
    return not is_ours(rule) and rule.cookie >> COOKIE_SHIFT != AGENT_COOKIE_PREFIX


def obstacles(should: Tables, rules: Iterable[Rule]) -> tuple[Obstacle, ...]:
    """Return the foreign entries among `rules` that stand in the way of what a switch should have."""
    ours: dict[int, list[Rule]] = defaultdict(list)
    for rule in should.rules:
        ours[rule.table].append(rule)
    found: dict[tuple[int, int], list[tuple[Rule, int]]] = defaultdict(list)
    for rule in [rule for rule in rules if rule.table in ours and is_foreign(rule)][:MOST]:
        hides = sum(rule.priority >= each.priority and may_meet(rule, each) for each in ours[rule.table])
        if hides:
            found[rule.cookie, rule.table].append((rule, hides))
    return tuple(_obstacle(*key, found[key]) for key in sorted(found))


def _obstacle(cookie: int, table: int, some: list[tuple[Rule, int]]) -> Obstacle:
    first = min((rule for rule, _ in some), key=lambda rule: (-rule.priority, str(rule.match)))
    drops = any(not rule.actions for rule, _ in some)
    return Obstacle(cookie, table, len(some), max(hides for _, hides in some), drops, first)


def may_meet(one: Rule, other: Rule) -> bool:
    """Whether a packet could match both rules: no field that both have keeps them apart."""
    fields: Mapping[str, Any] = dict(other.match)
    return all(name not in fields or _agree(value, fields[name]) for name, value in one.match)


def _agree(one: Any, other: Any) -> bool:
    (a, a_mask), (b, b_mask) = _masked(one), _masked(other)
    return (a ^ b) & a_mask & b_mask == 0


def _masked(value: Any) -> tuple[int, int]:
    """Return a field's value and mask as numbers; addresses are texts, a mask of None is all ones."""
    plain, mask = value if isinstance(value, tuple) else (value, None)
    return _number(plain), -1 if mask is None else _number(mask)


def _number(value: Any) -> int:
    if isinstance(value, int):
        return value
    text = str(value)
    if text.count(":") == 5 and all(len(part) == 2 for part in text.split(":")):
        return int(text.replace(":", ""), 16)
    return _address(text)


def _address(text: str) -> int:
    try:
        return int(ip_address(text))
    except ValueError:  # a field of which we know nothing: texts that differ are kept apart
        return int.from_bytes(text.encode(), "big")


def matched(rule: Rule) -> str:
    """Return what a rule matches, as text."""
    said = ", ".join(f"{name}={_shown(value)}" for name, value in rule.match)
    return said or "all packets"


def _shown(value: Any) -> str:
    return f"{_plain(value[0])}/{_plain(value[1])}" if isinstance(value, tuple) else _plain(value)


def _plain(value: Any) -> str:
    return f"{value:#x}" if isinstance(value, int) and value > 255 else str(value)
