"""Tagging at a host: nftables sets of flows, and a chain at the egress of its interface that sets their packets' DSCP.

1. A packet loses the DSCP that it comes with, and is counted: inside the network the DSCP is ours. In the machine's own
   network namespace, which others use too, it loses it only where a monitor could take it for a tag.
2. For each task in turn: where the packet is in a set of the task's flows, the bits of the task's code are set in its
   DSCP. nft cannot set single bits of it; so a map says for each DSCP that the packet can have by then to which chain
   to jump, and there is a chain for each DSCP that sets it.

Nothing else of a packet is touched. Its mark (fwmark) in particular is the host's own, for its routes and queues.

Elements of the sets have a timeout, in ms, and expire by themselves. Packets without ports (ICMP, later fragments) are
found by addresses and protocol in a set of their own. All is in the table `mozart` of the family netdev, which stays
when the agent ends, so tags in force go on. Names there are made of the names of device and task as they are, which
have no underscore: those of two tasks are never the same.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Sequence

from ..bus.config import Code, SelectorConfig
from ..errors import LiveError
from ..traces.packets import address_text
from .nftables import Nftables, quoted
from .tagger import REVERSE_KINDS, WITH_PORTS, Outcome, Tag

TABLE = "netdev mozart"
ALL_BITS = 0x3F
FIELDS = {
    "five-tuple": "{ip} saddr . {ip} daddr . meta l4proto . th sport . th dport",
    "portless": "{ip} saddr . {ip} daddr . meta l4proto",
    "src+dst": "{ip} saddr . {ip} daddr",
    "src": "{ip} saddr",
    "dst": "{ip} daddr",
}
"""What identifies a flow, in nft's words; `portless` is the five-tuple of packets that have no ports."""
LETTERS = {"five-tuple": "f", "portless": "p", "src+dst": "b", "src": "s", "dst": "d"}
VERSIONS = {"ip": "4", "ip6": "6"}
FRAGMENT = {"ip": "ip frag-off & 0x1fff != 0", "ip6": "frag frag-off != 0"}
NO_PORTS = f"meta l4proto != {{ {', '.join(map(str, WITH_PORTS))} }}"
UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
"""Of a timeout: nft takes no number of more than eight digits, so a long one is written with several."""


def with_code(dscp: int, code: Code) -> int:
    """Return a DSCP in which the bits of a code are set."""
    return dscp & ~code.mask | code.value


def duration(milliseconds: int) -> str:
    """Write a timeout, of at least a millisecond, as nft reads it: '1d2h3s4ms'."""
    left, text = max(milliseconds, 1), ""
    for unit, size in UNITS_MS.items():
        if left >= size:
            text += f"{left // size}{unit}"
            left %= size
    return text


def taken_for_tags(codes: Collection[Code]) -> list[int]:
    """Return every DSCP that has the bits of one of the codes."""
    return [dscp for dscp in range(1, ALL_BITS + 1) if any(dscp & code.mask == code.value for code in codes)]


