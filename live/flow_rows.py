"""The flows of a live run: the rows of a replay's flows, made of what devices reported and saw.

Who a flow is, and what the selector measured, stands in the reports of selectors. Where devices kept no observations,
what is true is not known: then a selection has a row for each monitor that reported the flow, and one without a monitor
where none did.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..monitors.records import Records
from ..replay.flow_rows import EpochRows, Facts, gathered
from ..replay.outcome import Match, Setting
from ..replay.selection_log import Chosen
from ..replay.truth import Pairs, Selected
from ..traces.packets import PacketBatch
from .selected import Lasting, Selection


class TaskFlows:
    """The rows of one task's flows, epoch by epoch."""

    def __init__(
        self, facts: Facts, made: Sequence[Selection], lasting: Lasting, watched: NDArray[np.int64], known: bool
    ) -> None:
        """Take all selections of the task; `watched` are the numbers of the flows that a monitor saw.

        `known` says whether devices kept what they saw.
        """
        self.facts, self.known = facts, known
        order = sorted(made, key=lambda s: s.sent_ns)
        self.since_ns = np.array([s.sent_ns for s in order], np.int64)
        self.chosen = chosen_of(order, facts, lasting, watched)
        self.crossed = np.zeros(len(order), np.bool_)
        self.tables: list[Any] = []

    def add(
        self,
        epoch: int,
        span: tuple[int, int],
        setting: tuple[Setting, float],
        selected: Selected,
        truth: tuple[Pairs, Sequence[Match]],
        reports: Sequence[Records],
        overfull: Sequence[bool],
    ) -> None:
        """Add the rows of an epoch: its begin and end, mode and delay in ms, what crossed, and what was reported."""
        on = (self.since_ns < span[1]) & (self.chosen.until_ns >= span[0])
        pairs, matches = truth if self.known else pairs_of_records(selected, reports)
        self.crossed |= on & np.isin(self.chosen.flow, pairs.flow)
        self._put(EpochRows(self.facts, epoch, self.chosen[on], Chosen.none(), pairs, self.known), setting, matches,
                  reports, overfull)  # fmt: skip

    def end(self, setting: tuple[Setting, float], epoch_start_ns: int, epoch_ns: int) -> None:
        """Add the rows of the selections that crossed no monitor."""
        none = np.zeros(0, np.int64)
        pairs = Pairs(none, none, none, none, np.zeros((0, 1), np.int64), np.zeros((0, 1), np.int64))
        self.chosen.epoch[:] = np.maximum((self.since_ns - epoch_start_ns) // epoch_ns, 0)
        self._put(EpochRows(self.facts, 0, Chosen.none(), self.chosen[~self.crossed], pairs, self.known), setting, [],
                  [], [])  # fmt: skip

    def _put(
        self,
        rows: EpochRows,
        setting: tuple[Setting, float],
        matches: Sequence[Match],
        reports: Sequence[Records],
        overfull: Sequence[bool],
    ) -> None:
        if len(rows):
            self.tables.append(rows.table(setting[0], 0, setting[1], gathered(matches, reports, overfull)))


def chosen_of(order: Sequence[Selection], facts: Facts, lasting: Lasting, watched: NDArray[np.int64]) -> Chosen:
    """Return selections, in order of time, as columns."""
    flow = lasting.numbers(np.array([s.flow for s in order], np.uint64))
    number, count = np.zeros(len(order), np.int32), np.zeros(len(lasting.keys), np.int32)
    for i, each in enumerate(flow.tolist()):
        count[each] += 1
        number[i] = count[each]
    packets = PacketBatch.empty(0)
    if order:
        who = [s.who for s in order]
        packets = PacketBatch.of(
            src=[w.src for w in who], dst=[w.dst for w in who], src_port=[w.src_port for w in who],
            dst_port=[w.dst_port for w in who], protocol=[w.protocol for w in who],
        )  # fmt: skip
    return Chosen.of(
        packets, flow=flow, number=number, watched=np.isin(flow, watched), epoch=np.zeros(len(order), np.int64),
        where=np.array([facts.selectors.index(s.device) for s in order], np.int64),
        time_ns=np.array([s.time_ns for s in order], np.int64),
        until_ns=np.array([s.until_ns for s in order], np.int64),
        value=np.array([s.who.value for s in order], np.float64),
    )  # fmt: skip


def pairs_of_records(selected: Selected, reports: Sequence[Records]) -> tuple[Pairs, list[Match]]:
    """Return the pairs of selected flows and monitors that reported a packet of them; what crossed is not known."""
    width = max(len(reports), 1)
    found = [(selected.find(report.flow), report.packets > 0) for report in reports]
    mine = [np.flatnonzero((flow >= 0) & some) for flow, some in found]
    code = [flow[rows] * width + monitor for monitor, ((flow, _), rows) in enumerate(zip(found, mine, strict=True))]
    pair = np.unique(np.concatenate([np.zeros(0, np.int64), *code]))
    unknown = np.zeros(len(pair), np.int64)
    after = np.ones((len(pair), 1), np.int64)
    pairs = Pairs(pair // width, pair % width, unknown, unknown, after, after)
    return pairs, [(rows, np.searchsorted(pair, each)) for rows, each in zip(mine, code, strict=True)]
