"""One connected switch: what it has, and how it gets what it should have.

Knows OpenFlow conversations (a request, its replies, its errors), and nothing of plans beyond one switch's tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ryu.lib import hub

from ..errors import LiveError
from .openflow import group_from, messages_of, rule_from
from .reconcile import is_ours, reconcile
from .rules import Tables

ANSWER_S = 10.0
"""How long a switch may take for an answer."""
KEPT_XIDS = 100_000


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


class Switch:
    """A conversation with one switch, for as long as its connection lasts."""

    def __init__(self, name: str, datapath: Any, complain: Callable[[str], None]) -> None:
        self.name, self.datapath, self.complain = name, datapath, complain
        self._said = ""
        self._waiting: dict[int, tuple[hub.Queue, list[Any]]] = {}
        self._sent: dict[int, str] = {}

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
        rules, groups, _ = self._has()
        changes = reconcile(should, rules, groups)
        for message in messages_of(changes, self.datapath):
            self._send(message)
        self._ask(self.datapath.ofproto_parser.OFPBarrierRequest(self.datapath))
        rules, groups, packets = self._has()
        left = reconcile(should, rules, groups)
        faults = [f"a rule of another application keeps out {rule}" for rule in left.blocked]
        if len(left):
            faults.append(f"{len(left)} rules or groups are not as they should be")
        return Brought(len(changes), sum(map(is_ours, rules)), tuple(faults), packets)

    def packets(self) -> dict[str, int]:
        """Ask how many packets our rules have seen, by what the rules are for."""
        return self._has()[2]

    def _has(self) -> tuple[list[Any], list[Any], dict[str, int]]:
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
        return rules, [group_from(each, proto) for each in groups], packets

    def _send(self, message: Any) -> None:
        if message.xid is None:
            self.datapath.set_xid(message)
        if len(self._sent) > KEPT_XIDS:
            self._sent.clear()
        self._sent[message.xid] = type(message).__name__
        self.datapath.send_msg(message)

    def _ask(self, message: Any) -> list[Any]:
        """Send a request and return all that its replies have; raises LiveError where none comes."""
        answers: hub.Queue = hub.Queue()
        self.datapath.set_xid(message)
        self._waiting[message.xid] = (answers, [])
        try:
            self._send(message)
            found = answers.get(timeout=ANSWER_S)
        except hub.QueueEmpty:
            raise LiveError(f"{self.name} has not answered a {type(message).__name__} for {ANSWER_S:g} s") from None
        finally:
            self._waiting.pop(message.xid, None)
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
