"""The selections of a run: which flows each task's selectors selected, where, and for how long.

That a flow was selected, and when, stands in the reports. How long the selection lasted depends on when the event was
last true, which reports do not say: the same selector (selectors/) is run once more over the packets that the device
saw, and says it. Times are those at which packets were sent, so that they mean the same at all devices.

Several packets may have one time: which of them completed the event is told by its flow, its headers, and by where the
event is true; what was sent after it, by its number among all that were sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bus.config import SelectorConfig
from ..selectors.events import EVENTS
from ..selectors.selector import Sightings
from .history import Stint
from .observations import NOT_SENT, Observations, Seen

Columns = Mapping[str, NDArray[Any]]
HEADERS = ("src", "dst", "src_port", "dst_port", "protocol")
"""What a report says of a selection's completing packet, beside its time."""


@dataclass(frozen=True, slots=True)
class Who:
    """What the packet that completed an event says of its flow, and what the selector measured then."""

    src: tuple[int, int] = (0, 0)
    """The address, high and low word."""
    dst: tuple[int, int] = (0, 0)
    src_port: int = 0
    dst_port: int = 0
    protocol: int = 0
    value: float = np.nan


@dataclass(frozen=True, slots=True)
class Selection:
    """A flow selected at a device."""

    device: str
    flow: int
    """Its key."""
    time_ns: int
    """The completing packet's time at the device."""
    sent_ns: int
    """When that packet was sent."""
    until_ns: int
    """When the selection ended."""
    installed_ns: int
    """When its tag was in force; -1 where none was."""
    who: Who = Who()
    serial: int = NOT_SENT
    """Number of that packet among all that were sent, -1 where it is not known."""
    pair: int = -1
    """Number of its pair of sites, -1 where it is not known."""


