"""One selector on a device: it detects (selectors/), and sees to it that what it selects is tagged and told of.

1. Where the event is true for a packet, `Selections` says whether that is a new selection.
2. A selection counts from its time plus the detection delay. Then its tags are put in force, the monitors that no tag
   reaches are sent a message, and those that want one a hint.
3. A tag is put until `hold_s` after the event was last true. A little before that time it is looked at again: where the
   event was true since, its time is moved; else it ends.
4. A selection that is found only when its hold is over is late: counted, and nothing is done about it.
5. Monitors forget at the end of an epoch what messages have told them, so at the start of the next they are sent those
   messages again whose selections last.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bus.config import SelectorConfig
from ..errors import BusError
from ..selectors import selection_kernels as sk
from ..selectors.events import EVENTS
from ..selectors.selection import Selections
from ..selectors.selector import Sightings
from ..traces.keys import KEY_KINDS, FlowHash
from ..traces.packets import PacketBatch
from .epochs import NEVER_NS
from .pairs import Pairs
from .parameters import parameters_of
from .tagger import Outcome, Tag, tag_of

HERE = 0
NOWHERE = -1
MOST_EARLY_NS = 1_000_000_000
NOT_INSTALLED = -1
COLUMNS: dict[str, Any] = {
    "flow": np.uint64,
    "time_ns": np.int64,
    "src": np.uint64,
    "dst": np.uint64,
    "src_port": np.uint16,
    "dst_port": np.uint16,
    "protocol": np.uint8,
    "installed_ns": np.int64,
    "value": np.float64,
}
"""What a report says of each selection; the addresses have two words, and `value` is what the selector measured."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A message to a monitor on another device."""

    to: str
    task: str
    key: int
    time_ns: int
    """Of the selection; where it is told again, the start of the epoch."""
    kind: str
    """'select' or 'hint'."""
    span: int


@dataclass(slots=True)
class Made:
    """A selection, from the packet that completed the event on."""

    key: int
    time_ns: int
    pair: int
    packet: PacketBatch
    """That packet alone."""
    tags: list[Tag] = field(default_factory=list)
    until_ns: int = 0
    """When its tags end, as they were put last."""
    installed_ns: int = NOT_INSTALLED
    told_ns: int = 0
    """When messages told of it last."""
    value: float = np.nan
    """What the selector measured when the event became true."""


