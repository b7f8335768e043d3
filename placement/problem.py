"""A placement problem: devices with what they have left, tasks with what their modules ask for.

A task runs only when all of its modules are placed, each on one of its candidate devices, and every monitor
is within the task's latency bound of every selector. This file knows the problem's objects, their validity
and their JSON form. Where problems come from is known by `generated.py` and `spec_problem.py`, how they are
solved by the algorithms.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import PlacementError

ROLES = ("selector", "monitor")
RESOURCES = ("memory_entries", "cpu_percent")
"""What modules ask for and devices have, by the name of the field in both."""

SHOWN_FAULTS = 20


@dataclass(frozen=True, slots=True)
class Device:
    """A switch or host, with what is left of its memory and CPU for measurement."""

    name: str
    memory_entries: float
    cpu_percent: float


@dataclass(frozen=True, slots=True)
class Module:
    """One selector or monitor of a task: what it asks of its device, and the devices where it may run."""

    name: str
    role: str
    memory_entries: float
    cpu_percent: float
    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """Modules that run all or not at all; `max_latency_ms` bounds each selector-monitor pair (inf: none)."""

    name: str
    modules: tuple[Module, ...]
    weight: float = 1.0
    max_latency_ms: float = math.inf

    @property
    def selectors(self) -> tuple[Module, ...]:
        """The modules that select."""
        return tuple(m for m in self.modules if m.role == "selector")

    @property
    def monitors(self) -> tuple[Module, ...]:
        """The modules that record."""
        return tuple(m for m in self.modules if m.role == "monitor")


@dataclass(frozen=True, eq=False)
class Problem:
    """Devices, the latency in ms from each to each (same order), and the tasks that want to run.

    Raises PlacementError, which names every fault, where the parts do not fit together.
    """

    devices: tuple[Device, ...]
    latency_ms: NDArray[np.float64]
    tasks: tuple[Task, ...]

    def __post_init__(self) -> None:
        refuse(problem_faults(self))

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each device in `devices` and in both directions of `latency_ms`."""
        return {device.name: i for i, device in enumerate(self.devices)}

    def latency(self, selector_device: str, monitor_device: str) -> float:
        """Return the latency in ms from one device to another."""
        return float(self.latency_ms[self.index[selector_device], self.index[monitor_device]])

    def with_latency_bound(self, max_latency_ms: float | None) -> Problem:
        """Return the same problem with this bound for every task; None leaves each task its own."""
        if max_latency_ms is None:
            return self
        return self.with_tasks(replace(task, max_latency_ms=max_latency_ms) for task in self.tasks)

    def with_tasks(self, tasks: Iterable[Task]) -> Problem:
        """Return a problem with the same devices and other tasks."""
        return Problem(self.devices, self.latency_ms, tuple(tasks))

    def without_device(self, name: str) -> Problem:
        """Return the problem after a device has disappeared, also from the candidates."""
        if name not in self.index:
            raise PlacementError(f"no device {name!r} in the problem; there are {', '.join(self.index)}")
        gone = self.index[name]
        tasks = (
            replace(t, modules=tuple(replace(m, candidates=_without(m.candidates, name)) for m in t.modules))
            for t in self.tasks
        )
        latency = np.delete(np.delete(self.latency_ms, gone, 0), gone, 1)
        return Problem(self.devices[:gone] + self.devices[gone + 1 :], latency, tuple(tasks))


