"""A slow, obvious replay: per packet, per task, in dictionaries and lists. `mozart replay` must equal it.

It shares the packet layout, flow keys, topologies and the task file with mozart, and nothing of its
selectors, monitors and replay. Selectors forget nothing here, so they are compared where their memory is
large enough.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

from mozart.recordsets import FLOWS
from mozart.tasks import Spec
from mozart.topologies.catalogue import load
from mozart.topologies.roles import RoutedPath, beside_path, on_path, routed_paths
from mozart.topologies.topology import Topology
from mozart.traces.keys import FlowHash
from mozart.traces.packets import PacketBatch, address_text

WORD = 2**64 - 1
FIN, SYN, RST, ACK = 1, 2, 4, 16
TCP, UDP, SCTP = 6, 17, 132


# ---------------------------------------------------------------------------------------------------- packets


class Packet(NamedTuple):
    """One packet: its header, the keys of its flow by kind, and the way it takes."""

    serial: int
    time_ns: int
    src: str
    dst: str
    src_port: int
    dst_port: int
    protocol: int
    ip_bytes: int
    payload: int
    flags: int
    seq: int
    key: dict[str, int]
    reverse_key: dict[str, int]
    path: RoutedPath | None
    """The path between its hosts, or None where it does not enter the network."""
    reach: int
    """How many devices of the path it crosses before a link drops it."""

    @property
    def crossed(self) -> tuple[str, ...]:
        return self.path.devices[: self.reach] if self.path else ()


def mix(value: int) -> int:
    """Scramble 64 bits (splitmix64's finaliser)."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & WORD
    return value ^ (value >> 31)


def number_below(value: int, bound: int) -> int:
    """Turn a hash into a number below `bound`."""
    return (mix(value & WORD) >> 32) * bound >> 32


def words(address: str) -> tuple[int, int]:
    """Return an address as the layout's (high, low) words."""
    parsed = ip_address(address)
    value = int(parsed) + (0xFFFF << 32 if parsed.version == 4 else 0)
    return value >> 64, value & WORD


def hash_site(address: str, hosts: int) -> int:
    """Return the number of the host that an address falls to."""
    state = 0x9E3779B97F4A7C15
    for word in words(address):
        state = (state ^ word) * 0xD6E8FEB86659FD93 & WORD
        state ^= state >> 32
    return number_below((mix(state) or 1) ^ 0xA0761D6478BD642F, hosts)


def prefix_site(address: str, prefixes: Iterable[tuple[str, int]]) -> int:
    """Return the host of the longest prefix that holds an address, or -1."""
    parsed = ip_address(address)
    holding = [(ip_network(text), host) for text, host in prefixes]
    holding = [(network, host) for network, host in holding if parsed in network]
    return max(holding, key=lambda entry: entry[0].prefixlen)[1] if holding else -1


def path_choice(src: str, dst: str, src_port: int, dst_port: int, protocol: int, paths: int) -> int:
    """Return which of a number of equal-cost paths a packet takes; its answer takes the same one."""
    (a, b), (c, d) = words(src), words(dst)
    salt = 0xE7037ED1A0B428DB
    address = ((a ^ c) * salt + (b ^ d)) & WORD
    ports = (src_port ^ dst_port) << 8 | protocol
    return number_below(address ^ (ports * salt & WORD), paths)


def dropped_after(serial: int, seed: int, chances: Sequence[float]) -> int | None:
    """Return on which link of its path (0 is the first) a packet is dropped, or None."""
    for hop, chance in enumerate(chances):
        draw = mix((mix(serial ^ seed ^ 0x6C62272E07BB0142) + hop * 0xE7037ED1A0B428DB) & WORD)
        if chance > 0 and (draw >> 11) < chance * 2**53:
            return hop
    return None


def luck_of(serial: int, seed: int, monitor: int) -> int:
    """Return the 32-bit number that decides whether a monitor samples a packet."""
    own = seed * 0x9E3779B97F4A7C15 + monitor
    return mix((serial * 0xD1342543DE82EF95 & WORD) ^ (own & WORD)) >> 32


def latency_ns(topology: Topology, a: str, b: str) -> int:
    """Return the latency between two devices, in whole nanoseconds."""
    return round(float(topology.latency_ms[topology.index[a], topology.index[b]]) * 1e6)


def routed_packets(spec: Spec, topology: Topology, batch: PacketBatch) -> list[Packet]:
    """Return the packets with their ways through the network."""
    kinds = ("five-tuple", "src", "dst", "src+dst")
    flow_hash = FlowHash.seeded(spec.seed)
    forward = {kind: flow_hash.keys(batch, kind).tolist() for kind in kinds}
    backward = {kind: flow_hash.keys(batch, kind, reverse=True).tolist() for kind in kinds}
    prefixes = [(text, topology.hosts.index(host)) for host, some in spec.traffic.prefixes.items() for text in some]
    chance = {frozenset(name.split("-")): value for name, value in spec.loss.items()}
    start = int(batch.time_ns[0]) if len(batch) else 0
    packets = []
    for i in range(len(batch)):
        src, dst = address_text(*batch.src[i]), address_text(*batch.dst[i])
        if spec.traffic.map == "prefix":
            a, b = prefix_site(src, prefixes), prefix_site(dst, prefixes)
        else:
            a, b = (hash_site(address, len(topology.hosts)) for address in (src, dst))
        ports = int(batch.src_port[i]), int(batch.dst_port[i])
        protocol = int(batch.protocol[i])
        path, reach = None, 0
        if a >= 0 and b >= 0 and a != b:
            paths = routed_paths(topology, topology.hosts[a], topology.hosts[b], spec.topology.ecmp)
            path = paths[path_choice(src, dst, *ports, protocol, len(paths)) if len(paths) > 1 else 0]
            chances = [chance.get(frozenset(link), 0.0) for link in itertools.pairwise(path.devices)]
            hop = dropped_after(i, spec.seed, chances)
            reach = len(path.devices) if hop is None else hop + 1
        time_ns = int(batch.time_ns[i])
        if spec.traffic.speed != 1.0:
            time_ns = start + int((time_ns - start) / spec.traffic.speed)
        header = src, dst, *ports, protocol
        sizes = int(batch.ip_bytes[i]), int(batch.payload_bytes[i])
        tcp = int(batch.tcp_flags[i]), int(batch.tcp_seq[i])
        there, back = ({kind: column[kind][i] for kind in kinds} for column in (forward, backward))
        packets.append(Packet(i, time_ns, *header, *sizes, *tcp, there, back, path, reach))
    return packets


# -------------------------------------------------------------------------------------------------- selectors


class PlainEvent:
    """What all have: after `see` says true, `value` is what was measured."""

    value = 0.0


class PlainLoss(PlainEvent):
    """Rules of selectors/loss.py."""

    def __init__(self, threshold: float, min_packets: int) -> None:
        self.threshold, self.min_packets = threshold, min_packets
        self.packets: dict[Any, int] = defaultdict(int)
        self.lost: dict[Any, int] = defaultdict(int)
        self.end: dict[Any, int] = {}

    def see(self, flow: Any, packet: Packet, notice: bool) -> bool:
        if notice:
            self.lost[flow] += 1
        else:
            self.packets[flow] += 1
            if packet.protocol == TCP:
                self.segment(flow, packet)
        self.value = self.lost[flow] / max(self.packets[flow], 1)
        return self.packets[flow] >= self.min_packets and self.lost[flow] >= self.threshold * self.packets[flow]

    def segment(self, flow: Any, packet: Packet) -> None:
        end = packet.seq + packet.payload + bool(packet.flags & SYN) + bool(packet.flags & FIN)
        if flow in self.end:
            if packet.payload and before(packet.seq, self.end[flow]):
                self.lost[flow] += 1
            if before(end, self.end[flow]):
                end = self.end[flow]
        self.end[flow] = end % 2**32


def before(a: int, b: int) -> bool:
    """Whether sequence number a comes before b (RFC 1982)."""
    return (a - b) % 2**32 >= 2**31


class PlainPortScan(PlainEvent):
    """Rules of selectors/port_scan.py."""

    def __init__(self, ports: Sequence[int], threshold: int, window_s: float) -> None:
        self.ports, self.threshold, self.window_ns = set(ports), threshold, round(window_s * 1e9)
        self.tried: dict[Any, dict[tuple[str, int], int]] = defaultdict(dict)
        self.talks: dict[Any, int] = {}

    def see(self, flow: Any, packet: Packet, notice: bool) -> bool:
        if notice or not self.attempt(flow[0], packet):
            return False
        tried = self.tried[flow]
        tried[packet.dst, packet.dst_port] = packet.time_ns
        self.value = min(sum(packet.time_ns - at < self.window_ns for at in tried.values()), self.threshold)
        return self.value >= self.threshold

    def attempt(self, device: Any, packet: Packet) -> bool:
        wanted = packet.dst_port in self.ports
        if packet.protocol == TCP:
            return wanted and bool(packet.flags & SYN) and not packet.flags & ACK
        if packet.protocol not in (UDP, SCTP) or packet.src_port == packet.dst_port == 0:
            return False
        ends = frozenset({(packet.src, packet.src_port), (packet.dst, packet.dst_port)})
        last = self.talks.get((device, packet.protocol, ends))
        self.talks[device, packet.protocol, ends] = packet.time_ns
        silent = last is None or packet.time_ns >= last + 120 * 10**9
        from_service = packet.src_port < min(packet.dst_port, 2**15)
        return wanted and silent and not from_service


class PlainElephant(PlainEvent):
    """Rules of selectors/elephant.py."""

    def __init__(self, threshold_mbps: float, window_s: float) -> None:
        self.least, self.window_s = threshold_mbps * 1e6 / 8 * window_s, window_s
        self.bin_ns = max(round(window_s * 1e9) // 8, 1)
        self.sent: dict[Any, list[tuple[int, int]]] = defaultdict(list)

    def see(self, flow: Any, packet: Packet, notice: bool) -> bool:
        if notice:
            return False
        now = packet.time_ns // self.bin_ns
        self.sent[flow].append((now, packet.ip_bytes))
        sent = sum(size for at, size in self.sent[flow] if at > now - 8)
        self.value = sent * 8 / 1e6 / self.window_s
        return sent >= self.least


class PlainSynFlood(PlainEvent):
    """Rules of selectors/syn_flood.py."""

    def __init__(self, threshold: int) -> None:
        self.threshold = threshold
        self.asked: dict[Any, dict[int, list[int]]] = defaultdict(dict)
        """By destination and connection, when its SYNs came that nothing explains so far."""
        self.patience: dict[Any, int] = {}

    def see(self, flow: Any, packet: Packet, notice: bool) -> bool:
        kind = packet.flags & (SYN | RST | ACK)
        if notice or packet.protocol != TCP or kind not in (SYN, ACK):
            return False
        sixteenth = 62_500_000
        now, asked, connection = packet.time_ns // sixteenth, self.asked[flow], packet.key["five-tuple"]
        if kind == SYN:
            times = asked.setdefault(connection, [])
            if not times or packet.time_ns >= times[-1] + 10**6:
                times.append(packet.time_ns)
        elif connection in asked:
            took = now - asked.pop(connection)[0] // sixteenth
            self.patience[flow] = max(self.patience.get(flow, 2), took + 1 if took < 16 else 2)
        newest = now - self.patience.get(flow, 2)
        self.value = sum(newest - 16 < at // sixteenth <= newest for times in asked.values() for at in times)
        return self.value >= self.threshold


EVENTS: dict[str, Any] = {
    "loss": PlainLoss,
    "port-scan": PlainPortScan,
    "elephant": PlainElephant,
    "syn-flood": PlainSynFlood,
}


class Since(NamedTuple):
    """A selection: since when, for the first time when, and when its event was last true."""

    since_ns: int
    first_ns: int
    last_true_ns: int


class PlainSelections:
    """Rules of selectors/selection.py, for one detection delay."""

    def __init__(self, hold_s: float, delay_ms: float) -> None:
        self.hold_ns, self.delay_ns = round(hold_s * 1e9), round(delay_ms * 1e6)
        self.made: dict[Any, Since] = {}

    def holds(self, what: Any, now: int) -> bool:
        """Whether a selection lasts (rule 2)."""
        return what in self.made and now <= self.made[what].last_true_ns + self.hold_ns

    def past(self, what: Any, now: int) -> bool:
        """Whether the first selection and the delay after it are over."""
        return what in self.made and now >= self.made[what].first_ns + self.delay_ns

    def tags(self, what: Any, now: int) -> bool:
        """Whether packets leave tagged (rules 2 and 3)."""
        return self.holds(what, now) and now >= self.made[what].since_ns + self.delay_ns

    def event(self, what: Any, now: int) -> bool:
        """The event is true (rules 1 and 2): returns whether that makes a selection."""
        new = not self.holds(what, now)
        since = now if new else self.made[what].since_ns
        first = self.made[what].first_ns if what in self.made else now
        self.made[what] = Since(since, first, now)
        return new


# -------------------------------------------------------------------------------------------------- the table


@dataclass
class Entry:
    """A flow in a table."""

    flow: int
    rank: int
    """Who goes first among those of the same standing."""
    standing: int = 0
    """2: a tag or a message selected it; 1: a hint announced it; 0: neither."""
    known: bool = False
    """Whether it was known before its tag, and that counts."""
    packets: list[tuple[int, int]] = field(default_factory=list)
    """(serial, bytes) of each packet recorded."""
    selected_ns: int | None = None
    pre: int = 0
    """Packets recorded before the monitor learnt of the selection."""
    sampled: bool = False
    back_ns: int = 0
    """When it came back into the table."""

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.packets)


@dataclass
class Ghost:
    """A flow without a slot, that is counted in the spare words of another one's."""

    flow: int
    packets: list[tuple[int, int]]


BLOCKED = "blocked"
KNOWN = 1 << 62
"""What a flow that was known before its tag has over all ranks of others."""
Slot = Entry | str | None

MODE_TRAITS = {
    # name: samples, heeds tags, priority, recency and hints
    "none": (True, False, False, False),
    "tag": (False, True, False, False),
    "two-mode": (True, True, False, False),
    "mozart": (True, True, True, False),
    "recent": (True, True, True, True),
}

PACKET, TAGGED, HINT, SELECT = "packet", "tagged", "hint", "select"


class PlainTable:
    """Rules of monitors/table.py: two buckets of eight slots a flow."""

    def __init__(self, mode: str, entries: int, probability: float) -> None:
        self.samples, self.heeds_tags, self.priority, self.recency = MODE_TRAITS[mode]
        self.keeps_ghosts = self.priority and not self.recency
        self.entries, self.probability = entries, probability if self.samples else 0.0
        self.clear()

    def clear(self) -> None:
        """Make the table empty; slots beyond `entries` are blocked, the last of each bucket in turn."""
        count = -(-self.entries // 8)
        self.buckets: list[list[Slot]] = [[None] * 8 for _ in range(count)]
        for i in range(count * 8 - self.entries):
            self.buckets[i % count][7 - i // count] = BLOCKED
        self.ghosts: dict[tuple[int, int], Ghost] = {}
        """By the slot where they stand, whose entry is selected and was not known before."""
        self.homeless: list[Ghost] = []
        self.collisions = self.refused = self.evictions = self.forgotten = self.moves = self.clock = 0
        self.bar = -1
        """The highest rank of the tagged flows that had to go."""

    def entries_of(self) -> list[Entry]:
        return [slot for bucket in self.buckets for slot in bucket if isinstance(slot, Entry)]

    def places(self, flow: int) -> tuple[int, int]:
        """Return the numbers of a flow's two buckets."""
        count = len(self.buckets)
        one, two = (flow >> 32) * count >> 32, (flow & 0xFFFFFFFF) * count >> 32
        return one, ((two + 1) % count if two == one else two)

    def find(self, flow: int) -> Entry | None:
        slots = [slot for place in self.places(flow) for slot in self.buckets[place]]
        return next((slot for slot in slots if isinstance(slot, Entry) and slot.flow == flow), None)

    def cross(
        self, kind: str, flow: int, now: int, size: int = 0, luck: int = 0, serial: int = -1, span: int = 1
    ) -> None:
        """Take a packet or a message; the flow's path has this span."""
        selects = (self.heeds_tags and kind in (TAGGED, SELECT)) or (self.recency and kind == HINT)
        is_packet = kind in (PACKET, TAGGED)
        if not is_packet and not selects:
            return
        entry = self.find(flow)
        known = entry is not None
        if entry is None:
            if kind == HINT:
                return
            ghost = self.ghost_of(flow)
            known = ghost is not None
            if selects:
                entry = self.enter_selected(flow, span, ghost)
                if entry is not None and ghost is not None:
                    entry.back_ns = now
            elif ghost:
                ghost.packets.append((serial, size))
            elif luck < int(self.probability * 2**32):
                entry = self.enter_sampled(flow, (serial, size), span)
            if entry is None:
                return
        if selects:
            if entry.standing == 0:
                entry.selected_ns, entry.pre = now, len(entry.packets)
            if kind == HINT:
                entry.standing = max(entry.standing, 1)
            elif entry.standing < 2:
                entry.standing, entry.rank = 2, rank_of_tagged(flow, span)
                entry.known = known and not self.recency
        if is_packet:
            entry.packets.append((serial, size))
            if entry.standing < 2:
                entry.rank = self.rank_of(entry.bytes)
        self.lodge_all()

    def enter_selected(self, flow: int, span: int, ghost: Ghost | None) -> Entry | None:
        """Make an entry by rule (b); a ghost comes with its past."""
        if ghost:
            self.ghosts = {where: other for where, other in self.ghosts.items() if other is not ghost}
        where = self.room_for_selected(flow, span, ghost is not None)
        if where is None:
            assert ghost is None  # the flow in whose slot it stood ranks lower
            return None
        entry = Entry(flow, self.rank_of(0), packets=ghost.packets if ghost else [], sampled=ghost is not None)
        self.occupy(where, entry, entry.sampled)
        return entry

    def enter_sampled(self, flow: int, packet: tuple[int, int], span: int) -> Entry | None:
        """Make an entry by rule (c), or a ghost by rule (d) of a flow that cannot have been tagged and refused."""
        where = self.room_for_sample(flow)
        if where is None:
            may = self.keeps_ghosts and rank_of_tagged(flow, span) > self.bar
            self.refused += not (may and self.lodge(Ghost(flow, [packet])))
            return None
        entry = Entry(flow, self.rank_of(0), sampled=True)
        self.occupy(where, entry, False)
        return entry

    def ghost_of(self, flow: int) -> Ghost | None:
        return next((ghost for ghost in self.ghosts.values() if ghost.flow == flow), None)

    def lodge(self, ghost: Ghost) -> bool:
        """Give a ghost the first slot of its buckets that has room for one; returns whether there is one."""
        for where in ((place, way) for place in self.places(ghost.flow) for way in range(8)):
            entry = self.at(where)
            if isinstance(entry, Entry) and entry.standing == 2 and not entry.known and where not in self.ghosts:
                self.ghosts[where] = ghost
                return True
        return False

    def lodge_all(self) -> None:
        """Give those that had to leave their slots new ones, or forget them."""
        for ghost in self.homeless:
            self.forgotten += not self.lodge(ghost)
        self.homeless = []

    def occupy(self, where: tuple[int, int], entry: Entry, known: bool) -> None:
        """Put an entry into a slot; a ghost that stands there must go if the entry was known before."""
        self.buckets[where[0]][where[1]] = entry
        if known and where in self.ghosts:
            self.homeless.append(self.ghosts.pop(where))

    def rank_of(self, size: int) -> int:
        """Return the rank of a flow of so many bytes that sends now."""
        return (self.clock + int(math.sqrt(size) * 65536) if self.recency else size) + 1

    def evict(self, where: tuple[int, int]) -> None:
        """Count that an entry goes; the clock follows the ranks of those that go."""
        gone = self.at(where)
        assert isinstance(gone, Entry)
        self.evictions += 1
        self.turn_out(gone)
        self.clock += (gone.rank - self.clock) // 64

    def turn_out(self, gone: Entry) -> None:
        """Let an entry that is not selected go on as a ghost (rule d)."""
        if self.keeps_ghosts:
            self.homeless.append(Ghost(gone.flow, gone.packets))

    def room_for_selected(self, flow: int, span: int, known: bool) -> tuple[int, int] | None:
        """Rule (b): a place that is not selected, else that of a selected flow that ranks below this one."""
        where = self.free(flow)
        if where is not None:
            return where
        if not self.priority:
            self.collisions += 1
            return None
        one, two = self.places(flow)
        taken = [sum(goes_last(slot) for slot in self.buckets[place]) for place in (one, two)]
        where = self.lowest(*((one, two) if taken[0] == taken[1] else ((one,) if taken[0] < taken[1] else (two,))))
        if not goes_last(self.at(where)):
            self.evict(where)
            return where
        rank = rank_of_tagged(flow, span) + (known and KNOWN)
        if rank <= self.bar and sum(entry.standing == 2 for entry in self.entries_of()) >= self.entries:
            self.collisions += 1
            return None
        return self.room_within_moves(one, two, rank)

    def room_for_sample(self, flow: int) -> tuple[int, int] | None:
        """Rule (c)."""
        where = self.free(flow)
        if where is None and self.recency:
            where = self.lowest(*self.places(flow))
            entry = self.at(where)
            if isinstance(entry, Entry) and entry.standing == 0:
                self.evict(where)
            else:
                where = None
        return where

    def at(self, where: tuple[int, int]) -> Slot:
        return self.buckets[where[0]][where[1]]

    def free(self, flow: int) -> tuple[int, int] | None:
        """Return a free slot of the emptier bucket."""
        free = [[(p, way) for way in range(8) if self.buckets[p][way] is None] for p in self.places(flow)]
        best = free[0] if len(free[0]) >= len(free[1]) else free[1]
        return best[-1] if best else None

    def lowest(self, *places: int) -> tuple[int, int]:
        """Return the slot that goes first: not selected, then by rank, then by place."""
        slots = [(place, way) for way in range(8) for place in places]
        return min(slots, key=lambda where: order(self.at(where)))

    def room_within_moves(self, one: int, two: int, rank: int) -> tuple[int, int] | None:
        """Move selected entries to their other buckets, by the shortest way to a slot not selected.

        Where there is none, the slot of the lowest rank goes, if it is lower than `rank`.
        """
        known: list[tuple[int, int | None, int | None]] = [(one, None, None), (two, None, None)]
        seen: list[tuple[int, int]] = []
        for number in range(146):
            if number >= len(known):
                break
            place = known[number][0]
            seen.append(self.lowest(place))
            if not goes_last(self.at(seen[-1])):
                gone = self.at(seen[-1])
                if isinstance(gone, Entry):
                    self.evictions += 1
                    self.turn_out(gone)
                return self.shift(known, number, seen[-1])
            for way, slot in enumerate(self.buckets[place]):
                if isinstance(slot, Entry) and len(known) < 146:
                    first, second = self.places(slot.flow)
                    known.append((first if place == second else second, way, number))
        self.collisions += 1
        number = min(range(len(seen)), key=lambda i: order(self.at(seen[i])))
        gone = self.at(seen[number])
        if not isinstance(gone, Entry) or order(gone) > (2, rank):
            self.bar = max(self.bar, rank)
            return None
        self.bar = max(self.bar, order(gone)[1])
        return self.shift(known, number, seen[number])

    def shift(self, known: list[Any], number: int, target: tuple[int, int]) -> tuple[int, int]:
        """Move entries one step each, from the far end of the way; returns the slot that is free then."""
        while known[number][2] is not None:
            _, way, parent = known[number]
            source = (known[parent][0], way)
            moved = self.at(source)
            assert isinstance(moved, Entry)
            self.occupy(target, moved, moved.known)
            self.moves += 1
            target, number = source, parent
        return target


def rank_of_tagged(flow: int, span: int) -> int:
    """Return what tagged flows are compared by: a smaller span first, then a hash, the same at all monitors."""
    return (255 - span) << 54 | ((flow * 0x9E3779B97F4A7C15 % 2**64) >> 10 & ~255)


def goes_last(slot: Slot) -> bool:
    """Whether no other flow may take a slot: it is selected, or blocked."""
    return slot == BLOCKED or (isinstance(slot, Entry) and slot.standing == 2)


def order(slot: Slot) -> tuple[int, int]:
    """Return what slots are compared by when one must give way."""
    if slot is None:
        return (0, 0)
    if isinstance(slot, Entry):
        return (slot.standing, slot.rank + (slot.known and KNOWN))
    return (3, 0)


# ------------------------------------------------------------------------------------------------- the replay


@dataclass
class Setting:
    """A mode and a size, and all that is counted of it."""

    mode: str
    entries: int
    probability: float
    tables: list[PlainTable]
    captured: set[tuple[int, str]] = field(default_factory=set)
    recorded: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    recorded_pre: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    errors: list[float] = field(default_factory=list)
    collisions: int = 0
    refused: int = 0
    report_bytes: int = 0
    passed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    missing: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    named: set[tuple[int, str]] = field(default_factory=set)
    truly: set[tuple[int, str]] = field(default_factory=set)


@dataclass
class Crossed:
    """What a flow's packets in an epoch were, at one monitor."""

    serials: list[int] = field(default_factory=list)
    bytes: int = 0
    pre: set[int] = field(default_factory=set)
    pre_bytes: int = 0
    while_selected: int = 0
    """Packets while the selection lasted."""


@dataclass
class Selected:
    """A flow selected at a device, by its packet `packet`, at `at_ns`."""

    flow: int
    selector: str
    number: int
    packet: Packet
    at_ns: int
    value: float
    last_true_ns: int
    crossed: bool = False
    done: bool = False


class TaskOracle:
    """One task with one detection delay."""

    def __init__(self, spec: Spec, number: int, topology: Topology, modes: Any, memory: Any, delay_ms: float) -> None:
        self.spec, self.task, self.topology, self.delay_ms = spec, spec.tasks[number], topology, delay_ms
        self.seed = spec.seed * 1_000_003 + number
        task = self.task
        self.kind = task.selector.key
        self.event = EVENTS[task.selector.event](**task.selector.parameters)
        self.selections = PlainSelections(task.selector.hold_s, delay_ms)
        self.monitors = self.monitor_devices()
        self.settings = [
            self.setting(mode, entries) for mode in modes for entries in memory or (task.monitor.memory_entries,)
        ]
        self.messages: list[tuple[int, bool, int, str, str, int, int]] = []
        self.sent = itertools.count()
        self.epoch: dict[tuple[int, str], Crossed] = defaultdict(Crossed)
        self.paths: dict[int, RoutedPath] = {}
        self.drops: set[tuple[int, str]] = set()
        self.flows: set[int] = set()
        self.selected_on: dict[tuple[int, str], RoutedPath] = {}
        self.made: list[Selected] = []
        self.latest: dict[tuple[int, str], Selected] = {}
        self.times: dict[int, int] = {}
        self.flow_rows: list[dict[str, Any]] = []
        self.unselected_rows: list[dict[str, Any]] = []
        self.who: dict[int, Packet] = {}
        self.truth: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        """By flow and monitor: bytes, pre-event bytes, packets while the selection lasted."""
        links = {frozenset((link.a, link.b)): link.name for link in topology.links}
        self.link_names = links
        self.true_chance = {links[frozenset(n.split("-"))]: p for n, p in spec.loss.items()}
        self.locates = bool(spec.loss) and self.kind == "five-tuple" and task.selector.event == "loss"

    def monitor_devices(self) -> list[str]:
        """Return every device that monitors for some path, in the topology's order."""
        found = set()
        for a, b in itertools.permutations(self.topology.hosts, 2):
            for path in routed_paths(self.topology, a, b, self.spec.topology.ecmp):
                found |= {*on_path(path, self.task.monitor.at), *beside_path(path, self.task.monitor.at)}
        return [device for device in self.topology.devices if device in found]

    def setting(self, mode: str, entries: int) -> Setting:
        samples, _, _, recency = MODE_TRAITS[mode]
        probability = self.spec.sampling.probability if samples else 0.0
        if recency:
            probability = 1.0
        return Setting(mode, entries, probability, [PlainTable(mode, entries, probability) for _ in self.monitors])

    # one packet

    def packet(self, packet: Packet) -> None:
        """A packet goes its way: tagged by what is selected so far, judged, then seen by the monitors."""
        now, flow = packet.time_ns, packet.key[self.kind]
        self.times[packet.serial] = now
        self.who[flow] = packet
        self.deliver(now)
        selector = self.selector_of(packet.path)
        tagged = selector in packet.crossed and self.selections.tags((flow, selector), now)
        reverse = self.reverse_tagged(packet)
        after, lasts = self.selections.past(flow, now), self.selections.tags(flow, now)
        if selector in packet.crossed and self.event.see((selector, flow), packet, False):
            self.select(flow, selector, packet, now)
        behind = packet.crossed[packet.crossed.index(selector) :] if tagged else ()
        assert packet.path is not None or not packet.crossed
        for device in on_path(packet.path, self.task.monitor.at) if packet.path else ():
            if device in packet.crossed:
                self.cross(TAGGED if device in behind else PACKET, device, flow, packet, self.span(packet.path))
                self.remember(flow, device, packet, after, lasts)
        for device in reverse:
            flow_back = packet.reverse_key[self.kind]
            assert packet.path is not None
            back_span = self.span(self.backward(packet.path))
            self.cross(SELECT, device, flow_back, packet._replace(ip_bytes=0), back_span)
        if packet.path is not None:
            self.paths[flow] = packet.path
            if packet.reach < len(packet.path.devices) and after:
                link = frozenset(packet.path.devices[packet.reach - 1 : packet.reach + 1])
                self.drops.add((flow, self.link_names[link]))

    def notice(self, packet: Packet, now: int) -> None:
        """The sender hears that a packet was dropped."""
        assert packet.path is not None
        selector, flow = self.selector_of(packet.path), packet.key[self.kind]
        if selector == packet.path.devices[0] and self.event.see((selector, flow), packet, True):
            self.select(flow, selector, packet, now)

    def selector_of(self, path: RoutedPath | None) -> Any:
        found = on_path(path, self.task.selector.at) if path else ()
        return found[0] if found else None

    def reverse_tagged(self, packet: Packet) -> list[str]:
        """Return the monitors that a reverse tag on this packet tells: those upstream of the selector."""
        if packet.path is None:
            return []
        back = self.backward(packet.path)
        selector = self.selector_of(back)
        flow = packet.reverse_key[self.kind]
        if selector not in packet.crossed or not self.selections.tags((flow, selector), packet.time_ns):
            return []
        upstream = back.devices[: back.devices.index(selector)]
        onward = packet.crossed[packet.crossed.index(selector) :]
        return [d for d in on_path(back, self.task.monitor.at) if d in upstream and d in onward]

    def backward(self, path: RoutedPath) -> RoutedPath:
        ends = path.devices[-1], path.devices[0]
        paths = routed_paths(self.topology, *ends, self.spec.topology.ecmp)
        return next(p for p in paths if p.devices == path.devices[::-1])

    def select(self, flow: int, selector: str, packet: Packet, now: int) -> None:
        """The event is true: select the flow, and tell by message those whom no tag reaches."""
        self.flows.add(flow)
        self.selections.event(flow, now)
        if not self.selections.event((flow, selector), now):
            self.latest[flow, selector].last_true_ns = now
            return
        assert packet.path is not None
        number = 1 + sum(selected.flow == flow for selected in self.made)
        selected = Selected(flow, selector, number, packet, now, self.event.value, now)
        self.made.append(selected)
        self.latest[flow, selector] = selected
        self.selected_on[flow, selector] = packet.path
        at = self.task.monitor.at
        for devices, kind in ((beside_path(packet.path, at), SELECT), (on_path(packet.path, at), HINT)):
            sent = now + self.selections.delay_ns
            arrives = {d: max(sent + latency_ns(self.topology, selector, d), now + 1) for d in devices}
            if kind == HINT and max(arrives.values(), default=0) > now + self.selections.hold_ns:
                continue
            for device, at_ns in arrives.items():
                self.send(at_ns, kind, device, flow, packet.path)

    def start_epoch(self, start_ns: int) -> None:
        """The monitors have forgotten all: those beside the paths are told again of the selections that last.

        Messages that came while no epoch was open, because there were no packets, are forgotten with the rest.
        """
        self.messages = [message for message in self.messages if message[0] >= start_ns]
        heapq.heapify(self.messages)
        for (flow, selector), path in self.selected_on.items():
            if self.selections.holds((flow, selector), start_ns):
                since = self.selections.made[flow, selector].since_ns
                for device in beside_path(path, self.task.monitor.at):
                    latency = latency_ns(self.topology, selector, device)
                    if max(since + self.selections.delay_ns + latency, since + 1) < start_ns:
                        self.send(start_ns + latency, SELECT, device, flow, path)

    def send(self, arrives: int, kind: str, device: str, flow: int, path: RoutedPath) -> None:
        """Put a message on its way."""
        message = (arrives, kind == HINT, next(self.sent), kind, device, flow, self.span(path))
        heapq.heappush(self.messages, message)

    def deliver(self, now: int) -> None:
        """Deliver the messages that have arrived by now."""
        while self.messages and self.messages[0][0] <= now:
            at, _, _, kind, device, flow, span = heapq.heappop(self.messages)
            for setting in self.settings:
                setting.tables[self.monitors.index(device)].cross(kind, flow, at, span=span)

    def concerned(self, path: RoutedPath) -> tuple[str, ...]:
        """Return the monitors that the flows of a path concern."""
        return (*on_path(path, self.task.monitor.at), *beside_path(path, self.task.monitor.at))

    @cached_property
    def spans(self) -> dict[tuple[str, ...], int]:
        """The span of each path, 0 to 12: its monitors, each weighed by how many paths concern it."""
        load: dict[str, float] = defaultdict(float)
        paths: list[RoutedPath] = []
        for a, b in itertools.permutations(self.topology.hosts, 2):
            some = routed_paths(self.topology, a, b, self.spec.topology.ecmp)
            paths.extend(some)
            for path in some:
                for device in self.concerned(path):
                    load[device] += 1 / len(some)
        asked = {path.devices: sum(load[device] for device in self.concerned(path)) for path in paths}
        return {devices: round(12 * much / max(asked.values())) for devices, much in asked.items()}

    def span(self, path: RoutedPath | None) -> int:
        """Return how much of the monitors' memory the flows of a path ask for."""
        return self.spans[path.devices] if path else 0

    def cross(self, kind: str, device: str, flow: int, packet: Packet, span: int) -> None:
        monitor = self.monitors.index(device)
        luck = luck_of(packet.serial, self.seed, monitor)
        for setting in self.settings:
            setting.tables[monitor].cross(kind, flow, packet.time_ns, packet.ip_bytes, luck, packet.serial, span)

    def remember(self, flow: int, device: str, packet: Packet, after: bool, lasts: bool) -> None:
        crossed = self.epoch[flow, device]
        crossed.serials.append(packet.serial)
        crossed.bytes += packet.ip_bytes
        crossed.while_selected += lasts
        if not after:
            crossed.pre.add(packet.serial)
            crossed.pre_bytes += packet.ip_bytes

    # the end of an epoch

    def end_epoch(self, number: int, start_ns: int, end_ns: int) -> None:
        """Compare what the monitors have with what was."""
        self.deliver(end_ns - 1)
        active = {flow for flow in self.flows if self.selections.holds(flow, start_ns)}
        for (flow, device), crossed in self.epoch.items():
            if flow in active:
                truth = self.truth[flow, device]
                truth[0] += crossed.bytes
                truth[1] += crossed.pre_bytes
                truth[2] += crossed.while_selected
        lasting = [s for s in self.made if s.last_true_ns + self.selections.hold_ns >= start_ns]
        for setting in self.settings:
            self.flow_rows += self.flows_of(setting, number, lasting)
            self.unselected_rows += self.unselected(setting, number, {selected.flow for selected in lasting})
            self.report(setting, active)
        for selected in lasting:
            selected.crossed |= any((selected.flow, device) in self.epoch for device in self.monitors)
        self.unseen(
            [s for s in self.made if s.last_true_ns + self.selections.hold_ns < end_ns], start_ns, number, end_ns
        )
        self.epoch.clear()
        self.paths.clear()
        self.drops.clear()

    def flows_of(self, setting: Setting, number: int, lasting: Sequence[Selected]) -> Iterator[dict[str, Any]]:
        """Return a row for each selection and monitor that its flow crossed; the first of a flow has the figures."""
        seen: set[int] = set()
        for selected in lasting:
            for device, table in zip(self.monitors, setting.tables, strict=True):
                if (selected.flow, device) in self.epoch:
                    crossed = self.epoch[selected.flow, device]
                    entry = next((e for e in self.reported(setting, table) if e.flow == selected.flow), None)
                    row = self.flow_row(setting, selected, number)
                    row |= {"monitor": device, "captured": bool(entry and entry.packets)}
                    row["why_not"] = self.reason(setting, crossed, bool(entry and entry.packets), table)
                    if selected.flow not in seen:
                        row |= {"true_packets": len(crossed.serials), "true_bytes": crossed.bytes}
                        row["pre_event_bytes"] = crossed.pre_bytes
                        row |= self.record_of(setting, entry) if entry and entry.packets else {}
                    yield row
            seen.add(selected.flow)

    def unselected(self, setting: Setting, number: int, selected: set[int]) -> Iterator[dict[str, Any]]:
        """Return a row for each entry with packets, reported or not, of a flow that is not selected."""
        for device, table in zip(self.monitors, setting.tables, strict=True):
            for entry in table.entries_of():
                if entry.packets and entry.flow not in selected:
                    crossed = self.epoch[entry.flow, device]
                    yield {
                        **self.plain_row(setting, self.who[entry.flow], number),
                        "monitor": device,
                        "captured": True,
                        "true_packets": len(crossed.serials),
                        "true_bytes": crossed.bytes,
                        **self.record_of(setting, entry),
                    }

    def unseen(self, some: Iterable[Selected], start_ns: int, number: int, end_ns: int) -> None:
        """Add a row for each of some selections that have ended, where no monitor was crossed while they lasted."""
        for selected in some:
            if not selected.crossed and not selected.done:
                made_in = max(number + (selected.at_ns - start_ns) // (end_ns - start_ns), 0)
                for setting in self.settings:
                    row = self.flow_row(setting, selected, made_in)
                    assert selected.packet.path is not None
                    some_monitor = on_path(selected.packet.path, self.task.monitor.at)
                    self.flow_rows.append(row | {"why_not": "unreachable" if some_monitor else "no-monitor"})
            selected.done = True

    def reason(self, setting: Setting, crossed: Crossed, captured: bool, table: PlainTable) -> str | None:
        if not crossed.while_selected:
            return "unreachable"
        if captured:
            return None
        if setting.mode == "none":
            return "not-sampled"
        return "full" if table.collisions else "late"

    def plain_row(self, setting: Setting, packet: Packet, number: int) -> dict[str, Any]:
        """Return a row that says who a packet's flow is, in what setting and epoch."""
        kind = self.kind
        row: dict[str, Any] = dict.fromkeys(FLOWS.names)
        parts = {"five-tuple": ("src", "dst", "src_port", "dst_port", "protocol"), "src+dst": ("src", "dst")}
        row |= {name: getattr(packet, name) for name in parts.get(kind, (kind,))}
        return row | {
            "task": self.task.name,
            "mode": setting.mode,
            "memory_entries": setting.entries,
            "detection_delay_ms": float(self.delay_ms),
            "epoch": number,
        }

    def flow_row(self, setting: Setting, selected: Selected, number: int) -> dict[str, Any]:
        return self.plain_row(setting, selected.packet, number) | {
            "event": self.task.selector.event,
            "event_value": selected.value,
            "selected_ns": selected.at_ns,
            "selector": selected.selector,
            "selection": selected.number,
            "captured": False,
        }

    def record_of(self, setting: Setting, entry: Entry) -> dict[str, Any]:
        p = setting.probability
        missed = (1 - p) / p * entry.bytes / len(entry.packets) if entry.sampled else 0.0
        return {
            "capture_mode": "sampled" if entry.sampled else "selected",
            "packets": len(entry.packets),
            "bytes": entry.bytes,
            "estimate_bytes": entry.bytes + missed,
            "first_ns": self.times[entry.packets[0][0]],
            "last_ns": max(self.times[entry.packets[-1][0]], entry.back_ns),
        }

    def reported(self, setting: Setting, table: PlainTable) -> list[Entry]:
        """Return the entries that a monitor reports."""
        return [e for e in table.entries_of() if e.selected_ns is not None or setting.mode == "none"]

    def report(self, setting: Setting, active: set[int]) -> None:
        size = 72 + (64 if self.task.monitor.measure.startswith("distinct") else 0)
        counts: list[dict[int, int]] = []
        complete: list[bool] = []
        for device, table in zip(self.monitors, setting.tables, strict=True):
            records = self.reported(setting, table)
            setting.report_bytes += size * len(records)
            setting.collisions += table.collisions
            setting.refused += table.refused
            for entry in records:
                if entry.flow in active and (entry.flow, device) in self.epoch:
                    self.account(setting, entry, device)
            since = {e.flow: len(e.packets) - e.pre for e in records if e.flow in active}
            counts.append(since)
            complete.append(setting.mode != "none" and not table.collisions)
            table.clear()
        if self.locates:
            self.locate(setting, counts, complete, active)

    def account(self, setting: Setting, entry: Entry, device: str) -> None:
        crossed = self.epoch[entry.flow, device]
        if entry.packets:
            setting.captured.add((entry.flow, device))
            p = setting.probability
            missed = (1 - p) / p * entry.bytes / len(entry.packets) if entry.sampled else 0.0
            setting.errors.append(abs((entry.bytes + missed) / crossed.bytes - 1))
        setting.recorded[entry.flow] += entry.bytes
        setting.recorded_pre[entry.flow] += sum(size for serial, size in entry.packets if serial in crossed.pre)

    def locate(self, setting: Setting, counts: list[dict[int, int]], complete: list[bool], active: set[int]) -> None:
        """Compare neighbours on each flow's path: what the second counted less was lost between them.

        A second one without a record counted nothing, where the tag reaches both and every selected flow had room.
        """
        for flow in active & set(self.paths):
            path = self.paths[flow]
            devices, selector = path.devices, self.selector_of(path)
            tagged = devices[devices.index(selector) :] if selector else ()
            for a, b in itertools.pairwise(devices):
                if a in self.monitors and b in self.monitors:
                    first, second = (counts[self.monitors.index(d)].get(flow) for d in (a, b))
                    sure = a in tagged and b in tagged and complete[self.monitors.index(b)]
                    if second is None and sure and self.monitored(path, a, b):
                        second = 0
                    if first is None or second is None:
                        continue
                    link = self.link_names[frozenset((a, b))]
                    setting.passed[link] += first
                    setting.missing[link] += max(first - second, 0)
                    if first > second:
                        setting.named.add((flow, link))
        setting.truly |= {(flow, link) for flow, link in self.drops if flow in active}

    def monitored(self, path: RoutedPath, *devices: str) -> bool:
        """Return whether all these devices monitor what takes the path."""
        return set(devices) <= set(on_path(path, self.task.monitor.at))

    # the figures

    def rows(self) -> list[dict[str, Any]]:
        return [self.row(setting) for setting in self.settings]

    def row(self, setting: Setting) -> dict[str, Any]:
        crossed: dict[int, list[str]] = defaultdict(list)
        for flow, device in self.truth:
            crossed[flow].append(device)
        reachable = {flow for (flow, _), (_, _, after) in self.truth.items() if after}
        whole = {flow for flow, devices in crossed.items() if all((flow, d) in setting.captured for d in devices)}
        captured = len(whole & reachable)
        volumes = [volume for (flow, _), volume in self.truth.items() if flow in reachable]
        recorded, recorded_pre = (
            sum(size for flow, size in of.items() if flow in reachable)
            for of in (setting.recorded, setting.recorded_pre)
        )
        return {
            "task": self.task.name,
            "detection_delay_ms": self.delay_ms,
            "mode": setting.mode,
            "memory_entries": setting.entries,
            "probability": setting.probability,
            "selected_flows": len(self.flows),
            "captured_flows": captured,
            "not_captured_ratio": share(len(reachable) - captured, len(reachable)),
            "unreachable_flows": len(self.flows) - len(reachable),
            "unreachable_captured_flows": len(whole - reachable),
            "selected_bytes": sum(size for size, _, _ in volumes),
            "captured_bytes": recorded,
            "pre_event_bytes": sum(pre for _, pre, _ in volumes),
            "pre_event_captured_bytes": recorded_pre,
            "volume_error": share(math.fsum(setting.errors), len(setting.errors)),
            "selected_collisions": setting.collisions,
            "refused_samples": setting.refused,
            "report_bytes": setting.report_bytes,
        }

    def located(self) -> list[dict[str, Any]]:
        return [self.located_links(setting) for setting in self.settings] if self.locates else []

    def judged_links(self) -> set[str]:
        """Return the links of any path that have a monitor at both ends."""
        found = set()
        for a, b in itertools.permutations(self.topology.hosts, 2):
            for path in routed_paths(self.topology, a, b, self.spec.topology.ecmp):
                for ends in itertools.pairwise(path.devices):
                    if set(ends) <= set(self.monitors):
                        found.add(self.link_names[frozenset(ends)])
        return found

    def located_links(self, setting: Setting) -> dict[str, Any]:
        truly = {link for link, chance in self.true_chance.items() if chance > 0}
        judged = self.judged_links()
        true_flows = {(flow, link) for flow, link in setting.truly if link in judged}
        named = {link for link, lost in setting.missing.items() if lost}
        right = setting.named & true_flows
        names = [link.name for link in self.topology.links]
        return {
            "task": self.task.name,
            "mode": setting.mode,
            "memory_entries": setting.entries,
            "detection_delay_ms": self.delay_ms,
            "links": [
                {
                    "link": link,
                    "judged": link in judged,
                    "lost_packets": setting.missing[link],
                    "estimated_loss": share(setting.missing[link], setting.passed[link]),
                    "true_loss": self.true_chance.get(link, 0.0),
                    "flows": sum(at == link for _, at in setting.named),
                }
                for link in sorted(truly | named, key=names.index)
            ],
            "precision": share(len(truly & named), len(named)),
            "recall": share(len(truly & named), len(truly & judged)),
            "flow_precision": share(len(right), len(setting.named)),
            "flow_recall": share(len(right), len(true_flows)),
        }


def share(part: float, whole: float) -> float | None:
    """Return part / whole, or None where there is no whole."""
    return part / whole if whole else None


def timeline(topology: Topology, packets: Sequence[Packet]) -> Iterator[tuple[int, int, Packet]]:
    """Yield (time, 1, packet) and, before packets that are not earlier, (time, 0, packet) for notices."""
    events: list[tuple[int, int, int, Packet]] = [(p.time_ns, 1, p.serial, p) for p in packets]
    for p in packets:
        if p.path is not None and p.reach < len(p.path.devices):
            links = itertools.pairwise(p.path.devices)
            trip = round(2e6 * sum(topology.link(a, b).latency_ms for a, b in links))
            events.append((p.time_ns + trip, 0, p.serial, p))
    for at, what, _, p in sorted(events, key=lambda event: event[:3]):
        yield at, what, p


def replay(
    spec: Spec,
    batch: PacketBatch,
    modes: Sequence[str] = tuple(MODE_TRAITS),
    memory: Sequence[int] | None = None,
    delays_ms: Sequence[float] | None = None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Replay packets; returns the rows of the report (but for the floor) and the located links."""
    oracles = run(spec, batch, modes, memory, delays_ms)
    return [row for o in oracles for row in o.rows()], [found for o in oracles for found in o.located()]


def run(
    spec: Spec,
    batch: PacketBatch,
    modes: Sequence[str] = tuple(MODE_TRAITS),
    memory: Sequence[int] | None = None,
    delays_ms: Sequence[float] | None = None,
) -> list[TaskOracle]:
    """Replay packets; returns what became of each task with each detection delay."""
    topology = load(spec.topology.name, **spec.topology.options)
    packets = routed_packets(spec, topology, batch)
    epoch_ns = round(spec.sampling.epoch_s * 1e9)
    oracles = [
        TaskOracle(spec, number, topology, modes, memory, delay)
        for number, task in enumerate(spec.tasks)
        for delay in delays_ms or (task.selector.detection_delay_ms,)
    ]
    start = packets[0].time_ns
    current = begun = 0
    filled = {(p.time_ns - start) // epoch_ns for p in packets}
    for at, what, packet in timeline(topology, packets):
        epoch = (at - start) // epoch_ns
        if epoch > max(filled):
            break
        # epochs without packets are not opened: a notice that comes in one counts for the next that has packets
        epoch = min(e for e in filled if e >= epoch)
        for oracle in oracles:
            if epoch > current:
                oracle.end_epoch(current, start + current * epoch_ns, start + (current + 1) * epoch_ns)
            if epoch > begun and at >= start + epoch * epoch_ns:
                oracle.start_epoch(start + epoch * epoch_ns)
            if what == 0:
                oracle.notice(packet, at)
            else:
                oracle.packet(packet)
        current = epoch
        if at >= start + epoch * epoch_ns:
            begun = epoch
    for oracle in oracles:
        bounds = start + current * epoch_ns, start + (current + 1) * epoch_ns
        oracle.end_epoch(current, *bounds)
        oracle.unseen(oracle.made, bounds[0], current, bounds[1])
    return oracles
