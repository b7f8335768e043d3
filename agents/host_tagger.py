"""Tagging at a host: nftables sets of flows, and a chain at the egress of its interface that marks their packets.

1. The packet's mark is cleared. Its lower six bits stand for the DSCP to be.
2. For each task in turn: where the packet is in a set of the task's flows, the bits of the task's code are set in it.
3. The DSCP becomes what the mark says. (nft cannot set single bits of the DSCP, nor take it from the mark; so there is
   a rule for each value that the codes can make together.)
4. A packet that is not tagged loses its DSCP, and is counted: inside the network the DSCP is ours.

Elements of the sets have a timeout, in ms, and expire by themselves. Packets without ports (ICMP, later fragments) are
found by addresses and protocol in a set of their own. All is in the table `mozart` of the family netdev, which stays
when the agent ends, so tags in force go on.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Sequence

from ..bus.config import Code, SelectorConfig
from ..errors import LiveError
from ..traces.packets import address_text
from .nftables import Nftables
from .tagger import REVERSE_KINDS, WITH_PORTS, Outcome, Tag

TABLE = "netdev mozart"
BITS = 0x3F
MOST_VALUES = 63
FIELDS = {
    "five-tuple": "{ip} saddr . {ip} daddr . meta l4proto . th sport . th dport",
    "portless": "{ip} saddr . {ip} daddr . meta l4proto",
    "src+dst": "{ip} saddr . {ip} daddr",
    "src": "{ip} saddr",
    "dst": "{ip} daddr",
}
"""What identifies a flow, in nft's words; `portless` is the five-tuple of packets that have no ports."""
LETTERS = {"five-tuple": "f", "portless": "p", "src+dst": "b", "src": "s", "dst": "d"}
FRAGMENT = {"ip": "ip frag-off & 0x1fff != 0", "ip6": "frag frag-off != 0"}
NO_PORTS = f"meta l4proto != {{ {', '.join(map(str, WITH_PORTS))} }}"


def values_of(codes: Sequence[Code]) -> list[int]:
    """Return every DSCP but 0 that some of the codes make together, when each in turn sets its bits."""
    found = {0}
    for code in codes:
        found |= {value & ~code.mask | code.value for value in found}
    return sorted(found - {0})