class HostTagger:
    """The tags of one host's interface (a `tagger.Tagger`)."""

    def __init__(self, device: str, interface: str, netns_pid: int | None, netns_start: int | None = None) -> None:
        """Open nftables in the host's namespace; raises LiveError where that cannot be."""
        self.device, self.interface, self.netns_pid = device, interface, netns_pid
        self.netns = netns_pid, netns_start
        self._nft = Nftables(*self.netns)
        self._there: set[tuple[str, str]] | None = None
        """(kind, name) of what is ours in the table; None before anybody has looked."""
        self._selectors: list[SelectorConfig] = []
        self._codes: tuple[Code, ...] = ()
        self._until: dict[Tag, int] = {}
        self._outcomes: list[Outcome] = []
        self._cleaned = 0
        self.faults = 0
        self._inherits_until_ns = 0
        """Until then elements of an agent before this one may be in the sets."""

    def configure(self, selectors: Sequence[SelectorConfig], codes: Collection[Code] = ()) -> None:
        """Make the sets and chains for the tasks that tag here, in one transaction; none: take all away.

        `codes` are those of other tasks in the network. Raises LiveError where nftables refuses, with its words; all is
        as before then.
        """
        wanted = [s for s in selectors if s.code and (s.tags_forward or s.tags_reverse)]
        known = tuple(dict.fromkeys([*codes, *(s.code for s in wanted if s.code)]))
        if self._there is None:
            said = self._try(f"list table {TABLE}")
            self._there = self._ours(said)
            if "elements" in said and wanted:
                self._inherits_until_ns = time.time_ns() + round(max(s.hold_s for s in wanted) * 1e9)
        self._set_up(wanted, known)
        self._selectors, self._codes = wanted, known
        tasks = {s.task for s in wanted}
        self._until = {tag: until for tag, until in self._until.items() if tag.task in tasks}

    def _ours(self, listing: str) -> set[tuple[str, str]]:
        """Return (kind, name) of what is this device's in the text of a table."""
        found = re.findall(r"^\s+(chain|set|counter) (\S+)", listing, re.MULTILINE)
        return {(kind, name) for kind, name in found if name.split("_")[1:2] == [self.device]}

    def _set_up(self, selectors: Sequence[SelectorConfig], codes: Collection[Code]) -> None:
        """Make what the tasks need and delete what they do not; raises LiveError, nothing done, where nft refuses."""
        before = self._there or set()
        sets = {self._set(s.task, kind, ip): (kind, ip) for s in selectors for kind in _kinds(s) for ip in VERSIONS}
        rules, values = self._rules(selectors, codes) if selectors else ([], [])
        chains = [self._to(value) for value in values]
        wanted: set[tuple[str, str]] = set()
        lines = [f"add table {TABLE}"]
        if selectors:
            wanted |= {("chain", self._chain), ("counter", self._counter)}
            wanted |= {("chain", name) for name in chains} | {("set", name) for name in sets}
            hook = f"{{ type filter hook egress device {quoted(self.interface)} priority 0; }}"
            lines += [f"add chain {TABLE} {self._chain} {hook}", f"add counter {TABLE} {self._counter}"]
            lines += [f"add chain {TABLE} {name}" for name in chains]
            for name, (kind, ip) in sets.items():
                lines.append(f"add set {TABLE} {name} {{ typeof {FIELDS[kind].format(ip=ip)}; flags timeout; }}")
        lines += [f"flush chain {TABLE} {name}" for kind, name in sorted(wanted | before) if kind == "chain"]
        lines += [f"add rule {TABLE} {rule}" for rule in rules]
        lines += [f"delete {kind} {TABLE} {name}" for kind, name in sorted(before - wanted)]
        if wanted or before:
            self._nft.run("\n".join(lines))
            self._there = wanted
        if before and not wanted:
            self._remove_empty_table()

    @property
    def _chain(self) -> str:
        return f"tag_{self.device}"

    @property
    def _counter(self) -> str:
        return f"cleaned_{self.device}"

    def _to(self, value: int) -> str:
        """Name the chain that sets a DSCP."""
        return f"to_{self.device}_{value}"

    def _set(self, task: str, kind: str, ip: str) -> str:
        """Name a set so that it is found again after a restart, and no other has the name."""
        return f"{LETTERS[kind]}{VERSIONS[ip]}_{self.device}_{task}"

    def _rules(self, selectors: Sequence[SelectorConfig], codes: Collection[Code]) -> tuple[list[str], list[int]]:
        """Return the rules, each behind the name of its chain, by the numbers above; and the DSCPs that they set."""
        cleared = taken_for_tags(codes) if self.netns_pid is None else range(1, ALL_BITS + 1)
        words = f"{{ {', '.join(map(str, cleared))} }}" if self.netns_pid is None else "!= 0"
        rules = [
            f"{self._chain} {ip} dscp {words} counter name {self._counter} {ip} dscp set 0" for ip in VERSIONS
        ]  # 1
        possible, values = set(range(ALL_BITS + 1)) - set(cleared), set[int]()
        for selector in selectors:  # 2
            assert selector.code is not None
            after = {before: with_code(before, selector.code) for before in sorted(possible)}
            for kind in _kinds(selector):
                for ip in VERSIONS:
                    found = (
                        f"{FIELDS[kind].format(ip=ip)} @{self._set(selector.task, kind, ip)} {self._jump(ip, after)}"
                    )
                    for which in (FRAGMENT[ip], NO_PORTS) if kind == "portless" else ("",):
                        rules.append(f"{self._chain} {which} {found}")
            possible |= set(after.values())
            values |= set(after.values())
        rules += [f"{self._to(value)} {ip} dscp set {value}" for value in sorted(values) for ip in VERSIONS]
        return rules, sorted(values)

    def _jump(self, ip: str, after: dict[int, int]) -> str:
        """Return the statement that jumps where the DSCP is set that each one becomes."""
        if len(set(after.values())) == 1:
            return f"jump {self._to(next(iter(after.values())))}"
        jumps = (f"{dscp} : jump {self._to(value)}" for dscp, value in after.items() if dscp != value)
        return f"{ip} dscp vmap {{ {', '.join(jumps)} }}"

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
        timed = f"{TABLE} {name} {{ {fields} timeout {duration((until_ns - now_ns) // 1_000_000)} }}"
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
        self._nft = Nftables(*self.netns)
        self._try(f"delete chain {TABLE} {self._chain}")
        self._there = self._ours(self._try(f"list table {TABLE}"))
        self._set_up(self._selectors, self._codes)
        self.put([(tag, until) for tag, until in self._until.items() if until > now_ns], now_ns)

    def cleaned(self) -> int:
        """Return the number of packets that have lost a DSCP of their own since the last call."""
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
            except LiveError:  # one by one, the chain first: its rules name the others
                for kind, name in sorted(self._there or (), key=lambda each: each[1] != self._chain):
                    self._try(f"flush chain {TABLE} {name}" if kind == "chain" else "")
                    self._try(f"delete {kind} {TABLE} {name}")
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


def _kinds(selector: SelectorConfig) -> list[str]:
    """Return the kinds of flows that a task's sets hold."""
    kinds = {selector.key} if selector.tags_forward else set()
    if selector.tags_reverse:
        kinds.add(REVERSE_KINDS[selector.key])
    return sorted(kinds | {"portless"} if "five-tuple" in kinds else kinds)
