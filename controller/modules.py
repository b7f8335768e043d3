"""Modules: what each device's agent is told about a task's selector and monitor there (bus/config.py)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from ..bus.config import Code, MonitorConfig, SelectorConfig
from ..monitors.modes import Mode
from ..tasks import Task
from .placing import Placed
from .reach import Reach


def heard(placed: Placed, mode: Mode) -> Placed:
    """Return a task as a mode runs it: without channels where the mode's monitors heed no selection."""
    if mode.heeds_tags:
        return placed
    alone: dict[str, Any] = {"by_tag": (), "by_message": (), "reverse_tagger": None, "by_reverse_tag": ()}
    found = tuple(dataclasses.replace(reach, **alone) for reach in placed.reaches)
    return dataclasses.replace(placed, reaches=found, kinds=())


def selectors(placed: Placed, mode: Mode, code: Code | None, table: int) -> dict[str, SelectorConfig]:
    """Return the configuration of a task's selectors by device; `table` is that of its tag rules at switches."""
    task, found = placed.task, placed.reaches
    devices = dict.fromkeys(d for reach in found for d in (reach.selector, reach.reverse_tagger) if d is not None)
    return {d: _selector(task, d, found, mode, code, table) for d in devices}


def _selector(
    task: Task, device: str, found: Iterable[Reach], mode: Mode, code: Code | None, table: int
) -> SelectorConfig:
    own = [reach for reach in found if reach.selector == device]
    forward = any(reach.by_tag for reach in own)
    reverse = any(reach.reverse_tagger == device for reach in found)
    host = device.startswith("h")
    spec = task.selector
    return SelectorConfig(
        task=task.name,
        event=spec.event,
        key=spec.key,
        hold_s=spec.hold_s,
        detection_delay_ms=spec.detection_delay_ms,
        memory_entries=spec.memory_entries,
        parameters=dict(spec.parameters),
        watches=_pairs(own),
        code=code if forward or reverse else None,
        tags_forward=forward,
        tags_reverse=reverse,
        table=table if (forward or reverse) and not host else 0,
        tells=_by_pair((reach.pair, reach.by_message) for reach in own),
        announces=_by_pair((reach.pair, reach.crossed) for reach in own if mode.heeds_hints),
        span=_spans(own),
        cpu_percent=spec.cpu_percent if host else 0.0,
    )


def monitors(placed: Placed, code: Code | None) -> dict[str, MonitorConfig]:
    """Return the configuration of a task's monitors by device."""
    found = placed.reaches
    devices = dict.fromkeys(d for reach in found for d in (*reach.crossed, *reach.by_message))
    return {d: _monitor(placed.task, d, found, code) for d in devices}


def _monitor(task: Task, device: str, found: Iterable[Reach], code: Code | None) -> MonitorConfig:
    crossed = [reach for reach in found if device in reach.crossed]
    tagged = _pairs(reach for reach in crossed if device in reach.by_tag)
    reverse = _pairs(reach for reach in found if device in reach.by_reverse_tag)
    spec = task.monitor
    return MonitorConfig(
        task=task.name,
        measure=spec.measure,
        key=task.selector.key,
        memory_entries=spec.memory_entries,
        parameters=dict(spec.parameters),
        watches=_pairs(crossed),
        heeds_tag=tagged,
        heeds_reverse_tag=reverse,
        span=_spans(crossed),
        code=code if tagged or reverse else None,
        cpu_percent=spec.cpu_percent if device.startswith("h") else 0.0,
    )


def _spans(found: Iterable[Reach]) -> Mapping[str, int]:
    """Return by pair what its flows ask of the network: the most, where its paths differ."""
    spans: dict[str, int] = {}
    for reach in found:
        spans[reach.pair] = max(reach.span, spans.get(reach.pair, 0))
    return spans


def _pairs(found: Iterable[Reach]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(reach.pair for reach in found))


def _by_pair(told: Iterable[tuple[str, tuple[str, ...]]]) -> Mapping[str, tuple[str, ...]]:
    joined: dict[str, dict[str, None]] = {}
    for pair, devices in told:
        if devices:
            joined.setdefault(pair, {}).update(dict.fromkeys(devices))
    return {pair: tuple(devices) for pair, devices in joined.items()}