class Lasting:
    """When flows are selected: the times of all selections of a task, whatever the device."""

    def __init__(self, selections: Sequence[Selection], delay_ns: int) -> None:
        self.delay_ns = delay_ns
        order = sorted(selections, key=lambda s: (s.flow, s.sent_ns, s.serial))
        self.flow = np.array([s.flow for s in order], np.uint64)
        self.since_ns = np.array([s.sent_ns for s in order], np.int64)
        self.since_serial = np.array([s.serial for s in order], np.int64)
        self.until_ns = np.array([s.until_ns for s in order], np.int64)
        self.keys = np.unique(self.flow)
        """Keys of the flows, in order; a flow's number is its place here."""
        self._first = np.searchsorted(self.flow, self.keys)

    def numbers(self, key: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the number of each key's flow, or -1."""
        if not len(self.keys):
            return np.full(len(key), -1, np.int64)
        at = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
        return np.where(self.keys[at] == key, at, -1)

    def active(self, start_ns: int, end_ns: int) -> NDArray[np.int32]:
        """Return the numbers of the flows that are selected at some time in [start, end)."""
        on = (self.since_ns < end_ns) & (self.until_ns >= start_ns)
        return np.unique(np.searchsorted(self.keys, self.flow[on])).astype(np.int32)

    def past(self, flow: NDArray[np.int64], sent_ns: NDArray[np.int64], serial: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which packets, of the flows with some numbers, were sent after their flow's first selection.

        `serial` is their numbers among all that were sent: those that were sent in one nanosecond have an order, too.
        """
        return self._behind(sent_ns, serial, self._first[flow])

    def during(
        self, flow: NDArray[np.int64], sent_ns: NDArray[np.int64], serial: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return which of them were sent while their flow was selected."""
        on = np.zeros(len(flow), np.bool_)
        counts = np.diff(np.append(self._first, len(self.flow)))
        for turn in range(int(counts.max(initial=0))):
            has = turn < counts[flow]
            at = self._first[flow[has]] + turn
            on[has] |= self._behind(sent_ns[has], serial[has], at) & (sent_ns[has] <= self.until_ns[at])
        return on

    def _behind(
        self, sent_ns: NDArray[np.int64], serial: NDArray[np.int64], at: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return which packets are behind the selections `at`; the completing packet itself is not."""
        since_ns, since = self.since_ns[at], self.since_serial[at]
        together = (sent_ns == since_ns) & (since != NOT_SENT) & (serial > since)
        return ((sent_ns > since_ns) | together) & (sent_ns >= since_ns + self.delay_ns)


def selections_of(
    stint: Stint[SelectorConfig], device: str, reports: Iterable[Columns], observations: Observations
) -> list[Selection]:
    """Return the selections of one selector, from the columns of its device's reports; they end where it ends."""
    config = stint.config
    start = f"{config.task}/selector/"
    columns = [r for r in reports if f"{start}flow" in r]
    if not columns:
        return []
    flow, time_ns, installed = (
        np.concatenate([r[start + name] for r in columns]) for name in ("flow", "time_ns", "installed_ns")
    )
    headers = {
        name: np.concatenate([r[start + name] for r in columns])
        for name in HEADERS
        if all(start + name in r for r in columns)
    }
    its_own = (time_ns >= stint.begin_ns) & (time_ns < stint.end_ns)
    headers = {name: column[its_own] for name, column in headers.items()}
    flow, time_ns, installed = flow[its_own], time_ns[its_own], installed[its_own]
    who = _who(columns, start, its_own)
    hold_ns = round(config.hold_s * 1e9)
    seen = observations.seen.get(device)
    if seen is None:
        return [
            Selection(device, int(f), int(t), int(t), min(int(t) + hold_ns, stint.end_ns), int(i), w)
            for f, t, i, w in zip(flow, time_ns, installed, who, strict=True)
        ]
    mine = np.flatnonzero(stint.watched(device, observations))
    key = seen.keys(config.key)[mine]
    true = _events(config, seen, mine, key)
    trues = _by_key(key[true], seen.sent_ns[mine][true])
    is_true = np.zeros(len(seen.packets), np.bool_)
    is_true[mine[true]] = True
    rows = _by_key(key, mine)
    made = []
    said = zip(flow.tolist(), time_ns.tolist(), installed.tolist(), who, strict=True)
    for number, (f, t, i, w) in enumerate(said):
        header = {name: column[number] for name, column in headers.items()}
        row = _completing(rows.get(f, (np.zeros(0, np.int64),))[0], t, header, seen, is_true)
        sent_ns = t if row is None else int(seen.sent_ns[row])
        times = trues.get(f, (np.zeros(0, np.int64),))[0]
        until_ns = min(_last(times, sent_ns, hold_ns) + hold_ns, stint.end_ns)
        serial, pair = (NOT_SENT, -1) if row is None else (int(seen.serial[row]), int(seen.pair[row]))
        made.append(Selection(device, f, t, sent_ns, until_ns, i, w, serial, pair))
    return made


def _who(reports: Sequence[Columns], start: str, its_own: NDArray[np.bool_]) -> list[Who]:
    """Return whom reports say that they selected; what an older agent did not say is 0, or no number."""
    columns = []
    for name, missing in (("src", (0, 0)), ("dst", (0, 0)), ("src_port", 0), ("dst_port", 0), ("protocol", 0),
                          ("value", np.nan)):  # fmt: skip
        parts = [r.get(start + name, np.array([missing] * len(r[f"{start}flow"]))) for r in reports]
        columns.append(np.concatenate([part for part in parts if len(part)] or parts[:1])[its_own].tolist())
    return [Who(tuple(s), tuple(d), *rest) for s, d, *rest in zip(*columns, strict=True)]


def _events(config: SelectorConfig, seen: Seen, mine: NDArray[np.int64], key: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Run the selector over what the device saw; returns at which of those packets the event was true."""
    selector = EVENTS[config.event](1, config.memory_entries, **config.parameters)
    nothing = np.zeros(len(mine), np.int32)
    sightings = Sightings(seen.packets[mine], key, nothing, np.zeros(len(mine), np.bool_), seen.flow_hash)
    return np.flatnonzero(selector.events(sightings))


def _by_key(key: NDArray[np.uint64], *columns: NDArray[np.int64]) -> dict[int, tuple[NDArray[np.int64], ...]]:
    """Group columns by key, each group in the order that it had."""
    if not len(key):
        return {}
    order = np.argsort(key, kind="stable")
    keys, first = np.unique(key[order], return_index=True)
    parts = [np.split(column[order], first[1:]) for column in columns]
    return dict(zip(keys.tolist(), zip(*parts, strict=True), strict=True))


def _completing(
    rows: NDArray[np.int64], time_ns: int, header: Mapping[str, Any], seen: Seen, is_true: NDArray[np.bool_]
) -> int | None:
    """Return the row of the packet that completed an event, among the rows of its flow; None where there is none.

    1. It has the time that was reported. Of several, 2. it has the reported headers, and 3. the event is true at it;
    4. of those it is the first. Where none has 2 or 3, that does not count.
    """
    found = rows[seen.packets.time_ns[rows] == time_ns]  # 1
    for name, value in header.items():  # 2
        column = getattr(seen.packets, name)[found]
        same = (column == value).all(axis=1) if column.ndim > 1 else column == value
        found = found[same] if same.any() else found
    found = found[is_true[found]] if is_true[found].any() else found  # 3
    return int(found[0]) if len(found) else None  # 4


def _last(times: NDArray[np.int64], since_ns: int, hold_ns: int) -> int:
    """Return when the event was last true before the hold of a selection ran out."""
    later = np.concatenate([[since_ns], np.sort(times[times > since_ns])])
    gaps = np.flatnonzero(np.diff(later) > hold_ns)
    return int(later[gaps[0]] if len(gaps) else later[-1])
