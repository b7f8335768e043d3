"""Channels: how a selection reaches the monitors of a task, worked out from the paths for each route.

Monitor downstream of the selector on the flow's path: the tag on the flow's following packets. Monitor upstream, so
on the path of the reverse flow: a tag on the reverse packets. Neither: an explicit message, after the latency between
the two devices. (MOZART, SOSR 2016, slide 30; the channel follows from the paths, never from the user.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import SpecError
from ..tasks import Task
from ..topologies.roles import Role, beside_path, on_path
from .routes import NS_PER_MS, Route, Routes

NOWHERE = -1
MOST_SPAN = 12
"""Of spans. With few classes the hash decides more, and it decides alike at all monitors (docs/overfull.md)."""


@dataclass(frozen=True, slots=True)
class Lists:
    """A list of numbers for each route: those of route r are `items[start[r]:start[r + 1]]`."""

    start: NDArray[np.int64]
    items: NDArray[np.int32]

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> Lists:
        """Join lists."""
        start = np.concatenate([[0], np.cumsum([len(x) for x in lists])]).astype(np.int64)
        return cls(start, np.array([i for x in lists for i in x], np.int32))

    def expand(self, routes: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (index into `routes`, item) for every item of every route, in order."""
        each = self.start[routes + 1] - self.start[routes]
        which = np.repeat(np.arange(len(routes)), each)
        within = np.arange(len(which)) - np.repeat(np.cumsum(each) - each, each)
        return which, self.items[self.start[routes][which] + within].astype(np.int64)