class HostTagger:
    """The tags of one host's interface (a `tagger.Tagger`)."""

    def __init__(self, device: str, interface: str, netns_pid: int | None) -> None:
        """Open nftables in the host's namespace; raises LiveError where that cannot be."""
        self.interface, self.netns_pid = interface, netns_pid
        self._nft = Nftables(netns_pid)
        self._name = re.sub(r"\W", "_", device)
        self._sets: dict[str, tuple[str, str]] = {}
        """Name of each set that is ours: (kind, ip or ip6)."""
        self._selectors: list[SelectorConfig] = []
        self._until: dict[Tag, int] = {}
        self._outcomes: list[Outcome] = []
        self._cleaned = 0
        self._inherits_until_ns = 0
        """Until then elements of an agent before this one may be in the sets."""

    def configure(self, selectors: Sequence[SelectorConfig]) -> None:
        """Make the sets and the chain for the tasks that tag here, in one transaction; none: take all away.

        Raises LiveError where nftables refuses, with its words.
        """
        self._selectors = [s for s in selectors if s.code and (s.tags_forward or s.tags_reverse)]
        tasks = {s.task for s in self._selectors}
        self._until = {tag: until for tag, until in self._until.items() if tag.task in tasks}
        if not self._sets and self._selectors and "elements" in self._try(f"list table {TABLE}"):
            self._inherits_until_ns = time.time_ns() + round(max(s.hold_s for s in self._selectors) * 1e9)
        self._set_up()

    def _set_up(self) -> None:
        before, self._sets = self._sets, self._wanted()
        lines = [f"add table {TABLE}"]
        if self._selectors:
            hook = f'{{ type filter hook egress device "{self.interface}" priority 0; }}'
            lines += [f"add chain {TABLE} {self._chain} {hook}", f"add counter {TABLE} {self._counter}"]
            for name, (kind, ip) in self._sets.items():
                lines.append(f"add set {TABLE} {name} {{ typeof {FIELDS[kind].format(ip=ip)}; flags timeout; }}")
            lines.append(f"flush chain {TABLE} {self._chain}")
            lines += [f"add rule {TABLE} {self._chain} {rule}" for rule in self._rules()]
        elif before:
            lines += [f"delete chain {TABLE} {self._chain}", f"delete counter {TABLE} {self._counter}"]
        lines += [f"delete set {TABLE} {name}" for name in before if name not in self._sets]
        if self._selectors or before:
            self._nft.run("\n".join(lines))
        if before and not self._selectors:
            self._remove_empty_table()

    @property
    def _chain(self) -> str:
        return f"tag_{self._name}"

    @property
    def _counter(self) -> str:
        return f"cleaned_{self._name}"

    def _wanted(self) -> dict[str, tuple[str, str]]:
        """Return the sets that the tasks need."""
        wanted = {}
        for selector in self._selectors:
            for kind in self._kinds(selector):
                for ip in ("ip", "ip6"):
                    wanted[self._set(selector.task, kind, ip)] = (kind, ip)
        return wanted

    @staticmethod
    def _kinds(selector: SelectorConfig) -> list[str]:
        kinds = {selector.key} if selector.tags_forward else set()
        if selector.tags_reverse:
            kinds.add(REVERSE_KINDS[selector.key])
        return sorted(kinds | {"portless"} if "five-tuple" in kinds else kinds)

    def _set(self, task: str, kind: str, ip: str) -> str:
        """Name a set so that it is found again after a restart."""
        return f"{self._name}_{zlib.crc32(task.encode()):08x}_{LETTERS[kind]}{'4' if ip == 'ip' else '6'}"

    def _rules(self) -> list[str]:
        """Return the rules of the chain, by the numbers above."""
        rules = ["meta mark set 0"]  # 1
        for selector in self._selectors:  # 2
            assert selector.code is not None
            keep, value = ~selector.code.mask & BITS, selector.code.value
            marks = f"meta mark set meta mark & {keep:#x} | {value:#x}" if keep else f"meta mark set {value:#x}"
            for kind in self._kinds(selector):
                for ip in ("ip", "ip6"):
                    found = f"{FIELDS[kind].format(ip=ip)} @{self._set(selector.task, kind, ip)} {marks}"
                    if kind == "portless":
                        rules += [f"{FRAGMENT[ip]} {found}", f"{NO_PORTS} {found}"]
                    else:
                        rules.append(found)
        for ip in ("ip", "ip6"):  # 4
            rules.append(f"meta mark 0 {ip} dscp != 0 counter name {self._counter} {ip} dscp set 0")
        rules.append("meta mark 0 accept")
        for value in values_of([s.code for s in self._selectors if s.code]):  # 3
            rules += [f"meta mark {value:#x} {ip} dscp set {value:#x}" for ip in ("ip", "ip6")]
        return rules

    def put(self, tags: Sequence[tuple[Tag, int]], now_ns: int) -> None:
        """Add the elements of tags, with what is left of their time; all in one transaction, else one by one."""
        again = {tag for tag, _ in tags if self._until.get(tag, 0) > now_ns or now_ns < self._inherits_until_ns}
        self._until.update(tags)
        wanted = [(tag, until) for tag, until in tags if until - now_ns >= 1_000_000]
        if not wanted:
            return
        try:
            self._nft.run("\n".join(self._element(tag, until, now_ns, tag in again) for tag, until in wanted))
        except LiveError:
            for tag, until in wanted:
                self._put_one(tag, until, now_ns, tag in again)
            return
        done_ns = time.time_ns()
        self._outcomes += [Outcome(tag, done_ns) for tag, _ in wanted]

    def _put_one(self, tag: Tag, until_ns: int, now_ns: int, again: bool) -> None:
        try:
            self._nft.run(self._element(tag, until_ns, now_ns, again))
            self._outcomes.append(Outcome(tag, time.time_ns()))
        except LiveError as error:
            self._until.pop(tag, None)
            self._outcomes.append(Outcome(tag, None, str(error)))

    def _element(self, tag: Tag, until_ns: int, now_ns: int, again: bool) -> str:
        """Return the commands that add an element, or start its time anew where it may be there (`again`).

        A new element is only added: the kernel answers a deletion after milliseconds, in which nobody else is tagged.
        """
        name, fields = self._set_of(tag), self._fields(tag)
        timed = f"{TABLE} {name} {{ {fields} timeout {max((until_ns - now_ns) // 1_000_000, 1)}ms }}"
        if not again:
            return f"add element {timed}"
        return f"add element {timed}\ndelete element {TABLE} {name} {{ {fields} }}\nadd element {timed}"

    def _set_of(self, tag: Tag) -> str:
        kind = "portless" if tag.kind == "five-tuple" and not self._has_ports(tag) else tag.kind
        return self._set(tag.task, kind, "ip" if tag.is_ipv4 else "ip6")

    @staticmethod
    def _has_ports(tag: Tag) -> bool:
        return tag.has_ports and bool(tag.src_port or tag.dst_port)  # ports 0 and 0: a later fragment

    def _fields(self, tag: Tag) -> str:
        fields = [address_text(*tag.src)] if tag.kind != "dst" else []
        fields += [address_text(*tag.dst)] if tag.kind != "src" else []
        if tag.kind == "five-tuple":
            fields.append(str(tag.protocol))
            if self._has_ports(tag):
                fields += [str(tag.src_port), str(tag.dst_port)]
        return " . ".join(fields)

    def remove(self, tags: Sequence[Tag]) -> None:
        """Delete the elements of tags; those that have expired are gone already."""
        for tag in tags:
            until_ns = self._until.pop(tag, 0)
            if until_ns > time.time_ns():
                name, fields = self._set_of(tag), self._fields(tag)
                element = f"{TABLE} {name} {{ {fields} }}"
                self._try(f"add element {element}\ndelete element {element}")

    def waits(self) -> bool:
        """Say whether there are outcomes to tell."""
        return bool(self._outcomes)

    def poll(self, now_ns: int) -> list[Outcome]:
        """Return what became of tags since the last call."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def settle(self, within_s: float) -> list[Outcome]:
        """Return as `poll`: nothing is ever open here."""
        return self.poll(0)

    def restore(self, now_ns: int) -> None:
        """Set all up again, and put the tags that are in force: a chain goes with its interface."""
        self._nft.close()
        self._nft = Nftables(self.netns_pid)
        self._try(f"delete chain {TABLE} {self._chain}")
        self._set_up()
        self.put([(tag, until) for tag, until in self._until.items() if until > now_ns], now_ns)

    def cleaned(self) -> int:
        """Return the number of packets whose DSCP was cleared since the last call."""
        if not self._selectors:
            return 0
        try:
            said = self._nft.run(f"list counter {TABLE} {self._counter}")
        except LiveError:
            return 0
        found = re.search(r"packets (\d+)", said)
        total = int(found[1]) if found else 0
        fresh, self._cleaned = max(total - self._cleaned, 0), total
        return fresh

    def fileno(self) -> int:
        """Return -1: there is nothing to wait for."""
        return -1

    def close(self, remove: bool) -> None:
        """Let go of nftables, having taken chain and sets away where `remove` says so."""
        if remove:
            try:
                self.configure([])
            except LiveError:
                self._try(f"delete table {TABLE}")
        self._nft.close()

    def _remove_empty_table(self) -> None:
        """Remove the table where nobody else has anything in it."""
        said = self._nft.run(f"list table {TABLE}")
        if not re.search(r"^\s+(chain|set|counter)\b", said, re.MULTILINE):
            self._nft.run(f"delete table {TABLE}")

    def _try(self, commands: str) -> str:
        """Run commands whose refusal means that there is nothing to do; return what they print."""
        try:
            return self._nft.run(commands)
        except LiveError:
            return ""
