"""The selections of a run: which flows each task's selectors selected, where, and for how long.

That a flow was selected, and when, stands in the reports. How long the selection lasted depends on when the event was
last true, which reports do not say: the same selector (selectors/) is run once more over the packets that the device
saw, and says it. Times are those at which packets were sent, so that they mean the same at all devices.
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
from .observations import Observations, Seen

Columns = Mapping[str, NDArray[Any]]


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


class Lasting:
    """When flows are selected: the times of all selections of a task, whatever the device."""

    def __init__(self, selections: Sequence[Selection], delay_ns: int) -> None:
        self.delay_ns = delay_ns
        order = sorted(selections, key=lambda s: (s.flow, s.sent_ns))
        self.flow = np.array([s.flow for s in order], np.uint64)
        self.since_ns = np.array([s.sent_ns for s in order], np.int64)
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

    def past(self, flow: NDArray[np.int64], sent_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which packets, of the flows with some numbers, were sent after their flow's first selection."""
        return self._behind(sent_ns, self.since_ns[self._first[flow]])

    def during(self, flow: NDArray[np.int64], sent_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of them were sent while their flow was selected."""
        on = np.zeros(len(flow), np.bool_)
        counts = np.diff(np.append(self._first, len(self.flow)))
        for turn in range(int(counts.max(initial=0))):
            has = turn < counts[flow]
            at = self._first[flow[has]] + turn
            on[has] |= self._behind(sent_ns[has], self.since_ns[at]) & (sent_ns[has] <= self.until_ns[at])
        return on

    def _behind(self, sent_ns: NDArray[np.int64], since_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """The completing packet itself is not behind the selection."""
        return (sent_ns > since_ns) & (sent_ns >= since_ns + self.delay_ns)


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
    its_own = (time_ns >= stint.begin_ns) & (time_ns < stint.end_ns)
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
    sent = _by_key(key, seen.packets.time_ns[mine], seen.sent_ns[mine])
    made = []
    for f, t, i, w in zip(flow.tolist(), time_ns.tolist(), installed.tolist(), who, strict=True):
        sent_ns = _sent_ns(sent.get(f), t)
        times = trues.get(f, (np.zeros(0, np.int64),))[0]
        until_ns = min(_last(times, sent_ns, hold_ns) + hold_ns, stint.end_ns)
        made.append(Selection(device, f, t, sent_ns, until_ns, i, w))
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


def _sent_ns(times: tuple[NDArray[np.int64], ...] | None, time_ns: int) -> int:
    """Return when the packet was sent that the device saw at a time; that time, where the packet is not known."""
    if times is None:
        return time_ns
    seen_ns, sent_ns = times
    at = np.flatnonzero(seen_ns == time_ns)
    return int(sent_ns[at[0]]) if len(at) else time_ns


def _last(times: NDArray[np.int64], since_ns: int, hold_ns: int) -> int:
    """Return when the event was last true before the hold of a selection ran out."""
    later = np.concatenate([[since_ns], np.sort(times[times > since_ns])])
    gaps = np.flatnonzero(np.diff(later) > hold_ns)
    return int(later[gaps[0]] if len(gaps) else later[-1])