class Channels:
    """Where the modules of one task stand on every route, and what reaches them there.

    Selectors and monitors are numbered: `selectors[w]` and `monitors[m]` are their devices.
    """

    def __init__(self, task: Task, routes: Routes, selector_at: Role | None = None, monitor_at: Role | None = None):
        """Work out a task's channels; `selector_at` and `monitor_at` stand in for the roles that the task names."""
        self.task = task
        self.selector_at: Role = selector_at or task.selector.at
        self.monitor_at: Role = monitor_at or task.monitor.at
        topology = routes.topology
        whole = routes.all[: routes.whole]
        self.selectors = _in_order(topology.devices, (self._selector(r) for r in whole))
        self.monitors = _in_order(
            topology.devices,
            (d for r in whole for d in (*on_path(r.path, self.monitor_at), *beside_path(r.path, self.monitor_at))),
        )
        self._refuse_nothing(topology.name)
        self._number = {device: number for number, device in enumerate(self.monitors)}
        forward = [self._forward(route) for route in routes.all]
        self.where = np.array([selector for selector, _, _ in forward], np.int32)
        """The selector that watches each route, or NOWHERE."""
        self.crossed = Lists.of([crossed for _, crossed, _ in forward])
        """Monitors that a packet on the route crosses."""
        self.reached = Lists.of([reached for _, _, reached in forward])
        """For each of them: 1 where it stands behind the selector, so that the tag reaches it."""
        backward = [self._backward(route, routes.all[route.reverse]) for route in routes.all]
        self.reverse_where = np.array([selector for selector, _ in backward], np.int32)
        """The selector that tags the packets of each route for the flows that they answer, or NOWHERE."""
        self.reverse_reached = Lists.of([reached for _, reached in backward])
        """Monitors of the reverse flow that a reverse tag, set on this route, reaches."""
        besides = [self._numbers(beside_path(route.path, self.monitor_at)) for route in routes.all]
        self.beside = Lists.of(besides)
        """Monitors that concern the route's flows and lie on neither path: told by an explicit message."""
        on_paths = [self._numbers(on_path(route.path, self.monitor_at)) for route in routes.all]
        self.span = self._spans(routes, [on + beside for on, beside in zip(on_paths, besides, strict=True)])
        """How much of the monitors' memory the flows of a route ask for, wherever a packet is dropped."""
        self.reverse_span = self.span[[route.reverse for route in routes.all]]
        latency_ms, index = topology.latency_ms, topology.index
        self.latency_ns = np.array(
            [[round(latency_ms[index[a], index[b]] * NS_PER_MS) for b in self.monitors] for a in self.selectors],
            np.int64,
        ).reshape(len(self.selectors), len(self.monitors))

    def _numbers(self, monitors: Iterable[str]) -> list[int]:
        return [self._number[device] for device in monitors]

    def _forward(self, route: Route) -> tuple[int, list[int], list[int]]:
        """Return the selector on a route, the monitors that it crosses, and for each whether the tag reaches it."""
        selector, devices = self._selector(route), route.devices
        crossed = [d for d in on_path(route.path, self.monitor_at) if d in devices]
        if selector not in devices:
            return NOWHERE, self._numbers(crossed), [0] * len(crossed)
        behind = devices[devices.index(selector) :]
        return self.selectors.index(selector), self._numbers(crossed), [int(d in behind) for d in crossed]

    def _backward(self, route: Route, reverse: Route) -> tuple[int, list[int]]:
        """Return the selector of the reverse route that tags on this one, and the monitors that its tags reach.

        Those lie behind it here and before it there: the flow's own tag does not reach them.
        """
        selector = self._selector(reverse)
        if selector not in route.devices:
            return NOWHERE, []
        after = route.devices[route.devices.index(selector) :]
        before = reverse.devices[: reverse.devices.index(selector)]
        reached = self._numbers(d for d in on_path(reverse.path, self.monitor_at) if d in after and d in before)
        return (self.selectors.index(selector) if reached else NOWHERE), reached

    def tagged_on(self, route: int) -> set[int]:
        """Return the monitors on a route that the tag of its flows reaches."""
        mine = slice(self.crossed.start[route], self.crossed.start[route + 1])
        return set(self.crossed.items[mine][self.reached.items[mine] == 1].tolist())

    def kinds(self) -> set[str]:
        """Return the channels that the task needs: of tag, reverse tag and message."""
        found = set()
        if (self.reached.items == 1).any():
            found.add("tag")
        if (self.reverse_where >= 0).any():
            found.add("reverse tag")
        if len(self.beside.items):
            found.add("message")
        return found

    def _spans(self, routes: Routes, concerned: Sequence[Sequence[int]]) -> NDArray[np.uint8]:
        """Return the span of each route: its monitors, each weighed by how many routes concern it; 0 to MOST_SPAN.

        The more routes concern a monitor the sooner it is full, so the dearer is its memory.
        """
        ends = [(route.path.devices[0], route.path.devices[-1]) for route in routes.all[: routes.whole]]
        paths = Counter(ends)
        load = np.zeros(len(self.monitors))
        for pair, monitors in zip(ends, concerned, strict=False):
            load[monitors] += 1 / paths[pair]
        span = np.array([load[monitors].sum() for monitors in concerned])
        return np.rint(MOST_SPAN * span / span.max()).astype(np.uint8)

    def _selector(self, route: Route) -> str | None:
        """Return the device on a route's whole path whose selector watches it: the first, where several do."""
        found = on_path(route.path, self.selector_at)
        return found[0] if found else None

    def _refuse_nothing(self, topology: str) -> None:
        for what, at, devices in (
            ("selector", self.selector_at, self.selectors), ("monitor", self.monitor_at, self.monitors)
        ):  # fmt: skip
            if not devices:
                named = at if isinstance(at, str) else ", ".join(at)
                raise SpecError(
                    f"task {self.task.name}: no path of {topology} has a device for the {what} at {named}"
                    + ("; the paths have no equal-cost alternatives (see topology.ecmp)" if "ecmp" in str(at) else "")
                )


def _in_order(devices: Sequence[str], some: Iterable[str | None]) -> tuple[str, ...]:
    """Return those devices that occur in `some`, in the order of `devices`."""
    wanted = set(some)
    return tuple(d for d in devices if d in wanted)