class Selecting:
    """The selector of one task on one device."""

    def __init__(self, config: SelectorConfig, pairs: Pairs, flow_hash: FlowHash) -> None:
        """Start with empty state; raises BusError for what the configuration names and does not exist."""
        if config.event not in EVENTS or config.key not in KEY_KINDS:
            known = f"there are {', '.join(EVENTS)}, and {', '.join(KEY_KINDS)}"
            raise BusError(f"task {config.task}: no event {config.event!r} with the key {config.key!r}; {known}")
        kind = EVENTS[config.event]
        parameters = parameters_of(config.task, config.event, kind.parameters, config.parameters)
        self.selector = kind(1, config.memory_entries, **parameters)
        self._flow_hash = flow_hash
        self._selections = Selections(config.hold_s, (config.detection_delay_ms,), forgets=True)
        self._delay_ns = int(self._selections.delays_ns[0])
        self._none_lost, self._values = np.zeros(0, np.bool_), np.empty(0)
        self._waiting: list[tuple[int, int, Made]] = []
        """Selections whose delay is not over: (when it is, number, selection), a heap."""
        self._ends: list[tuple[int, int, Made]] = []
        """When to look at tags again, a heap."""
        self._by_tag: dict[Tag, Made] = {}
        self._told: dict[int, Made] = {}
        """By key, the last selection that monitors were sent a message of."""
        self._tell_again_ns = NEVER_NS
        """The start of the epoch for which rule 5 is still to be done."""
        self._made: list[Made] = []
        self._number = 0
        self.late = 0
        self.evicted_before = 0
        self.route(config, pairs)

    def route(self, config: SelectorConfig, pairs: Pairs) -> None:
        """Take the pairs, code and monitors of a configuration that is otherwise the one that we have."""
        self.config, self._pairs = config, pairs
        self.watches = pairs.mark(config.watches) > 0
        """By pair: whether its packets are this selector's matter."""
        self._where = np.where(self.watches, HERE, NOWHERE).astype(np.int32)
        self._tells = {pairs.number(pair): devices for pair, devices in config.tells.items()}
        self._announces = {pairs.number(pair): devices for pair, devices in config.announces.items()}

    @property
    def memory_bytes(self) -> int:
        """Size of its state."""
        arrays = [v for part in (self.selector, self._selections) for v in vars(part).values()]
        return sum(int(v.nbytes) for v in arrays if isinstance(v, np.ndarray))

    @property
    def tags_in_force(self) -> int:
        """Number of tags that should be in force."""
        return len(self._by_tag)

    def take(self, packets: PacketBatch, key: NDArray[np.uint64], pair: NDArray[np.int32], now_ns: int) -> int:
        """Look at packets, in order; return the number of new selections (rules 1 and 4)."""
        where = self._where[pair]
        if len(self._none_lost) < len(key):
            self._none_lost = np.zeros(2 * len(key), np.bool_)
            self._values = np.empty(2 * len(key))
        none_lost = self._none_lost[: len(key)]
        value = self._values[: len(key)]
        true = self.selector.events(Sightings(packets, key, where, none_lost, self._flow_hash), value)
        rows = true.nonzero()[0]
        if not len(rows):
            return 0
        nowhere = np.full(len(rows), NOWHERE, np.int32)
        keys, times = key[rows], packets.time_ns[rows]
        _, found = self._selections.select(keys, where[rows], keys, nowhere, true[rows], times)
        for selection in found:
            row = int(rows[selection.row])
            packet = packets[row : row + 1].copy()
            made = Made(int(key[row]), selection.time_ns, int(pair[row]), packet, value=float(value[row]))
            self._start(made, now_ns)
        return len(found)

    def _start(self, made: Made, now_ns: int) -> None:
        self._made.append(made)
        if now_ns > made.time_ns + self._selections.hold_ns:
            self.late += 1
            return
        self._number += 1
        heapq.heappush(self._waiting, (made.time_ns + self._delay_ns, self._number, made))

    def due(self, now_ns: int) -> tuple[list[tuple[Tag, int]], list[Notice], list[Tag]]:
        """Return what is to be done by now: tags to put (with their ends), messages to send, tags to end."""
        puts: list[tuple[Tag, int]] = []
        notices: list[Notice] = []
        ends: list[Tag] = []
        if self._tell_again_ns <= now_ns:  # rule 5
            for made in self._told.values():
                if made.told_ns < self._tell_again_ns:
                    made.told_ns = now_ns
                    notices.extend(self._notices(made, self._tell_again_ns, self._tells, "select"))
            self._tell_again_ns = NEVER_NS
        while self._waiting and self._waiting[0][0] <= now_ns:  # rule 2
            made = heapq.heappop(self._waiting)[2]
            if made.pair in self._tells:
                made.told_ns = now_ns
                self._told[made.key] = made
            notices.extend(self._notices(made, made.time_ns, self._tells, "select"))
            notices.extend(self._notices(made, made.time_ns, self._announces, "hint"))
            self._tag(made)
            if made.tags:
                puts.extend(self._extend(made))
        while self._ends and self._ends[0][0] <= now_ns:  # rule 3
            made = heapq.heappop(self._ends)[2]
            if self._end_ns(made) > made.until_ns:
                puts.extend(self._extend(made))
            elif made.until_ns > now_ns:
                self._look_again(made, made.until_ns)
            else:
                ends.extend(made.tags)
                for tag in made.tags:
                    self._by_tag.pop(tag, None)
        return puts, notices, ends

    @property
    def next_due_ns(self) -> int:
        """When `due` has something to say, or the largest time."""
        return min(self._tell_again_ns, *(heap[0][0] for heap in (self._waiting, self._ends) if heap), NEVER_NS)

    def begin_epoch(self, start_ns: int) -> None:
        """Have `due` tell again of the selections that last at the start of an epoch, and were told of before it."""
        self._told = {key: made for key, made in self._told.items() if self._end_ns(made) >= start_ns}
        if any(made.told_ns < start_ns for made in self._told.values()):
            self._tell_again_ns = start_ns

    def _tag(self, made: Made) -> None:
        """Make the tags of a selection; those of an earlier selection of the flow become its own."""
        config = self.config
        if config.code is None:
            return
        for wanted, reverse in ((config.tags_forward, False), (config.tags_reverse, True)):
            if wanted:
                made.tags.append(tag_of(config.task, config.key, made.packet, 0, reverse))
        self._by_tag.update((tag, made) for tag in made.tags)

    def _extend(self, made: Made) -> Iterable[tuple[Tag, int]]:
        made.until_ns = self._end_ns(made)
        early_ns = min(MOST_EARLY_NS, self._selections.hold_ns // 4)
        self._look_again(made, made.until_ns - early_ns)
        return [(tag, made.until_ns) for tag in made.tags]

    def _look_again(self, made: Made, at_ns: int) -> None:
        self._number += 1
        heapq.heappush(self._ends, (at_ns, self._number, made))

    def _end_ns(self, made: Made) -> int:
        """Return when the flow's selection is over, as things stand."""
        of = self._selections
        slot = sk.probe(of.fp, np.uint64(sk.at_device(np.uint64(made.key), np.int64(HERE))))
        if of.fp[slot] == 0:  # it has ended, and is forgotten
            return max(made.until_ns, made.time_ns + of.hold_ns)
        return int(of.last_true_ns[of.entry[slot]]) + of.hold_ns

    def _notices(self, made: Made, time_ns: int, to: Mapping[int, Iterable[str]], kind: str) -> Iterable[Notice]:
        tells, announces = self._tells.get(made.pair, ()), self._announces.get(made.pair, ())
        span = self.config.span.get(self._pairs.name(made.pair), len({*tells, *announces}))
        for device in to.get(made.pair, ()):
            yield Notice(device, self.config.task, made.key, time_ns, kind, span)

    def learn(self, outcome: Outcome) -> None:
        """Take what became of a tag."""
        made = self._by_tag.get(outcome.tag)
        if made is None:
            return
        if outcome.installed_ns is None:
            self._by_tag.pop(outcome.tag)
            made.tags = [tag for tag in made.tags if tag != outcome.tag]
        elif made.installed_ns == NOT_INSTALLED:
            made.installed_ns = outcome.installed_ns

    def stop(self) -> list[Tag]:
        """Give the task up here; return its tags, which are to end."""
        tags = list(self._by_tag)
        self._waiting, self._ends, self._by_tag, self._told = [], [], {}, {}
        self._tell_again_ns = NEVER_NS
        return tags

    def report(self, until_ns: int) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return and forget the selections before a time since the last report: the header's part, and the columns."""
        made = [m for m in self._made if m.time_ns < until_ns]
        self._made = [m for m in self._made if m.time_ns >= until_ns]
        columns = {name: np.array([_value(m, name) for m in made], kind) for name, kind in COLUMNS.items()}
        for name in ("src", "dst"):
            columns[name] = columns[name].reshape(-1, 2)
        evicted = self.selector.evicted - self.evicted_before
        self.evicted_before = self.selector.evicted
        return {"selections": len(made), "evicted": evicted, "cpu_percent": self.config.cpu_percent}, columns


def _value(made: Made, column: str) -> Any:
    if column in ("time_ns", "installed_ns", "value"):
        return getattr(made, column)
    return made.key if column == "flow" else getattr(made.packet, column)[0]
