"""The rows of flows (`recordsets.FLOWS`): what became of each selection at each monitor in one epoch, as columns.

What all settings of a task share is made once an epoch (`EpochRows`): who was selected, which monitors were crossed,
and the truth. Each setting adds what its monitors recorded. Texts are coded, each distinct one once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..monitors.modes import MODES
from ..monitors.records import CAPTURES, Records
from ..recordsets import FLOWS
from ..traces.addresses import address_column
from .identity import Identity
from .outcome import Match, Setting
from .selection_log import Chosen, joined
from .truth import Pairs

REASONS = tuple(word for word, _ in FLOWS["why_not"].values)
FULL, LATE, UNREACHABLE, NO_MONITOR, NOT_SAMPLED = range(len(REASONS))
CAPTURED = -1
"""In place of a reason."""
NO_PAIR = -1
PARTS = {"five-tuple": ("src", "dst", "src_port", "dst_port", "protocol"), "src+dst": ("src", "dst")}
"""The fields that identify a flow, by the kind of its key; a key of one field is named by it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is the same in all rows of a task."""

    task: str
    event: str
    key: str
    selectors: Sequence[str]
    """Devices by number."""
    monitors: Sequence[str]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the monitors reported of the pairs of an epoch, in one setting."""

    pair: NDArray[np.int64]
    """The pair of each record."""
    records: Records
    overfull: NDArray[np.bool_]
    """By monitor: whether it turned selected flows away."""


class EpochRows:
    """The rows of one task in one epoch, as far as its settings share them."""

    def __init__(
        self, facts: Facts, epoch: int, lasting: Chosen, unseen: Chosen, pairs: Pairs, known: bool = True
    ) -> None:
        """Take the selections that lasted, those that end and crossed no monitor, and what crossed (in order of flow).

        Each lasting selection has a row for every pair of its flow, each unseen one a row without a monitor. `known`
        says whether the pairs tell what crossed; else they tell only who was recorded.
        """
        self.facts, self.epoch, self.pairs, self.known = facts, epoch, pairs, known
        begin, end = (np.searchsorted(pairs.flow, lasting.flow, side=side) for side in ("left", "right"))
        selection = np.repeat(np.arange(len(lasting)), end - begin)
        within = np.arange(len(selection)) - np.repeat(np.cumsum(end - begin) - (end - begin), end - begin)
        self.chosen = joined([lasting, unseen])
        self.selection = np.concatenate([selection, len(lasting) + np.arange(len(unseen))])
        """Number of each row's selection among `chosen`."""
        self.pair = np.concatenate([begin[selection] + within, np.full(len(unseen), NO_PAIR)])
        """Number of each row's pair, or NO_PAIR."""
        first = np.zeros(len(self.chosen), np.bool_)
        first[np.unique(lasting.flow, return_index=True)[1]] = True
        self.counts = first[self.selection] & (self.pair >= 0)
        """Which rows have the figures of their pair: those of the first selection of the flow."""

    def __len__(self) -> int:
        return len(self.selection)

    def table(self, setting: Setting, delay: int, delay_ms: float, recorded: Recorded) -> Any:
        """Return the rows of one setting and detection delay (the number `delay` of the pairs') as an arrow table."""
        import pyarrow as pa

        n = len(self)
        later = self.pairs.after_bytes[:, delay]
        columns: dict[str, Any] = {
            **self._shared,
            "mode": constant(setting.mode, n),
            "memory_entries": pa.array(np.full(n, setting.memory_entries, np.int64)),
            "detection_delay_ms": pa.array(np.full(n, delay_ms)),
            "pre_event_bytes": self._true(self.pairs.bytes - later),
            **self._recorded(setting, self.pairs.after_packets[:, delay], recorded),
        }
        return pa.Table.from_arrays([columns[name] for name in FLOWS.names], schema=FLOWS.arrow_schema())

    @cached_property
    def _shared(self) -> dict[str, Any]:
        """Columns that are the same in all settings."""
        import pyarrow as pa

        n, chosen, facts = len(self), self.chosen, self.facts
        identity = identity_columns(chosen, facts.key)
        numbered = self.pair >= 0
        monitor = np.where(numbered, self.pairs.monitor[self.pair] if len(self.pairs) else 0, 0)
        return {
            "task": constant(facts.task, n),
            **{name: column.take(pa.array(self.selection)) for name, column in identity.items()},
            "event": constant(facts.event, n),
            "event_value": pa.array(chosen.value[self.selection], from_pandas=True),
            "selected_ns": pa.array(chosen.time_ns[self.selection]),
            "selector": coded(chosen.where[self.selection], facts.selectors),
            "selection": pa.array(chosen.number[self.selection]),
            "epoch": pa.array(np.where(numbered, self.epoch, chosen.epoch[self.selection])),
            "monitor": coded(monitor, facts.monitors, ~numbered),
            "true_packets": self._true(self.pairs.packets),
            "true_bytes": self._true(self.pairs.bytes),
        }

    def _true(self, value: NDArray[np.int64]) -> Any:
        """Return a column of what is true of each pair, null where it is not known."""
        return self._of_pairs(value, None if self.known else np.zeros(len(value), np.bool_))

    def _of_pairs(self, value: NDArray[Any], known: NDArray[np.bool_] | None = None) -> Any:
        """Return a column with a value of each pair, null where a row has no figures, or the pair no known value."""
        import pyarrow as pa

        has = self.counts if known is None or not len(known) else self.counts & known[self.pair]
        return pa.array(value[self.pair] if len(value) else np.zeros(len(self), value.dtype), mask=~has)

    def _recorded(self, setting: Setting, after_packets: NDArray[np.int64], recorded: Recorded) -> dict[str, Any]:
        """Columns of what the monitors recorded."""
        import pyarrow as pa

        size, records, at = len(self.pairs), recorded.records, recorded.pair
        some = np.zeros(size, np.bool_)
        some[at] = records.packets > 0
        reason = why_not(setting.mode, self.pairs.monitor, after_packets, some, recorded.overfull)
        rows = np.where(self.chosen.watched[self.selection], UNREACHABLE, NO_MONITOR)
        captured = np.zeros(len(self), np.bool_)
        if size:
            rows = np.where(self.pair >= 0, reason[self.pair], rows)
            captured = (self.pair >= 0) & some[self.pair]

        def figures(value: NDArray[Any], known: Any = True) -> Any:
            column, has = np.zeros(size, value.dtype), some.copy()
            column[at] = value
            has[at] &= known
            return self._of_pairs(column, has)

        return {
            "captured": pa.array(captured),
            "why_not": coded(rows, REASONS, (rows == CAPTURED) | (not self.known)),
            "capture_mode": dictionary(figures(records.capture.astype(np.int32)), CAPTURES),
            **{name: figures(value, known) for name, (value, known) in figures_of(records).items()},
        }


