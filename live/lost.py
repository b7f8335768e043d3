"""Packets that were sent and did not arrive: how many, when they were sent, and what that may be due to."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..controller.faults import Fault
from .observations import Observations, kinds_of

COST_PACKETS = ("rules-lost", "foreign-rule", "switch-away", "bridge-deleted", "open-vswitch", "link-down")
"""Kinds of faults for which packets are lost."""
MARGIN_NS = 200_000_000
"""A fault is seen a little later than it begins, and packets that wait are lost with it."""

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Lost:
    """What became of the packets that did not arrive."""

    packets: int = 0
    on_purpose: int = 0
    """Dropped by the loss that the task file asks for, behind the agent of the host that sent them."""
    unseen: int = 0
    """Sent while the agent of a host was away: they may have arrived."""
    in_faults: int = 0
    """Sent while a fault of the network lasted, of the others."""

    @property
    def unasked(self) -> int:
        """Packets lost although no loss was asked for."""
        return max(self.packets - self.on_purpose - self.unseen, 0)

    @property
    def unexplained(self) -> int:
        """Packets lost for no reason that is known."""
        return max(self.unasked - self.in_faults, 0)

    @classmethod
    def from_dict(cls, given: Mapping[str, int]) -> Lost:
        """Read what `to_dict` made."""
        return cls(**{field.name: given[field.name] for field in dataclasses.fields(cls)})

    def to_dict(self) -> dict[str, int]:
        """Return the counts as JSON has them."""
        return {**dataclasses.asdict(self), "unasked": self.unasked, "unexplained": self.unexplained}


def lost_ns(observations: Observations) -> NDArray[np.int64]:
    """Return when each packet that arrived nowhere was sent, in order.

    Packets of the same headers cannot be told apart. Those that arrived are taken for the latest that could have been
    on their way then, so that the others were lost when they were sent, and not at the end of their flow.
    """
    flow_hash = observations.flow_hash
    sent, sent_ns = kinds_of(observations.sent, flow_hash), observations.sent.time_ns
    parts = [seen.packets[np.flatnonzero(~seen.outgoing)] for d, seen in observations.seen.items() if d[0] == "h"]
    came = np.concatenate([kinds_of(part, flow_hash) for part in parts] or [np.zeros(0, np.uint64)])
    came_ns = np.concatenate([part.time_ns for part in parts] or [np.zeros(0, np.int64)])
    sent_order, came_order = np.lexsort((sent_ns, sent)), np.lexsort((came_ns, came))
    kinds, first, number = np.unique(sent[sent_order], return_index=True, return_counts=True)
    begin, end = (np.searchsorted(came[came_order], kinds, side) for side in ("left", "right"))
    times, arrivals = sent_ns[sent_order], came_ns[came_order]
    lost: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for i in np.flatnonzero(number > end - begin):
        lost.append(_unmatched(times[first[i] : first[i] + number[i]], arrivals[begin[i] : end[i]]))
    return np.sort(np.concatenate(lost))


def _unmatched(sent_ns: NDArray[np.int64], came_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the times of those sent that are left when each arrival has the latest possible; both in order."""
    if not len(came_ns):
        return sent_ns
    left, at = [], len(came_ns) - 1
    for time_ns in sent_ns[::-1].tolist():
        if at >= 0 and came_ns[at] >= time_ns:
            at -= 1
        else:
            left.append(time_ns)
    return np.array(left[::-1], np.int64)


def judged(
    times_ns: NDArray[np.int64], on_purpose: int, gaps_ns: Iterable[Sequence[int]], faults: Sequence[Fault], end_ns: int
) -> tuple[Lost, list[Fault]]:
    """Sum up lost packets by their reasons; returns that, and the faults with how many each may have cost.

    `gaps_ns` are the times in which agents of hosts were away, `end_ns` is the end of faults that last. A packet that
    was lost in two faults counts with both of them.
    """
    away = _within(times_ns, [(int(begin), int(end)) for begin, end in gaps_ns])
    spans = [_span(fault, end_ns) for fault in faults]
    costs = [fault.kind in COST_PACKETS for fault in faults]
    in_faults = _within(times_ns, [span for span, cost in zip(spans, costs, strict=True) if cost])
    lost = Lost(len(times_ns), on_purpose, int(away.sum()), int((in_faults & ~away).sum()))
    told = [
        dataclasses.replace(fault, packets_lost=int(_within(times_ns, [span]).sum())) if cost else fault
        for fault, span, cost in zip(faults, spans, costs, strict=True)
    ]
    return lost, told


def _span(fault: Fault, end_ns: int) -> Span:
    until_ns = end_ns if fault.until_ns is None else fault.until_ns
    return fault.time_ns - MARGIN_NS, until_ns + MARGIN_NS


def _within(times_ns: NDArray[np.int64], spans: Iterable[Span]) -> NDArray[np.bool_]:
    inside = np.zeros(len(times_ns), np.bool_)
    for begin, end in spans:
        inside |= (times_ns >= begin) & (times_ns <= end)
    return inside


def host_gaps(devices: Mapping[str, Mapping[str, Any]]) -> list[Sequence[int]]:
    """Return the times in which agents of hosts were away, of what an evaluation says of devices."""
    return [gap for device, said in devices.items() if device.startswith("h") for gap in said["gaps_ns"]]
