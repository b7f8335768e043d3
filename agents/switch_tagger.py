"""Tagging at a switch: a flow entry for each tag in the table of its task, over the bridge's management socket.

The agent speaks OpenFlow itself, so tags work while the controller is away. A rule matches the metadata bit that the
controller's first table sets ("a selector here tags this pair"), and the fields of the flow; it sets the bits of the
task's code and goes on to the next tag table, as the controller's default rule does. It has a hard timeout, in whole
seconds: the agent ends a tag at its exact time, and the timeout ends it where the agent is gone. OpenFlow's timeouts
have 16 bits, so the rule of a tag that lasts longer than 18 hours is put again before it ends.

A switch that was away is told when it is back which tags have ended meanwhile, and gets those in force again.
"""

from __future__ import annotations

import heapq
import logging
import math
import struct
import time
from collections.abc import Collection, Sequence

from ..bus.config import Code, SelectorConfig
from ..errors import LiveError
from . import openflow as of
from .tagger import Outcome, Tag

COOKIE_PREFIX = 0x6D7B << 48
PREFIX_MASK = 0xFFFF << 48
PRIORITY = 100
MEASURE_TABLE = 100
RETRY_S = 0.25
MOST_SECONDS = 65535
RENEW_NS = 60_000_000_000
"""How long before it ends the rule of a longer tag is put again."""
ADDRESSES = {True: (0x0800, of.IPV4_SRC, of.IPV4_DST), False: (0x86DD, of.IPV6_SRC, of.IPV6_DST)}
"""Whether the packets are IPv4: ethertype, and the fields of the addresses."""


log = logging.getLogger("mozart.agent")


def cookie_of(table: int) -> int:
    """Return the cookie of all tag rules of a task: each has a table of its own at a switch."""
    return COOKIE_PREFIX | table


def match_of(tag: Tag, table: int) -> bytes:
    """Return the fields that a tag's rule in the tag table number `table` matches."""
    ethertype, source, destination = ADDRESSES[tag.is_ipv4]
    bit = struct.pack(">Q", 1 << 3 * (table - 1) + tag.reverse)
    fields = of.field(of.METADATA, bit, bit) + of.field(of.ETH_TYPE, struct.pack(">H", ethertype))
    if tag.kind == "five-tuple":
        fields += of.field(of.IP_PROTO, bytes([tag.protocol]))
    if tag.kind != "dst":
        fields += of.field(source, _address(tag.src, tag.is_ipv4))
    if tag.kind != "src":
        fields += of.field(destination, _address(tag.dst, tag.is_ipv4))
    if tag.has_ports:
        ports = (tag.src_port, tag.dst_port)
        numbers = of.PORTS[tag.protocol]
        fields += b"".join(of.field(n, struct.pack(">H", p)) for n, p in zip(numbers, ports, strict=True))
    return fields


def _address(words: tuple[int, int], is_ipv4: bool) -> bytes:
    return struct.pack(">I", words[1] & 0xFFFFFFFF) if is_ipv4 else struct.pack(">QQ", *words)


