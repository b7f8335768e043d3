"""OpenFlow tables in memory: say where a packet goes, over which switches, and with which tag.

Understands what controller/rules.py makes, and tag rules as agents put them in: ('bits', value, mask) sets bits of the
DSCP. Where a group has several ports, all the ways are followed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mozart.controller.planned import Plan
from mozart.controller.rules import AGENT_COOKIE_PREFIX, COOKIE_SHIFT, IPV4, SITE, Rule, Tables, tables_of
from mozart.topologies.addresses import host_mac

MON_PORT = 99


@dataclass(frozen=True)
class Packet:
    """What the tables look at; `flow` stands for the fields of the flow key."""

    source: str
    destination: str
    dscp: int = 0
    eth_type: int = IPV4
    flow: int = 0


@dataclass(frozen=True)
class Journey:
    """One way that a packet went."""

    switches: tuple[str, ...]
    delivered_to: str | None
    dscp: int
    measured: Mapping[str, int] = field(default_factory=dict)
    """Switch whose measure port got a copy -> the copy's DSCP."""
    cleaned: int = 0
    """How often a rule for foreign DSCP was hit."""


class FlowWorld:
    """The switches of a plan with their tables, and agents' rules beside them."""

    def __init__(self, plan: Plan, without_ports: Iterable[tuple[str, str]] = ()) -> None:
        self.plan = plan
        missing = set(without_ports)
        self.ports = {
            switch: {
                n: i + 1 for i, n in enumerate(plan.topology["interfaces"][switch]) if (switch, n) not in missing
            } | ({"mon": MON_PORT} if (switch, "mon") not in missing else {})
            for switch in plan.switches
        }  # fmt: skip
        self.tables: dict[str, Tables] = {s: tables_of(plan, s, self.ports[s]) for s in plan.switches}
        self.rules: dict[str, list[Rule]] = {s: list(t.rules) for s, t in self.tables.items()}

    def tag(self, switch: str, table: int, bit: int, value: int, mask: int, **match: Any) -> None:
        """Put in a rule as an agent does: packets with a metadata bit get a code, and go on as the others."""
        onward = next(r.actions for r in self.rules[switch] if r.table == table and not r.match)
        fields = tuple(sorted({"metadata": (bit, bit), **match}.items()))
        rule = Rule(table, 100, fields, (("bits", value, mask), *onward), AGENT_COOKIE_PREFIX << COOKIE_SHIFT | 1)
        self.rules[switch].append(rule)

    def send(self, packet: Packet) -> list[Journey]:
        """Send a packet from its source host; returns every way that it can go."""
        switch = next(s for s in self.ports if packet.source in self.ports[s])
        begin = Journey((), None, packet.dscp)
        return list(self._at(switch, self.ports[switch][packet.source], packet, begin))

    def _at(self, switch: str, in_port: int, packet: Packet, journey: Journey) -> Iterator[Journey]:
        assert switch not in journey.switches, f"{packet} goes in circles: {journey.switches} and {switch} again"
        journey = replace(journey, switches=(*journey.switches, switch))
        neighbours = {port: neighbour for neighbour, port in self.ports[switch].items()}
        outs, journey = self._through(switch, in_port, packet, journey)
        for port in outs:
            if neighbours[port].startswith("h"):
                yield replace(journey, delivered_to=neighbours[port])
            else:
                yield from self._at(neighbours[port], self.ports[neighbours[port]][switch], packet, journey)
        if not outs:
            yield journey

    def _through(self, switch: str, in_port: int, packet: Packet, journey: Journey) -> tuple[list[int], Journey]:
        """Follow a packet through one switch's tables; returns the ports by which it may leave."""
        metadata, measured = 0, dict(journey.measured)
        outs: list[int] = []
        table: int | None = SITE
        action: Any
        groups = {group.number: group.ports for group in self.tables[switch].groups}
        while table is not None:
            rule = self._hit(switch, table, in_port, packet, journey.dscp, metadata)
            table = None
            if rule is None:
                break
            if rule.purpose == "clean":
                journey = replace(journey, cleaned=journey.cleaned + 1)
            for action in rule.actions:
                match action:
                    case ("dscp", value):
                        journey = replace(journey, dscp=value)
                    case ("bits", value, mask):
                        journey = replace(journey, dscp=journey.dscp & ~mask | value)
                    case ("output", port) if port == MON_PORT:
                        assert switch not in measured, f"{switch} copies {packet} twice"
                        measured[switch] = journey.dscp
                    case ("output", port):
                        outs.append(port)
                    case ("group", number):
                        outs.extend(groups[number])
                    case ("metadata", value, mask):
                        metadata = metadata & ~mask | value
                    case ("goto", number):
                        assert number > rule.table
                        table = number
                    case _:
                        raise AssertionError(f"{action} is no action that these tables know")
        return outs, replace(journey, measured=measured)

    def _hit(self, switch: str, table: int, in_port: int, packet: Packet, dscp: int, metadata: int) -> Rule | None:
        fields: dict[str, Any] = {
            "in_port": in_port, "eth_src": host_mac(packet.source), "eth_dst": host_mac(packet.destination),
            "eth_type": packet.eth_type, "ip_dscp": dscp, "metadata": metadata, "flow": packet.flow,
        }  # fmt: skip

        def matches(rule: Rule) -> bool:
            return all(
                fields[name] & value[1] == value[0] if isinstance(value, tuple) else fields[name] == value
                for name, value in rule.match
            )

        hits = [rule for rule in self.rules[switch] if rule.table == table and matches(rule)]
        best = [rule for rule in hits if rule.priority == max(r.priority for r in hits)]
        assert len(best) <= 1, f"{switch}: {packet} hits {best} alike"
        return best[0] if best else None
