"""What every device was told to do in a run, and when: a run is judged by all of its plans, each for its time.

Tasks are added and removed while a network runs, and move where a link goes down. Every plan that was in force stays in
the run's folder, and every report says which of them its device has taken since the last one, and from when on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..agents.epochs import NEVER_NS
from ..agents.modules import DETECTION
from ..bus.config import DeviceConfig, MonitorConfig, SelectorConfig
from ..controller.planned import Plan
from .observations import Observations

Module = TypeVar("Module", SelectorConfig, MonitorConfig)
Taken = Sequence[tuple[int, int]]
"""(revision, from when on packets were treated as it says), in order."""
Span = tuple[int, int]
"""[begin, end) in ns."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which a device followed one plan."""

    begin_ns: int
    end_ns: int
    plan: Plan
    config: DeviceConfig


@dataclass(frozen=True, slots=True)
class Part(Generic[Module]):
    """A time in which a module at a device was told one thing."""

    begin_ns: int
    end_ns: int
    config: Module


@dataclass(frozen=True, slots=True)
class Stint(Generic[Module]):
    """A module at a device from its start to its end: parts that follow each other, over which it kept its state."""

    parts: tuple[Part[Module], ...]

    @property
    def begin_ns(self) -> int:
        """When it started."""
        return self.parts[0].begin_ns

    @property
    def end_ns(self) -> int:
        """When it ended; NEVER_NS where it has not."""
        return self.parts[-1].end_ns

    @property
    def config(self) -> Module:
        """What it was told last."""
        return self.parts[-1].config

    def watched(self, device: str, observations: Observations) -> NDArray[np.bool_]:
        """Return which of the packets that the device saw were its matter."""
        time_ns = observations.seen[device].packets.time_ns
        mine = np.zeros(len(time_ns), np.bool_)
        for part in self.parts:
            then = (time_ns >= part.begin_ns) & (time_ns < part.end_ns)
            mine |= then & observations.watched(device, part.config.watches)
        return mine


class History:
    """The plans of a run, by time."""

    def __init__(self, plans: Mapping[int, Plan], taken: Mapping[str, Taken]) -> None:
        """Take all plans by revision, the last of which was in force at the end, and what each device took.

        A device that says nothing followed the last plan all the time.
        """
        self.plans = [plans[revision] for revision in sorted(plans)]
        self.last = self.plans[-1]
        self.stretches = {device: self._stretches(device, taken.get(device, ())) for device in self.last.devices}

    def _stretches(self, device: str, taken: Taken) -> list[Stretch]:
        plans = [self._plan(revision) for revision, _ in taken] or [self.last]
        begins = [0, *(begin_ns for _, begin_ns in taken[1:]), NEVER_NS]
        found = [
            Stretch(begin_ns, end_ns, plan, plan.devices[device])
            for plan, begin_ns, end_ns in zip(plans, begins, begins[1:], strict=False)
        ]
        return [stretch for stretch in found if stretch.begin_ns < stretch.end_ns]

    def _plan(self, revision: int) -> Plan:
        """Return a plan; where it is not known, the one before it."""
        return next((plan for plan in reversed(self.plans) if plan.revision <= revision), self.plans[0])

    @cached_property
    def tasks(self) -> list[str]:
        """All tasks that ran before the run's end, in the order of the task file; those added later behind."""
        asked = dict.fromkeys(task["name"] for plan in self.plans for task in plan.request["spec"]["tasks"])
        ran = {task for plan in self.plans for task in plan.placement}
        return [task for task in asked if task in ran and self.spans(task)]

    def plan_of(self, task: str) -> Plan:
        """Return the last plan with a task."""
        return next(plan for plan in reversed(self.plans) if task in plan.placement)

    def moved(self, task: str) -> bool:
        """Say whether a task's modules were on other devices for a time."""
        ran = {s.plan.revision: s.plan for stretches in self.stretches.values() for s in stretches}
        places = [dict(plan.placement[task]) for plan in ran.values() if task in plan.placement]
        return any(place != places[0] for place in places)

    def selectors(self, task: str) -> dict[str, list[Stint[SelectorConfig]]]:
        """Return the stints of a task's selectors, by device."""
        return self._stints(lambda config: config.selectors, task, DETECTION)

    def monitors(self, task: str) -> dict[str, list[Stint[MonitorConfig]]]:
        """Return the stints of a task's monitors, by device."""
        return self._stints(lambda config: config.monitors, task, ())

    def _stints(
        self, modules: Callable[[DeviceConfig], Iterable[Module]], task: str, state: tuple[str, ...]
    ) -> dict[str, list[Stint[Module]]]:
        """Return a task's modules by device; where one of the fields `state` changes, one ends and another begins."""
        found: dict[str, list[Stint[Module]]] = {}
        for device, stretches in self.stretches.items():
            stints: list[list[Part[Module]]] = []
            for stretch in stretches:
                config = next((module for module in modules(stretch.config) if module.task == task), None)
                if config is None:
                    continue
                before = stints[-1][-1] if stints else None
                if before is None or before.end_ns != stretch.begin_ns or not _same(before.config, config, state):
                    stints.append([Part(stretch.begin_ns, stretch.end_ns, config)])
                elif before.config == config:
                    stints[-1][-1] = Part(before.begin_ns, stretch.end_ns, config)
                else:
                    stints[-1].append(Part(stretch.begin_ns, stretch.end_ns, config))
            if stints:
                found[device] = [Stint(tuple(parts)) for parts in stints]
        return found

    @cached_property
    def run(self) -> Span:
        """When the run began and ended."""
        told = next(iter(self.last.devices.values()))
        return told.epoch_start_ns, NEVER_NS if told.end_ns is None else told.end_ns

    def spans(self, task: str) -> list[Span]:
        """Return the times within the run in which a task's selectors were at work, at any device."""
        begin_ns, end_ns = self.run
        spans: list[Span] = []
        stints = [(s.begin_ns, s.end_ns) for many in self.selectors(task).values() for s in many]
        for begin, end in sorted((max(b, begin_ns), min(e, end_ns)) for b, e in stints):
            if spans and begin <= spans[-1][1]:
                spans[-1] = spans[-1][0], max(end, spans[-1][1])
            elif begin < end:
                spans.append((begin, end))
        return spans

    def whole(self, task: str) -> bool:
        """Say whether a task ran from the beginning of the run to its end."""
        return self.spans(task) == [self.run]

    def tagging(self, device: str, time_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return at which of some times a device followed a plan in which tasks tag."""
        found = np.zeros(len(time_ns), np.bool_)
        for stretch in self.stretches[device]:
            if stretch.plan.codes:
                found |= (time_ns >= stretch.begin_ns) & (time_ns < stretch.end_ns)
        return found


def _same(a: Any, b: Any, names: tuple[str, ...]) -> bool:
    return all(getattr(a, name) == getattr(b, name) for name in names)