class SwitchTagger:
    """The tags of one bridge (a `tagger.Tagger`)."""

    def __init__(self, management: str) -> None:
        """Take the path of the bridge's management socket; it need not be there yet."""
        self.management = management
        self._connection: of.Connection | None = None
        self._retry_at = 0.0
        self._selectors: dict[str, SelectorConfig] = {}
        self._following: dict[str, int] = {}
        self._until: dict[Tag, int] = {}
        self._open: dict[int, Tag] = {}
        """Tags sent and not confirmed, by the number of the message."""
        self._ending: dict[tuple[Tag, int], tuple[int, bytes]] = {}
        """Rules deleted, and not confirmed: by tag and table, number and bytes of the message."""
        self._barriers: dict[int, list[int]] = {}
        self._renewals: list[tuple[int, int, Tag]] = []
        """When to look at the rules of tags that last longer, a heap."""
        self._renew_at: dict[Tag, int] = {}
        """When these are to be put again."""
        self.faults = 0
        """Connections to the switch that were lost, and messages of it that could not be understood."""
        self._outcomes: list[Outcome] = []
        self._xid = 0

    def configure(self, selectors: Sequence[SelectorConfig], codes: Collection[Code] = ()) -> None:
        """Take the tasks' tables and codes; where these or the next table changed, tags in force are put again."""
        before = {task: self._rule(task) for task in self._selectors}
        tagging = sorted((s for s in selectors if s.code and s.table > 0), key=lambda s: s.table)
        tables = [s.table for s in tagging]
        self._following = dict(zip((s.task for s in tagging), [*tables, MEASURE_TABLE][1:], strict=True))
        gone = [tag for tag in self._until if tag.task not in self._following]
        elsewhere = {s.task for s in tagging if s.task in before and before[s.task][0] != s.table}
        moved = [(tag, until) for tag, until in self._until.items() if tag.task in elsewhere]
        self.remove([*gone, *(tag for tag, _ in moved)])
        self._selectors = {s.task: s for s in tagging}
        changed = {task for task, rule in before.items() if task in self._selectors and rule != self._rule(task)}
        self.put([*moved, *((t, until) for t, until in self._until.items() if t.task in changed)], time.time_ns())

    def put(self, tags: Sequence[tuple[Tag, int]], now_ns: int) -> None:
        """Send the rules of tags, and a barrier whose answer says that they are in force."""
        known = [(tag, until_ns) for tag, until_ns in tags if tag.task in self._selectors]
        self._outcomes += [
            Outcome(tag, None, f"no task {tag.task}") for tag, _ in tags if tag.task not in self._selectors
        ]
        self._until.update(known)
        for tag, _ in known if self._ending else ():
            self._ending.pop((tag, self._selectors[tag.task].table), None)
        if self._connection is None or not known:
            return
        numbers, messages = [], []
        for tag, until_ns in known:
            self._xid += 1
            numbers.append(self._xid)
            self._open[self._xid] = tag
            messages.append(self._flow_mod(of.ADD, tag, self._seconds(tag, until_ns, now_ns)))
        self._send_confirmed(messages, numbers)

    def _seconds(self, tag: Tag, until_ns: int, now_ns: int) -> int:
        """Return the timeout of a tag's rule; where it is shorter than the tag lasts, remember to put it again."""
        seconds = max(math.ceil((until_ns - now_ns) / 1e9), 1)
        if seconds > MOST_SECONDS:
            seconds, at_ns = MOST_SECONDS, now_ns + MOST_SECONDS * 1_000_000_000 - RENEW_NS
            if self._renew_at.get(tag) is None:
                heapq.heappush(self._renewals, (at_ns, self._xid, tag))
            self._renew_at[tag] = at_ns
        return seconds

    def _renew(self, now_ns: int) -> None:
        """Put the rules again that end soon and whose tags last longer."""
        due = []
        while self._renewals and self._renewals[0][0] <= now_ns:
            _, number, tag = heapq.heappop(self._renewals)
            at_ns = self._renew_at.pop(tag, now_ns)
            if at_ns > now_ns:  # it was put meanwhile
                self._renew_at[tag] = at_ns
                heapq.heappush(self._renewals, (at_ns, number, tag))
            elif self._until.get(tag, 0) > now_ns:
                due.append((tag, self._until[tag]))
        self.put(due, now_ns)

    def remove(self, tags: Sequence[Tag]) -> None:
        """Delete the rules of tags; a switch that is away is told of those that end early when it is back."""
        numbers, messages = [], []
        now_ns = time.time_ns()
        for tag in tags:
            until_ns = self._until.pop(tag, None)
            if until_ns is not None and tag.task in self._selectors:
                self._xid += 1
                numbers.append(self._xid)
                messages.append(self._flow_mod(of.DELETE_STRICT, tag, 0))
                if until_ns > now_ns:
                    self._ending[tag, self._selectors[tag.task].table] = self._xid, messages[-1]
        if messages and self._connection is not None:
            self._send_confirmed(messages, numbers)

    def _send_confirmed(self, messages: Sequence[bytes], numbers: list[int]) -> None:
        """Send messages, by number, and the barrier whose answer confirms them."""
        self._xid += 1
        self._barriers[self._xid] = numbers
        self._send([*messages, of.message(of.BARRIER_REQUEST, self._xid)])

    def _rule(self, task: str) -> tuple[object, ...]:
        """Return what the rules of a task's tags depend on."""
        selector = self._selectors[task]
        return selector.table, selector.code, self._following[task]

    def _flow_mod(self, command: int, tag: Tag, seconds: int) -> bytes:
        selector = self._selectors[tag.task]
        assert selector.code is not None
        then = of.apply_then_goto(of.set_code(selector.code), self._following[tag.task]) if command == of.ADD else b""
        return of.flow_mod(
            command, self._xid, cookie=cookie_of(selector.table), table=selector.table, priority=PRIORITY,
            hard_timeout_s=seconds, match=match_of(tag, selector.table), instructions=then,
        )  # fmt: skip

    def waits(self) -> bool:
        """Say whether the switch owes an answer, or there is something to tell, or to send."""
        return bool(self._open or self._outcomes or (self._connection is not None and self._connection.unsent))

    def poll(self, now_ns: int) -> list[Outcome]:
        """Read the switch's answers, and put again what ends too early; connect where there is no connection."""
        if self._connection is None:
            self._connect(now_ns)
        if self._renewals and self._renewals[0][0] <= now_ns:
            self._renew(now_ns)
        if self._connection is not None:
            try:
                for answer in self._connection.receive():
                    self._take(answer, time.time_ns())
            except LiveError as error:
                self._lose(error)
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def _take(self, answer: of.Message, now_ns: int) -> None:
        if answer.type == of.ERROR:
            self.faults += len(answer.body) < 4
            tag = self._open.pop(answer.xid, None)
            if tag is not None:
                self._until.pop(tag, None)
                self._outcomes.append(Outcome(tag, None, answer.error_text()))
        elif answer.type == of.BARRIER_REPLY:
            confirmed = set(self._barriers.pop(answer.xid, ()))
            sent = (self._open.pop(number, None) for number in sorted(confirmed))
            self._outcomes += [Outcome(tag, now_ns) for tag in sent if tag is not None]
            if self._ending:
                self._ending = {key: each for key, each in self._ending.items() if each[0] not in confirmed}

    def settle(self, within_s: float) -> list[Outcome]:
        """Wait for the answers that are open."""
        end = time.monotonic() + within_s
        outcomes = self.poll(time.time_ns())
        while self._open and self._connection is not None and (left := end - time.monotonic()) > 0:
            self._connection.wait(left)
            outcomes += self.poll(time.time_ns())
        return outcomes

    def restore(self, now_ns: int) -> None:
        """Put all tags that are still in force."""
        self._until = {tag: until for tag, until in self._until.items() if until > now_ns}
        self.put([(tag, until) for tag, until in self._until.items() if tag.task in self._selectors], now_ns)

    def cleaned(self) -> int:
        """Return 0: at a switch the controller's rules clean, and count."""
        return 0

    def fileno(self) -> int:
        """Return the connection's descriptor."""
        return -1 if self._connection is None else self._connection.fileno()

    def close(self, remove: bool) -> None:
        """End the connection, having deleted all tag rules on the bridge where `remove` says so."""
        if remove and self._connection is not None:
            self._xid += 1
            everything = of.flow_mod(of.DELETE, self._xid, cookie=COOKIE_PREFIX, cookie_mask=PREFIX_MASK)
            self._barriers[self._xid + 1] = []
            self._send([everything, of.message(of.BARRIER_REQUEST, self._xid + 1)])
            self._xid += 1
            end = time.monotonic() + 1.0
            while self._barriers and self._connection is not None and (left := end - time.monotonic()) > 0:
                self._connection.wait(left)
                self.poll(time.time_ns())
        self._disconnect()

    def _connect(self, now_ns: int) -> None:
        if time.monotonic() >= self._retry_at:
            try:
                self._connection = of.Connection(self.management)
            except LiveError:
                self._retry_at = time.monotonic() + RETRY_S
                return
            if self._ending:
                numbers, messages = zip(*self._ending.values(), strict=True)
                self._send_confirmed(messages, list(numbers))
            self.restore(now_ns)

    def _send(self, messages: Sequence[bytes]) -> None:
        try:
            if self._connection is not None:
                self._connection.send(messages)
        except LiveError as error:
            self._lose(error)

    def _lose(self, error: LiveError) -> None:
        """Count and tell that the connection is lost, or of no use any more."""
        log.warning("%s", error)
        self.faults += 1
        self._disconnect()

    def _disconnect(self) -> None:
        """Forget what is open; what should be in force is put when the switch is back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._open.clear()
            self._barriers.clear()
            self._retry_at = time.monotonic() + RETRY_S
