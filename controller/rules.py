"""Rules: the OpenFlow tables of one switch, worked out from the plan and its ports. Pure: values in, values out.

    table 0         SITE     by source and destination MAC: a pair of sites; metadata says what concerns the pair here.
                             Packets from hosts that do not tag lose a DSCP that is not ours.
    tables 1 to 16  TAG      one for each task that tags here: the agent's rules set the tag, ours pass on.
    table 100       MEASURE  a copy to the measure port, of packets that a selector or monitor here wants to see.
    table 101       FORWARD  to the next switch, or one of several (a group); at the last switch without a tag.

Packets of no pair match nothing of ours in table 0: they are dropped, or another application's rules take them. Every
rule of ours carries our cookie prefix and, below it, what it is for. Agents' tag rules carry a prefix of their own.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..bus.config import TAG_TABLES
from ..errors import LiveError
from ..topologies.addresses import host_mac
from .planned import Crossing, Plan

SITE, MEASURE, FORWARD = 0, 100, 101

COOKIE_SHIFT = 48
COOKIE_PREFIX = 0x6D7A
"""Upper 16 bits of the cookie of all rules of ours."""
AGENT_COOKIE_PREFIX = 0x6D7B
"""Upper 16 bits of the cookies of the agents' tag rules, which are not the controller's matter."""
GROUP_PREFIX = 0x6D7A
"""Upper 16 bits of the numbers of all groups of ours."""

PURPOSES = {"site": 1, "clean": 2, "pass": 3, "measure": 4, "forward": 5, "untag": 6}
"""What a rule is for, and the lower bits of its cookie."""

MEASURED = 1 << 62
"""Metadata: a selector or monitor at this switch wants to see the packet."""
IPV4, IPV6 = 0x0800, 0x86DD

LOW, MIDDLE, HIGH = 1000, 1010, 1020
"""Priorities: above those of common applications, which begin at 0 and 1."""

Match = tuple[tuple[str, int | str | tuple[int, int]], ...]
Action = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A flow entry.

    `match` has (field, value) in order of field: in_port, eth_src, eth_dst, eth_type, ip_dscp, metadata (value, mask).
    `actions` are, in this order: ('dscp', value), ('output', port), ('group', number), ('metadata', value, mask) and
    ('goto', table).
    """

    table: int
    priority: int
    match: Match
    actions: tuple[Action, ...]
    cookie: int

    @property
    def place(self) -> tuple[int, int, Match]:
        """What makes it one rule and not another: a switch has one for each table, priority and match."""
        return self.table, self.priority, self.match

    @property
    def purpose(self) -> str:
        """What it is for, a name of `PURPOSES`; 'unknown' for a cookie that is not of ours."""
        return next((name for name, number in PURPOSES.items() if cookie_of(name) == self.cookie), "unknown")


@dataclass(frozen=True, slots=True)
class Group:
    """A SELECT group: each packet leaves by one of the ports, the same for all packets of a flow."""

    number: int
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tables:
    """All that one switch should have of ours."""

    rules: frozenset[Rule]
    groups: frozenset[Group]
    unreached: tuple[str, ...] = ()
    """Neighbours, and 'mon' for the measure port, for which the switch has no port."""


def cookie_of(purpose: str) -> int:
    """Return the cookie of rules of ours with this purpose."""
    return COOKIE_PREFIX << COOKIE_SHIFT | PURPOSES[purpose]


def forward_bit(table: int) -> int:
    """Return the metadata bit that says: a selector here tags the pair's packets, by the rules of this tag table."""
    return 1 << 3 * (table - 1)


def reverse_bit(table: int) -> int:
    """Return the metadata bit that says: a selector here tags the pair's packets for flows that they answer."""
    return 1 << 3 * (table - 1) + 1


def tables_of(plan: Plan, switch: str, ports: Mapping[str, int]) -> Tables:
    """Return what a switch should have; `ports` are its port numbers by neighbour, and by 'mon' the measure port's.

    Pairs whose way on has no port yet get no rules. Raises LiveError for a switch that the plan does not know.
    """
    if switch not in plan.switches:
        raise LiveError(f"{switch} is no switch of {plan.topology['name']}")
    crossings = plan.switches[switch]
    missing = {d for crossing in crossings.values() for d in crossing.next if d not in ports}
    if "mon" not in ports and any(crossing.watched for crossing in crossings.values()):
        missing.add("mon")
    usable = {pair: kept for pair, crossing in crossings.items() if (kept := _with_ports(crossing, ports))}
    numbers = _group_numbers({crossing.next for crossing in usable.values() if len(crossing.next) > 1})
    tagging = sorted({table for c in usable.values() for table in (*c.forward, *c.reverse)})
    rules = set(_tag_rules(tagging))
    if any(crossing.watched for crossing in usable.values()):
        rules.add(_measure_rule(ports["mon"]))
    for pair, crossing in usable.items():
        rules.update(_site_rules(pair, crossing, ports))
        rules.update(_forward_rules(pair, crossing, ports, numbers))
    groups = {Group(number, tuple(ports[d] for d in hops)) for hops, number in numbers.items()}
    return Tables(frozenset(rules), frozenset(groups), tuple(sorted(missing)))


