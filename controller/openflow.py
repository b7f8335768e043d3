"""Rules and groups as OpenFlow 1.3 messages, and back from what a switch says it has. Here Ryu's parser is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .reconcile import Changes
from .rules import COOKIE_PREFIX, COOKIE_SHIFT, Action, Group, Match, Rule

PREFIX_MASK = 0xFFFF << COOKIE_SHIFT


def messages_of(changes: Changes, datapath: Any) -> Iterator[Any]:
    """Yield the messages that make the changes at a switch, in the order in which they are to be sent."""
    proto, parser = datapath.ofproto, datapath.ofproto_parser
    for groups, command in (
        (changes.add_groups, proto.OFPGC_ADD), (changes.modify_groups, proto.OFPGC_MODIFY)
    ):  # fmt: skip
        for group in groups:
            # a bucket whose port is down is passed over at once, before there is another plan
            buckets = [parser.OFPBucket(1, port, actions=[parser.OFPActionOutput(port)]) for port in group.ports]
            yield parser.OFPGroupMod(datapath, command, proto.OFPGT_SELECT, group.number, buckets)
    for rule in changes.add_rules:
        yield parser.OFPFlowMod(
            datapath, cookie=rule.cookie, table_id=rule.table, command=proto.OFPFC_ADD, priority=rule.priority,
            flags=proto.OFPFF_SEND_FLOW_REM, match=parser.OFPMatch(**dict(rule.match)),
            instructions=_instructions(rule.actions, proto, parser),
        )  # fmt: skip
    for rule in changes.delete_rules:
        yield parser.OFPFlowMod(
            datapath, cookie=COOKIE_PREFIX << COOKIE_SHIFT, cookie_mask=PREFIX_MASK, table_id=rule.table,
            command=proto.OFPFC_DELETE_STRICT, priority=rule.priority, out_port=proto.OFPP_ANY,
            out_group=proto.OFPG_ANY, match=parser.OFPMatch(**dict(rule.match)),
        )  # fmt: skip
    for number in changes.delete_groups:
        yield parser.OFPGroupMod(datapath, proto.OFPGC_DELETE, proto.OFPGT_SELECT, number, [])


def _instructions(actions: Iterable[Action], proto: Any, parser: Any) -> list[Any]:
    apply: list[Any] = []
    after: list[Any] = []
    for action in actions:
        match action:
            case ("dscp", value):
                apply.append(parser.OFPActionSetField(ip_dscp=value))
            case ("output", port):
                apply.append(parser.OFPActionOutput(port))
            case ("group", number):
                apply.append(parser.OFPActionGroup(number))
            case ("metadata", value, mask):
                after.append(parser.OFPInstructionWriteMetadata(value, mask))
            case ("goto", table):
                after.append(parser.OFPInstructionGotoTable(table))
    first = [parser.OFPInstructionActions(proto.OFPIT_APPLY_ACTIONS, apply)] if apply else []
    return first + after


def rule_from(stats: Any, proto: Any) -> Rule:
    """Return a flow entry as the switch has it; what no rule of ours has in it stands as ('other', its text)."""
    match: Match = tuple(sorted((str(field), value) for field, value in stats.match.items()))
    actions = [action for instruction in stats.instructions for action in _actions(instruction, proto)]
    if stats.idle_timeout or stats.hard_timeout:
        actions.append(("other", f"timeouts {stats.idle_timeout}, {stats.hard_timeout}"))
    return Rule(stats.table_id, stats.priority, match, tuple(actions), stats.cookie)


REMOVED = {
    "IDLE_TIMEOUT": "timed out",
    "HARD_TIMEOUT": "timed out",
    "DELETE": "deleted",
    "GROUP_DELETE": "group deleted",
}
"""Why a switch removes an entry, in words, by the names that OpenFlow has for it."""


def removed_rule(message: Any) -> Rule:
    """Return the rule that a switch says is gone; its actions are not told."""
    match: Match = tuple(sorted((str(field), value) for field, value in message.match.items()))
    return Rule(message.table_id, message.priority, match, (), message.cookie)


def reason_of(message: Any) -> str:
    """Return why a switch has removed a rule."""
    proto = message.datapath.ofproto
    reasons = {getattr(proto, f"OFPRR_{name}"): said for name, said in REMOVED.items()}
    return reasons.get(message.reason, f"reason {message.reason}")


def _actions(instruction: Any, proto: Any) -> Iterator[Action]:
    kind = instruction.type
    if kind == proto.OFPIT_GOTO_TABLE:
        yield "goto", instruction.table_id
    elif kind == proto.OFPIT_WRITE_METADATA:
        yield "metadata", instruction.metadata, instruction.metadata_mask
    elif kind == proto.OFPIT_APPLY_ACTIONS:
        yield from (_action(action, proto) for action in instruction.actions)
    else:
        yield "other", str(instruction)


def _action(action: Any, proto: Any) -> Action:
    if action.type == proto.OFPAT_OUTPUT:
        return "output", action.port
    if action.type == proto.OFPAT_GROUP:
        return "group", action.group_id
    if action.type == proto.OFPAT_SET_FIELD and action.key == "ip_dscp":
        return "dscp", action.value
    return "other", str(action)


def group_from(stats: Any, proto: Any) -> Group:
    """Return a group as the switch has it; buckets that are not of ours count as port 0, which no switch has."""
    ports = []
    for bucket in stats.buckets:
        simple = len(bucket.actions) == 1 and bucket.actions[0].type == proto.OFPAT_OUTPUT
        port = bucket.actions[0].port if simple else 0
        ports.append(port if bucket.watch_port == port else 0)
    return Group(stats.group_id, tuple(ports) if stats.type == proto.OFPGT_SELECT else ())