def figures_of(records: Records) -> dict[str, tuple[NDArray[Any], Any]]:
    """Return the numbers of records by column, each with whether it is known (for each record, or for all)."""
    mean = records.bytes / np.maximum(records.packets, 1)
    bounded = np.isfinite(records.missed_packets_bound)
    bound = records.bytes + np.where(bounded, records.missed_packets_bound, 0) * mean
    distinct = next(iter(records.measured.values()), None)
    return {
        "packets": (records.packets, True),
        "bytes": (records.bytes, True),
        "distinct": (np.zeros(len(records)), False) if distinct is None else (distinct, ~np.isnan(distinct)),
        "estimate_bytes": (records.estimate_bytes, True),
        "bound_bytes": (bound, bounded),
        "first_ns": (records.first_ns, True),
        "last_ns": (records.last_ns, True),
    }


def why_not(
    mode: str,
    monitor: NDArray[np.int64],
    after_packets: NDArray[np.int64],
    captured: NDArray[np.bool_],
    overfull: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Return for each pair why its monitor has no record, or CAPTURED; one that no tag could reach says so always."""
    missed = np.full(len(monitor), NOT_SAMPLED)
    if MODES[mode].heeds_tags:
        missed = np.where(overfull[monitor], FULL, LATE)
    return np.where(after_packets == 0, UNREACHABLE, np.where(captured, CAPTURED, missed))


def identity_columns(chosen: Chosen | Identity, key: str) -> dict[str, Any]:
    """Return the columns of what identifies each flow; null where it is no part of the key."""
    import pyarrow as pa

    parts = PARTS.get(key, (key,))
    columns: dict[str, Any] = {}
    for name in ("src", "dst"):
        columns[name] = address_column(getattr(chosen, name)) if name in parts else constant(None, len(chosen))
    for name in ("src_port", "dst_port", "protocol"):
        value = getattr(chosen, name)
        columns[name] = pa.array(value) if name in parts else pa.nulls(len(chosen), pa.from_numpy_dtype(value.dtype))
    return columns


def constant(text: str | None, rows: int) -> Any:
    """Return a coded column with one text in all rows, or null."""
    return coded(np.zeros(rows, np.int32), (text or "",), np.full(rows, True) if text is None else None)


def coded(code: NDArray[np.integer], texts: Sequence[str], null: NDArray[np.bool_] | None = None) -> Any:
    """Return a column of texts by number, null where a mask says so."""
    import pyarrow as pa

    return dictionary(pa.array(code.astype(np.int32), mask=null), texts)


def dictionary(codes: Any, texts: Sequence[str]) -> Any:
    """Return a column of texts by the codes of an arrow array."""
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(codes, pa.array(list(texts), pa.string()))


def gathered(found: Sequence[Match], reports: Sequence[Records], overfull: Sequence[bool]) -> Recorded:
    """Join the records of all monitors: `found` has for each (records of selected pairs, their pairs)."""
    parts = [report[mine] for report, (mine, _) in zip(reports, found, strict=True)] or [no_records()]
    plain = {f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Records)[:-1]}
    names = dict.fromkeys(name for part in parts for name in part.measured)
    measured = {
        name: np.concatenate([part.measured.get(name, np.full(len(part), np.nan)) for part in parts]) for name in names
    }
    pair = np.concatenate([np.zeros(0, np.int64), *(place for _, place in found)])
    return Recorded(pair, Records(**plain, measured=measured), np.array(overfull, np.bool_))


def no_records() -> Records:
    """Return records without rows."""
    columns: dict[str, Any] = {f.name: np.zeros(0, np.int64) for f in fields(Records)[:-1]}
    return Records(**columns | {"flow": np.zeros(0, np.uint64)}, measured={})
