"""Channels: how a selection reaches the monitors of a task, worked out from the paths for each route.

Monitor downstream of the selector on the flow's path: the tag on the flow's following packets. Monitor upstream, so
on the path of the reverse flow: a tag on the reverse packets. Neither: an explicit message, after the latency between
the two devices. (MOZART, SOSR 2016, slide 30; the channel follows from the paths, never from the user.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SpecError
from ..tasks import Task
from ..topologies.lists import Lists, starts
from ..topologies.roles import Role
from . import channel_kernels
from .routes import NS_PER_MS, Routes

NOWHERE = -1
MOST_SPAN = 12
"""Of spans. With few classes the hash decides more, and it decides alike at all monitors (docs/overfull.md)."""


class Channels:
    """Where the modules of one task stand on every route, and what reaches them there.

    Selectors and monitors are numbered: `selectors[w]` and `monitors[m]` are their devices.
    """

    def __init__(self, task: Task, routes: Routes, selector_at: Role | None = None, monitor_at: Role | None = None):
        """Work out a task's channels; `selector_at` and `monitor_at` stand in for the roles that the task names."""
        self.task = task
        self.selector_at: Role = selector_at or task.selector.at
        self.monitor_at: Role = monitor_at or task.monitor.at
        topology, self._paths = routes.topology, routes.paths
        self._on_selector = self._paths.on(self.selector_at)
        self._on_monitor = self._paths.on(self.monitor_at)
        beside = self._paths.beside(self.monitor_at)
        self._selector_at = self._first_selector()
        """The place on each path of the device whose selector watches it (the first, where several could); or -1."""
        self.selectors = self._named(self._selector_devices())
        self.monitors = self._named(np.concatenate([self._paths.devices[self._on_monitor], beside.items]))
        self._refuse_nothing(topology.name)
        self._monitor_number = self._numbers(self.monitors)
        # a route outside of the network has no path: any one does, as nothing of it is crossed
        self._path = np.where(np.arange(len(routes)) == routes.outside, 0, routes.path_number)
        self._reach = routes.reach
        self.where = self._watching(routes)
        """The selector that watches each route, or NOWHERE."""
        self.crossed, self.reached = self._crossed()
        """Monitors that a packet on the route crosses; and for each of them 1 where it stands at or behind the
        selector, so that the tag reaches it."""
        self.reverse_reached = self._reverse_reached()
        """Monitors of the reverse flow that a reverse tag, set on this route, reaches."""
        self.reverse_where = self._reverse_watching(routes)
        """The selector that tags the packets of each route for the flows that they answer, or NOWHERE."""
        besides = Lists(beside.start, self._monitor_number[beside.items])
        self.beside = self._of_routes(besides, routes)
        """Monitors that concern the route's flows and lie on neither path: told by an explicit message."""
        self.span = self._spans(routes, besides)
        """How much of the monitors' memory the flows of a route ask for, wherever a packet is dropped."""
        self.reverse_span = np.where(
            np.arange(len(routes)) == routes.outside, self.span, self.span[self._paths.reverse[self._path]]
        )
        latency_ms, index = topology.latency_ms, topology.index
        self.latency_ns = np.array(
            [[round(latency_ms[index[a], index[b]] * NS_PER_MS) for b in self.monitors] for a in self.selectors],
            np.int64,
        ).reshape(len(self.selectors), len(self.monitors))

    def _first_selector(self) -> NDArray[np.int16]:
        start = self._paths.start
        entries = np.append(np.flatnonzero(self._on_selector), len(self._on_selector))
        first = entries[np.searchsorted(entries, start[:-1])]
        return np.where(first < start[1:], first - start[:-1], NOWHERE).astype(np.int16)

    def _selector_devices(self) -> NDArray[np.int16]:
        """Return the device of each path's selector, of the paths that have one."""
        watched = self._selector_at >= 0
        return self._paths.devices[(self._paths.start[:-1] + self._selector_at)[watched]]

    def _named(self, devices: NDArray[Any]) -> tuple[str, ...]:
        """Return the names of devices, each once, in the topology's order."""
        return tuple(self._paths.topology.devices[i] for i in np.unique(devices))

    def _numbers(self, names: tuple[str, ...]) -> NDArray[np.int16]:
        """Return the place of each device among some, by its number in the topology; -1 where it is not there."""
        numbers = np.full(len(self._paths.topology.devices), NOWHERE, np.int16)
        numbers[[self._paths.topology.index[name] for name in names]] = np.arange(len(names))
        return numbers

    def _selector_numbers(self) -> NDArray[np.int32]:
        """Return the number of each path's selector, or NOWHERE."""
        found = np.full(len(self._paths), NOWHERE, np.int32)
        found[self._selector_at >= 0] = self._numbers(self.selectors)[self._selector_devices()]
        return found

    def _watching(self, routes: Routes) -> NDArray[np.int32]:
        at = self._selector_at[self._path]
        return np.where((at >= 0) & (at < routes.reach), self._selector_numbers()[self._path], np.int32(NOWHERE))

    def _reverse_watching(self, routes: Routes) -> NDArray[np.int32]:
        tags = np.diff(self.reverse_reached.start) > 0
        back = self._paths.reverse[self._path]
        return np.where(tags, self._selector_numbers()[back], np.int32(NOWHERE))

    def _crossed(self) -> tuple[Lists, Lists]:
        paths = self._paths
        counts = np.empty(len(self._path), np.int64)
        given = (
            self._path, self._reach, paths.start, paths.devices, self._on_monitor, self._monitor_number,
            self._selector_at, counts,
        )  # fmt: skip
        channel_kernels.crossed(*given, counts, np.empty(0, np.int16), np.empty(0, np.int8))
        begin = starts(counts)
        items, reached = np.empty(begin[-1], np.int16), np.empty(begin[-1], np.int8)
        channel_kernels.crossed(*given, begin, items, reached)
        return Lists(begin, items), Lists(begin, reached)

    def _reverse_reached(self) -> Lists:
        paths = self._paths
        counts = np.empty(len(self._path), np.int64)
        given = (
            self._path, self._reach, paths.start, paths.devices, self._on_monitor, self._monitor_number,
            self._selector_at, paths.reverse, counts,
        )  # fmt: skip
        channel_kernels.reverse_reached(*given, counts, np.empty(0, np.int16))
        begin = starts(counts)
        items = np.empty(begin[-1], np.int16)
        channel_kernels.reverse_reached(*given, begin, items)
        return Lists(begin, items)

    def _of_routes(self, of_paths: Lists, routes: Routes) -> Lists:
        """Return lists by route of lists by path; that of the route outside is empty."""
        if not len(of_paths.items):
            return Lists(np.zeros(len(routes) + 1, np.int64), of_paths.items)
        inside = of_paths.take(self._path[:-1])
        return Lists(np.append(inside.start, inside.start[-1]), inside.items)

    def tagged_on(self, route: int) -> set[int]:
        """Return the monitors on a route that the tag of its flows reaches."""
        return set(self.crossed[route][self.reached[route] == 1].tolist())

    def tagged_links(self) -> frozenset[tuple[str, str]]:
        """Return the links (with direction) on which tagged packets can be: from a selector to the last monitor."""
        paths, devices = self._paths, self._paths.topology.devices
        marks = np.zeros((len(devices), len(devices)), np.uint8)
        whole = slice(0, len(paths))
        channel_kernels.mark_tagged(
            paths.start, paths.devices, self._on_monitor, self._selector_at, paths.reverse,
            self.where[whole] != NOWHERE, self.reverse_where[whole] != NOWHERE, marks,
        )  # fmt: skip
        return frozenset((devices[a], devices[b]) for a, b in np.argwhere(marks).tolist())

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

    def _spans(self, routes: Routes, besides: Lists) -> NDArray[np.uint8]:
        """Return the span of each route: its monitors, each weighed by how many routes concern it; 0 to MOST_SPAN.

        The more routes concern a monitor the sooner it is full, so the dearer is its memory.
        """
        whole = routes.whole
        ons = Lists(self.crossed.start[: whole + 1], self.crossed.items[: self.crossed.start[whole]])
        a, b = self._paths.ends.T
        weight = 1 / self._paths.count[a, b]
        load = np.zeros(len(self.monitors))
        span = np.zeros(whole)
        for lists in (ons, besides):
            channel_kernels.add_spans(lists.start, lists.items, weight, load)
        for lists in (ons, besides):
            some = np.flatnonzero(np.diff(lists.start))
            if len(some):
                span[some] += np.add.reduceat(load[lists.items], lists.start[some])
        of_route = np.where(np.arange(len(routes)) == routes.outside, 0.0, span[self._path])
        return np.rint(MOST_SPAN * of_route / of_route.max()).astype(np.uint8)

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
