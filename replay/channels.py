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
        w = {device: i for i, device in enumerate(self.selectors)}
        m = {device: i for i, device in enumerate(self.monitors)}
        self.where = np.full(len(routes), NOWHERE, np.int32)
        self.reverse_where = np.full(len(routes), NOWHERE, np.int32)
        crossed, reached, reverse_reached = [], [], []
        for number, route in enumerate(routes.all):
            devices = route.devices
            selector = self._selector(route)
            monitors = [d for d in on_path(route.path, self.monitor_at) if d in devices]
            downstream = devices[devices.index(selector) :] if selector in devices else ()
            if selector in devices:
                self.where[number] = w[selector]
            crossed.append([m[d] for d in monitors])
            reached.append([int(d in downstream) for d in monitors])
            backward = routes.all[route.reverse]
            opposite = self._selector(backward)
            upstream: list[int] = []
            if opposite in devices:
                after = devices[devices.index(opposite) :]
                before = backward.devices[: backward.devices.index(opposite)]
                upstream = [m[d] for d in on_path(backward.path, self.monitor_at) if d in after and d in before]
                if upstream:
                    self.reverse_where[number] = w[opposite]
            reverse_reached.append(upstream)
        self.crossed = Lists.of(crossed)
        """Monitors that a packet on the route crosses."""
        self.reached = Lists.of(reached)
        """For each of them: 1 where it stands behind the selector, so that the tag reaches it."""
        self.reverse_reached = Lists.of(reverse_reached)
        """Monitors of the reverse flow that a reverse tag, set on this route, reaches."""
        whole_path = [on_path(r.path, self.monitor_at) for r in routes.all]
        besides = [[m[d] for d in beside_path(r.path, self.monitor_at)] for r in routes.all]
        self.beside = Lists.of(besides)
        """Monitors that concern the route's flows and lie on neither path: told by an explicit message."""
        concerned = [[m[d] for d in on] + beside for on, beside in zip(whole_path, besides, strict=True)]
        self.span = self._spans(routes, concerned)
        """How much of the monitors' memory the flows of a route ask for, wherever a packet is dropped."""
        self.reverse_span = self.span[[route.reverse for route in routes.all]]
        latency = topology.latency_ms
        index = topology.index
        self.latency_ns = np.array(
            [[round(latency[index[a], index[b]] * NS_PER_MS) for b in self.monitors] for a in self.selectors], np.int64
        ).reshape(len(self.selectors), len(self.monitors))

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
                raise SpecError(
                    f"task {self.task.name}: no path of {topology} has a device for the {what} at {at}"
                    + ("; the paths have no equal-cost alternatives (see topology.ecmp)" if "ecmp" in str(at) else "")
                )


def _in_order(devices: Sequence[str], some: Iterable[str | None]) -> tuple[str, ...]:
    """Return those devices that occur in `some`, in the order of `devices`."""
    wanted = set(some)
    return tuple(d for d in devices if d in wanted)
