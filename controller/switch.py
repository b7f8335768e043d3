"""One connected switch: what it has, and how it gets what it should have.

Knows OpenFlow conversations (a request, its replies, its errors), and nothing of plans beyond one switch's tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ryu.lib import hub

from ..errors import LiveError
from .damage import Damage, damage
from .foreign import Obstacle, obstacles
from .openflow import group_from, messages_of, reason_of, removed_rule, rule_from
from .reconcile import Changes, is_ours, reconcile
from .rules import AGENT_COOKIE_PREFIX, COOKIE_PREFIX, COOKIE_SHIFT, Group, Rule, Tables

ANSWER_S = 10.0
"""How long a switch may take for an answer."""
KEPT_XIDS = 100_000
OWN_PREFIXES = (COOKIE_PREFIX, AGENT_COOKIE_PREFIX)


@dataclass(frozen=True, slots=True)
class PortView:
    """A port as the switch sees it."""

    number: int
    up: bool


@dataclass(frozen=True, slots=True)
class Brought:
    """What came of bringing a switch to what it should have."""

    changes: int
    rules: int
    """Rules of ours that it has now."""
    faults: tuple[str, ...]
    """What is not as it should be after all, in words."""
    packets: Mapping[str, int]
    """Packets that its rules have seen, by what they are for (`rules.PURPOSES`)."""
    blocked: int = 0
    """Rules of ours that a foreign rule in their place keeps out."""
    damage: Damage = field(default_factory=Damage)
    """What other programs had done to what it had."""
    obstacles: tuple[Obstacle, ...] = ()
    """Foreign entries in the way of ours."""
    ages_s: Mapping[tuple[int, int], float] = field(default_factory=dict)
    """How long the oldest of them has been there, by cookie and table."""


@dataclass(slots=True)
class _Has:
    """What a switch has."""

    rules: list[Rule]
    ages_s: list[float]
    groups: list[Group]
    packets: dict[str, int]


class Switch:
    """A conversation with one switch, for as long as its connection lasts."""

    def __init__(self, name: str, datapath: Any, complain: Callable[[str], None]) -> None:
        self.name, self.datapath, self.complain = name, datapath, complain
        self._said = ""
        self._waiting: dict[int, tuple[hub.Queue, list[Any]]] = {}
        self._sent: dict[int, str] = {}
        self._in_force: Tables | None = None
        """What it had, of what it should have, when we last looked; None: nobody has looked."""
        self._places: frozenset[tuple[Any, ...]] = frozenset()
        self._others = 0
        """Rules that are neither ours nor the agents', when we last looked."""
        self._removed: Counter[str] = Counter()
        """Rules that should be there and that the switch says are gone, since then, by the reason."""

    def ports(self) -> dict[str, PortView]:
        """Ask for the ports, by name."""
        proto, parser = self.datapath.ofproto, self.datapath.ofproto_parser
        down = proto.OFPPS_LINK_DOWN
        return {
            port.name.decode(errors="replace"): PortView(
                port.port_no, not (port.state & down or port.config & proto.OFPPC_PORT_DOWN)
            )
            for port in self._ask(parser.OFPPortDescStatsRequest(self.datapath, 0))
        }

    def bring(self, should: Tables) -> Brought:
        """Make a switch have exactly the tables that it should have, and look whether it has.

        Raises LiveError where it does not answer.
        """
        has = self._has()
        changes = reconcile(should, has.rules, has.groups)
        removed, self._removed = self._removed, Counter()
        done = damage(self._in_force, changes, has.rules, removed)
        self._holds(should)  # from now on, what goes of it goes by another hand
        left = changes
        if len(changes):
            for message in messages_of(changes, self.datapath):
                self._send(message)
            self._ask(self.datapath.ofproto_parser.OFPBarrierRequest(self.datapath))
            has = self._has()
            left = reconcile(should, has.rules, has.groups)
        return self._brought(should, has, len(changes), left, done)

    def _brought(self, should: Tables, has: _Has, changes: int, left: Changes, done: Damage) -> Brought:
        """Sum up how a switch is after it was brought to what it should have, and remember it."""
        missing = {*left.blocked, *left.add_rules}
        late = {*left.add_groups, *left.modify_groups}
        self._holds(Tables(should.rules - missing, should.groups - late))
        ours = sum(map(is_ours, has.rules))
        self._others = len(has.rules) - ours - sum(r.cookie >> COOKIE_SHIFT == AGENT_COOKIE_PREFIX for r in has.rules)
        faults = (f"{len(left)} rules or groups are not as they should be",) if len(left) else ()
        found = obstacles(should, has.rules) if self._others else ()
        ages: dict[tuple[int, int], float] = {}
        for rule, age_s in zip(has.rules, has.ages_s, strict=True):
            ages[rule.cookie, rule.table] = max(age_s, ages.get((rule.cookie, rule.table), 0.0))
        kept = {(each.cookie, each.table): ages[each.cookie, each.table] for each in found}
        return Brought(changes, ours, faults, has.packets, len(left.blocked), done, found, kept)

    def as_left(self) -> bool:
        """Ask, at little cost, whether its rules and groups look as they did when they were last looked at.

        Rules are counted: all, ours, and the agents'. Who changes the actions of one changes no number.
        """
        parser, proto = self.datapath.ofproto_parser, self.datapath.ofproto
        prefixes = ((0, 0), *((prefix << COOKIE_SHIFT, 0xFFFF << COOKIE_SHIFT) for prefix in OWN_PREFIXES))
        counts = [
            parser.OFPAggregateStatsRequest(
                self.datapath, 0, proto.OFPTT_ALL, proto.OFPP_ANY, proto.OFPG_ANY, cookie, mask, parser.OFPMatch()
            )
            for cookie, mask in prefixes
        ]
        *counted, described = self._ask_all([*counts, parser.OFPGroupDescStatsRequest(self.datapath, 0)])
        everything, ours, agents = (count[0].flow_count for count in counted)
        groups = {group.number: group for group in (group_from(each, proto) for each in described)}
        expected = self._in_force or Tables(frozenset(), frozenset())
        return (
            ours == len(expected.rules)
            and everything - ours - agents == self._others
            and all(groups.get(group.number) == group for group in expected.groups)
        )

    def removed(self, message: Any) -> bool:
        """Take the switch's word that a rule is gone; returns whether it should be there."""
        rule = removed_rule(message)
        mine = is_ours(rule) and rule.place in self._places
        if mine:
            self._removed[reason_of(message)] += 1
        return mine

    def packets(self) -> dict[str, int]:
        """Ask how many packets our rules have seen, by what the rules are for."""
        return self._has().packets

    def _holds(self, tables: Tables) -> None:
        self._in_force, self._places = tables, frozenset(rule.place for rule in tables.rules)

    def _has(self) -> _Has:
        proto, parser = self.datapath.ofproto, self.datapath.ofproto_parser
        stats = self._ask(
            parser.OFPFlowStatsRequest(self.datapath, 0, proto.OFPTT_ALL, proto.OFPP_ANY, proto.OFPG_ANY, 0, 0)
        )
        rules = [rule_from(each, proto) for each in stats]
        packets: dict[str, int] = {}
        for rule, each in zip(rules, stats, strict=True):
            if is_ours(rule):
                packets[rule.purpose] = packets.get(rule.purpose, 0) + each.packet_count
        groups = self._ask(parser.OFPGroupDescStatsRequest(self.datapath, 0))
        ages_s = [each.duration_sec + each.duration_nsec / 1e9 for each in stats]
        return _Has(rules, ages_s, [group_from(each, proto) for each in groups], packets)

    def _send(self, message: Any) -> None:
        if message.xid is None:
            self.datapath.set_xid(message)
        if len(self._sent) > KEPT_XIDS:
            self._sent.clear()
        self._sent[message.xid] = type(message).__name__
        self.datapath.send_msg(message)

    def _ask(self, message: Any) -> list[Any]:
        """Send a request and return all that its replies have; raises LiveError where none comes."""
        return self._ask_all([message])[0]

    def _ask_all(self, messages: Sequence[Any]) -> list[list[Any]]:
        """Send requests one behind the other, then return what the replies to each have."""
        asked = []
        for message in messages:
            self.datapath.set_xid(message)
            answers: hub.Queue = hub.Queue()
            self._waiting[message.xid] = (answers, [])
            asked.append((message, answers))
        try:
            for message in messages:
                self._send(message)
            return [self._answer(message, answers) for message, answers in asked]
        finally:
            for message in messages:
                self._waiting.pop(message.xid, None)

    def _answer(self, message: Any, answers: hub.Queue) -> list[Any]:
        try:
            found = answers.get(timeout=ANSWER_S)
        except hub.QueueEmpty:
            raise LiveError(f"{self.name} has not answered a {type(message).__name__} for {ANSWER_S:g} s") from None
        if isinstance(found, LiveError):
            raise found
        return list(found)

    def answered(self, xid: int, body: list[Any], more: bool) -> None:
        """Take a reply that the switch has sent; `more` says that others belong to it."""
        if xid in self._waiting:
            answers, parts = self._waiting[xid]
            parts.extend(body)
            if not more:
                answers.put(parts)

    def refused(self, xid: int, reason: str) -> bool:
        """Take an error that the switch has sent, said once where it repeats; returns whether it concerns us."""
        if xid not in self._sent:
            return False
        said = f"{self.name} refused a {self._sent[xid]}: {reason}"
        if said != self._said:
            self.complain(said)
        self._said = said
        if xid in self._waiting:
            self._waiting[xid][0].put(LiveError(said))
        return True

    def gone(self) -> None:
        """Tell those who wait for an answer that the connection has ended."""
        for answers, _ in self._waiting.values():
            answers.put(LiveError(f"the connection to {self.name} has ended"))
