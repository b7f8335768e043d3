"""The live view: what all devices say of themselves once a second, as a table that stays in place on a terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Stats = Mapping[str, Mapping[str, Any]]
"""Device -> what its agent last said (bus/topics.py, `stats`)."""

COLUMNS = (
    ("packets/s", "packets", True),
    ("packets", "packets", False),
    ("selected", "selected", False),
    ("tagged", "tagged", False),
    ("dropped", "kernel_drops", False),
)
"""Heading, name in the stats, and whether it is shown as a rate."""


class View:
    """A context manager: while it is open, `show` brings the table up to date, on a terminal only."""

    def __init__(self, tasks: Mapping[str, Sequence[str]], console: Console | None = None) -> None:
        """`tasks` says by task which devices it has modules on."""
        from rich.console import Console
        from rich.live import Live

        self.tasks = tasks
        console = console or Console(stderr=True)
        self._live = Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None
        self._before: dict[str, tuple[int, float]] = {}
        """Device -> (time of its stats before, in ns; packets then)."""
        self._rates: dict[str, tuple[int, float]] = {}
        self._shown_s = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, stats: Stats, status: Mapping[str, Mapping[str, Any]]) -> None:
        """Show the latest; called often, it draws at most twice a second."""
        if self._live is None or time.monotonic() - self._shown_s < 0.5:
            return
        self._shown_s = time.monotonic()
        self._live.update(self.render(stats, status), refresh=True)

    def render(self, stats: Stats, status: Mapping[str, Mapping[str, Any]]) -> RenderableType:
        """Return the tables: one of the devices, one of the tasks."""
        from rich.console import Group

        return Group(self._devices(stats, status), self._tasks(stats))

    def _devices(self, stats: Stats, status: Mapping[str, Mapping[str, Any]]) -> RenderableType:
        table = _table("device", "state", *(heading for heading, _, _ in COLUMNS), "CPU %", "memory, MB")
        for device in sorted(stats, key=lambda name: (name[0], len(name), name)):
            said = stats[device]
            state = str(status.get(device, {}).get("state", "-"))
            rate = self._rate(device, said)
            cells = [f"{rate if as_rate else said.get(name, 0):,.0f}" for _, name, as_rate in COLUMNS]
            style = "" if state == "running" and not said.get("kernel_drops") else "red"
            cpu, memory = said.get("cpu_percent") or 0.0, (said.get("memory_bytes") or 0) / 1e6
            table.add_row(device, state, *cells, f"{cpu:.1f}", f"{memory:.1f}", style=style)
        return table

    def _tasks(self, stats: Stats) -> RenderableType:
        table = _table("task", "devices", "selected there")
        for task, devices in self.tasks.items():
            selected = sum(stats.get(device, {}).get("selected", 0) for device in devices)
            table.add_row(task, str(len(devices)), f"{selected:,}")
        return table

    def _rate(self, device: str, said: Mapping[str, Any]) -> float:
        """Return packets a second between the last two stats of a device."""
        now_ns, packets = int(said.get("time_ns", 0)), float(said.get("packets", 0))
        before_ns, before = self._before.get(device, (now_ns, packets))
        if now_ns > before_ns:
            self._rates[device] = now_ns, (packets - before) * 1e9 / (now_ns - before_ns)
        self._before[device] = now_ns, packets
        return self._rates.get(device, (0, 0.0))[1]


def _table(*headings: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="left" if i == 0 else "right", no_wrap=True)
    return table
