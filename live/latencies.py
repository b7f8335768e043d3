"""How long a run's coordination took: from the event to the tag on the wire, and from the event to another device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bus.config import SelectorConfig
from ..monitors.records import Records
from .observations import Observations
from .selected import Selection

KEEPS_SENDING_NS = 5_000_000
"""A flow keeps sending as long as its packets are no further apart."""


def event_to_tag(
    config: SelectorConfig, device: str, selections: Sequence[Selection], observations: Observations
) -> NDArray[np.int64]:
    """Return for each selection (ns from the completing packet to the first tagged one, whether the flow kept sending).

    1. The time is that from one packet to the other as the selector's device saw them, a switch or a host. Of a
       selector that tags packets in both directions, whichever direction is first.
    2. A flow keeps sending where its packets, from the one to the other, were sent no further apart than
       `KEEPS_SENDING_NS`, as their host saw them: a switch that holds packets up does not make a flow pause.
    3. The time of a flow that paused is its own, not that of the system. One that sent nothing more after the tag was
       in force, or nothing more at all, has none: -1.

    Shape (selections, 2).
    """
    found = np.full((len(selections), 2), (-1, 0), np.int64)
    seen = observations.seen.get(device)
    if seen is None or config.code is None or not selections:
        return found
    keys = np.array([s.flow for s in selections], np.uint64)
    concerned = np.zeros(len(seen.packets), np.bool_)
    flow = np.zeros(len(seen.packets), np.uint64)
    for wanted, reverse in ((config.tags_forward, False), (config.tags_reverse, True)):
        if wanted:
            key = seen.keys(config.key, reverse)
            mine = np.isin(key, keys)
            flow[mine], concerned = key[mine], concerned | mine
    rows = np.flatnonzero(concerned)
    rows = rows[np.lexsort((seen.packets.time_ns[rows], flow[rows]))]
    flow, times, sent_ns = flow[rows], seen.packets.time_ns[rows], seen.sent_ns[rows]
    tagged = (seen.packets.dscp[rows] & config.code.mask) == config.code.value
    for i, selection in enumerate(selections):
        begin, end = (int(np.searchsorted(flow, np.uint64(selection.flow), side)) for side in ("left", "right"))
        begin += int(np.searchsorted(times[begin:end], selection.time_ns, "right"))
        first = np.flatnonzero(tagged[begin:end])
        if len(first):
            at = begin + int(first[0])
            gaps = np.diff(np.sort(sent_ns[begin : at + 1]), prepend=selection.sent_ns)
            found[i] = times[at] - selection.time_ns, int(gaps.max() <= KEEPS_SENDING_NS)
    return found


def explicit(
    config: SelectorConfig,
    selections: Sequence[Selection],
    told: dict[int, Sequence[str]],
    records: dict[str, list[Records]],
) -> list[int]:
    """Return the ns from each selection to when each monitor that was told of it by message knew it.

    `told` is the monitors' devices by index of the selection, `records` all of the task's records by device.
    """
    taken: list[int] = []
    known = {device: _learnt(many) for device, many in records.items()}
    for i, devices in told.items():
        selection = selections[i]
        for device in devices:
            flow, learnt_ns = known.get(device, (np.zeros(0, np.uint64), np.zeros(0, np.int64)))
            times = learnt_ns[flow == selection.flow]
            times = times[(times >= selection.time_ns) & (times <= selection.until_ns)]
            if len(times):
                taken.append(int(times.min()) - selection.time_ns)
    return taken


def _learnt(records: Iterable[Records]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return (flow, when its monitor learnt of the selection) of all records that were told of one."""
    many = [(r.flow[r.selected_ns >= 0], r.selected_ns[r.selected_ns >= 0]) for r in records]
    if not many:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    return np.concatenate([flow for flow, _ in many]), np.concatenate([time for _, time in many])


def quantiles(taken_ns: Sequence[int] | NDArray[np.int64]) -> dict[str, Any]:
    """Return the median and the 99th percentile in ms, and of how many; None where there are none."""
    if not len(taken_ns):
        return {"p50": None, "p99": None, "count": 0}
    p50, p99 = np.quantile(np.asarray(taken_ns) / 1e6, [0.5, 0.99])
    return {"p50": float(p50), "p99": float(p99), "count": len(taken_ns)}