def _with_ports(crossing: Crossing, ports: Mapping[str, int]) -> Crossing | None:
    """Return the part of a crossing for which the switch has ports; None where there is no way on."""
    hops = tuple(device for device in crossing.next if device in ports)
    if not hops:
        return None
    return Crossing(
        hops,
        crossing.forward,
        crossing.reverse,
        crossing.watched and "mon" in ports,
        crossing.cleans_from if crossing.cleans_from in ports else None,
        crossing.untags,
    )


def _group_numbers(sets: set[tuple[str, ...]]) -> dict[tuple[str, ...], int]:
    """Number groups by their next hops, so that a group keeps its number from plan to plan."""
    numbers: dict[tuple[str, ...], int] = {}
    for hops in sorted(sets):
        number = zlib.crc32(",".join(hops).encode()) & 0xFFFF
        while GROUP_PREFIX << 16 | number in numbers.values():
            number = (number + 1) & 0xFFFF
        numbers[hops] = GROUP_PREFIX << 16 | number
    return numbers


def _match(**fields: int | str | tuple[int, int]) -> Match:
    return tuple(sorted(fields.items()))


def _of_pair(pair: str) -> dict[str, Any]:
    source, _, destination = pair.partition(">")
    return {"eth_src": host_mac(source), "eth_dst": host_mac(destination)}


def _site_rules(pair: str, crossing: Crossing, ports: Mapping[str, int]) -> Iterator[Rule]:
    """Yield the pair's rules of table 0: what concerns it here, and which table is next."""
    bits = sum(forward_bit(table) for table in crossing.forward) + sum(reverse_bit(t) for t in crossing.reverse)
    tagging = sorted({*crossing.forward, *crossing.reverse})
    if crossing.watched:
        bits |= MEASURED
    goto = tagging[0] if tagging else MEASURE if crossing.watched else FORWARD
    onward: tuple[Action, ...] = ((("metadata", bits, bits),) if bits else ()) + (("goto", goto),)
    fields = _of_pair(pair)
    yield Rule(SITE, LOW, _match(**fields), onward, cookie_of("site"))
    if crossing.cleans_from is not None:
        fields_here = {**fields, "in_port": ports[crossing.cleans_from]}
        for version in (IPV4, IPV6):
            clean = _match(**fields_here, eth_type=version, ip_dscp=0)
            yield Rule(SITE, HIGH, clean, onward, cookie_of("site"))
            marked = _match(**fields_here, eth_type=version)
            yield Rule(SITE, MIDDLE, marked, (("dscp", 0), *onward), cookie_of("clean"))


def _tag_rules(tagging: list[int]) -> Iterator[Rule]:
    """Yield the rules by which packets go on from one tag table to the next, and after the last to MEASURE.

    All tag tables have one, so that a tag rule of an agent that has not heard of a new plan yet leads nowhere else.
    """
    for table in range(1, TAG_TABLES + 1):
        following = min((other for other in tagging if other > table), default=MEASURE)
        yield Rule(table, 0, (), (("goto", following),), cookie_of("pass"))
    yield Rule(MEASURE, 0, (), (("goto", FORWARD),), cookie_of("pass"))


def _measure_rule(port: int) -> Rule:
    wanted = _match(metadata=(MEASURED, MEASURED))
    return Rule(MEASURE, LOW, wanted, (("output", port), ("goto", FORWARD)), cookie_of("measure"))


def _forward_rules(
    pair: str, crossing: Crossing, ports: Mapping[str, int], numbers: Mapping[tuple[str, ...], int]
) -> Iterator[Rule]:
    """Yield the pair's rules of the last table; where tags are removed, IPv4 and IPv6 have one each of their own."""
    several = len(crossing.next) > 1
    out: Action = ("group", numbers[crossing.next]) if several else ("output", ports[crossing.next[0]])
    fields = _of_pair(pair)
    yield Rule(FORWARD, LOW, _match(**fields), (out,), cookie_of("forward"))
    if crossing.untags:
        for version in (IPV4, IPV6):
            yield Rule(FORWARD, MIDDLE, _match(**fields, eth_type=version), (("dscp", 0), out), cookie_of("untag"))