def _without(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(n for n in names if n != name)


def refuse(faults: Iterable[str]) -> None:
    """Raise PlacementError with all faults, one a line, if there are any."""
    found = list(faults)
    if found:
        more = [f"... and {len(found) - SHOWN_FAULTS} more"] if len(found) > SHOWN_FAULTS else []
        raise PlacementError("\n".join(["the placement problem is not valid:", *found[:SHOWN_FAULTS], *more]))


def problem_faults(problem: Problem) -> Iterator[str]:
    """Yield what is wrong with a problem, each with the place where it is wrong."""
    names = [device.name for device in problem.devices]
    yield from (f"devices: the name {name!r} occurs twice" for name in _repeated(names))
    for device in problem.devices:
        for resource in RESOURCES:
            yield from _amount_faults(f"device {device.name}: {resource}", getattr(device, resource))
    yield from _latency_faults(names, problem.latency_ms)
    yield from (f"tasks: the name {name!r} occurs twice" for name in _repeated([t.name for t in problem.tasks]))
    known = set(names)
    for task in problem.tasks:
        yield from _task_faults(task, known)


def _latency_faults(names: list[str], latency: NDArray[np.float64]) -> Iterator[str]:
    if latency.shape != (len(names), len(names)):
        yield (
            f"latency_ms: has shape {latency.shape}, and {len(names)} devices need a row and a column each "
            f"({len(names)} x {len(names)})"
        )
        return
    for i, j in np.argwhere(~(np.isfinite(latency) & (latency >= 0))):
        value = latency[i, j]
        yield f"latency_ms: from {names[i]} to {names[j]} is {value}; it must be 0 or more, and finite"


def _task_faults(task: Task, known: set[str]) -> Iterator[str]:
    where = f"task {task.name}"
    if not task.modules:
        yield f"{where}: has no modules; give it at least one"
    if not (math.isfinite(task.weight) and task.weight > 0):
        yield f"{where}: weight is {task.weight}; it must be above 0, and finite"
    if math.isnan(task.max_latency_ms) or task.max_latency_ms < 0:
        yield f"{where}: max_latency_ms is {task.max_latency_ms}; it must be 0 or more, or null for no bound"
    yield from (f"{where}: two modules are named {name!r}" for name in _repeated([m.name for m in task.modules]))
    for module in task.modules:
        here = f"{where}, module {module.name}"
        if module.role not in ROLES:
            yield f"{here}: role is {module.role!r}; it must be one of {', '.join(ROLES)}"
        for resource in RESOURCES:
            yield from _amount_faults(f"{here}: {resource}", getattr(module, resource))
        yield from (f"{here}: candidate {d!r} is no device of the problem" for d in module.candidates if d not in known)
        yield from (f"{here}: candidate {d!r} is named twice" for d in _repeated(module.candidates))


def _amount_faults(where: str, value: float) -> Iterator[str]:
    if not (math.isfinite(value) and value >= 0):
        yield f"{where} is {value}; it must be 0 or more, and finite"


def _repeated(names: Sequence[str]) -> list[str]:
    seen: set[str] = set()
    return sorted({name for name in names if name in seen or seen.add(name)})  # type: ignore[func-returns-value]


def to_json(problem: Problem) -> dict[str, Any]:
    """Return the problem in its JSON form, which `from_json` reads back to an equal one."""
    return {
        "devices": [{"name": d.name, **_amounts(d)} for d in problem.devices],
        "latency_ms": problem.latency_ms.tolist(),
        "tasks": [
            {
                "name": t.name,
                "weight": t.weight,
                "max_latency_ms": None if math.isinf(t.max_latency_ms) else t.max_latency_ms,
                "modules": [
                    {"name": m.name, "role": m.role, **_amounts(m), "candidates": list(m.candidates)} for m in t.modules
                ],
            }
            for t in problem.tasks
        ],
    }


def _amounts(thing: Device | Module) -> dict[str, float]:
    return {resource: getattr(thing, resource) for resource in RESOURCES}


def from_json(document: Any) -> Problem:
    """Make a problem of its JSON form. Raises PlacementError naming every value that is missing or wrong."""
    reader = _Reader([])
    top = reader.fields("", document, ("devices", "latency_ms", "tasks"))
    devices = tuple(reader.device(i, d) for i, d in enumerate(reader.items("devices", top.get("devices", []))))
    latency = reader.matrix([d.name for d in devices], top["latency_ms"]) if "latency_ms" in top else np.zeros((0, 0))
    tasks = tuple(reader.task(i, t) for i, t in enumerate(reader.items("tasks", top.get("tasks", []))))
    refuse(reader.faults)
    return Problem(devices, latency, tasks)


def load_problem(path: str | Path) -> Problem:
    """Read a problem from a JSON file. Raises PlacementError naming the file and every fault."""
    document = read_json(path, "problem")
    try:
        return from_json(document)
    except PlacementError as error:
        raise PlacementError(f"{path}: {error}") from error


def read_json(path: str | Path, what: str) -> Any:
    """Read a JSON file; `what` names it where it cannot be read. Raises PlacementError."""
    try:
        return json.loads(Path(path).read_text())
    except OSError as error:
        raise PlacementError(f"cannot read the {what} {path}: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise PlacementError(f"{path}:{error.lineno}: this is not JSON: {error.msg}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise PlacementError(f"{path}: this is not JSON: {error}") from error


@dataclass
class _Reader:
    """Reads JSON values, and collects what is wrong with them instead of stopping at the first."""

    faults: list[str]

    def fields(self, where: str, value: Any, required: Sequence[str]) -> dict[str, Any]:
        prefix = f"{where}: " if where else ""
        if not isinstance(value, dict):
            self.faults.append(f"{prefix}must be an object with {', '.join(required)}")
            return {}
        self.faults += [f"{prefix}{name!r} is missing" for name in required if name not in value]
        self.faults += [
            f"{prefix}unknown key {name!r}; allowed are {', '.join(sorted(required))}"
            for name in value
            if name not in required
        ]
        return value

    def items(self, where: str, value: Any) -> list[Any]:
        if not isinstance(value, list):
            self.faults.append(f"{where}: must be a list")
        return value if isinstance(value, list) else []

    def number(self, where: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.faults.append(f"{where}: is {json.dumps(value)}; it must be a number")
            return 0.0
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf

    def bound(self, where: str, value: Any) -> float:
        """Read a latency bound: null is none, and a number must be finite."""
        if value is None:
            return math.inf
        found = self.number(where, value)
        if math.isinf(found):
            self.faults.append(f"{where}: is {found}; it must be finite, or null for no bound")
        return found

    def text(self, where: str, value: Any) -> str:
        if not isinstance(value, str) or not value:
            self.faults.append(f"{where}: is {json.dumps(value)}; it must be a text that is not empty")
            return "?"
        return value

    def amounts(self, where: str, fields: dict[str, Any]) -> dict[str, float]:
        return {r: self.number(f"{where}: {r}", fields[r]) if r in fields else 0.0 for r in RESOURCES}

    def device(self, position: int, value: Any) -> Device:
        where = f"devices[{position}]"
        fields = self.fields(where, value, ("name", *RESOURCES))
        return Device(self.text(f"{where}.name", fields.get("name", "?")), **self.amounts(where, fields))

    def task(self, position: int, value: Any) -> Task:
        where = f"tasks[{position}]"
        fields = self.fields(where, value, ("name", "weight", "max_latency_ms", "modules"))
        return Task(
            self.text(f"{where}.name", fields.get("name", "?")),
            tuple(
                self.module(f"{where}.modules[{i}]", m)
                for i, m in enumerate(self.items(f"{where}.modules", fields.get("modules", [])))
            ),
            self.number(f"{where}.weight", fields.get("weight", 1.0)),
            self.bound(f"{where}.max_latency_ms", fields.get("max_latency_ms")),
        )

    def module(self, where: str, value: Any) -> Module:
        fields = self.fields(where, value, ("name", "role", *RESOURCES, "candidates"))
        candidates = self.items(f"{where}.candidates", fields.get("candidates", []))
        return Module(
            self.text(f"{where}.name", fields.get("name", "?")),
            self.text(f"{where}.role", fields.get("role", "?")),
            **self.amounts(where, fields),
            candidates=tuple(self.text(f"{where}.candidates[{i}]", c) for i, c in enumerate(candidates)),
        )

    def matrix(self, names: list[str], value: Any) -> NDArray[np.float64]:
        latency = np.zeros((len(names), len(names)))
        rows = self.items("latency_ms", value)
        if len(rows) != len(names):
            self.faults.append(f"latency_ms: has {len(rows)} rows, and there are {len(names)} devices")
        for i, (source, row) in enumerate(zip(names, rows, strict=False)):
            cells = self.items(f"latency_ms: row of {source}", row)
            self.faults += [f"latency_ms: from {source} to {to} is absent" for to in names[len(cells) :]]
            if len(cells) > len(names):
                self.faults.append(f"latency_ms: row of {source} has {len(cells)} values for {len(names)} devices")
            for j, (to, cell) in enumerate(zip(names, cells, strict=False)):
                latency[i, j] = self.number(f"latency_ms: from {source} to {to}", cell)
        return latency
