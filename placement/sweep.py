"""Sweeps: seeds x loads x topologies x algorithms x latency bounds, on all cores or on a cluster, and resumable.

A cell is one algorithm with one bound on one generated problem. Cells know nothing of each other, so it does not
matter where and in which order they run: same cell, same placement, as long as no time limit stops its search. A
finished cell is a line of the file `cells.jsonl` in the sweep's folder, and is not run again. `workers.py` knows
processes and clusters.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from .._version import __version__
from ..errors import PlacementError
from ..folders import make_folder
from ..topologies.json_file import from_json, to_json
from ..topologies.topology import Topology
from .algorithms import ALGORITHMS, place
from .comparison import Run, search_seed
from .generated import Instance
from .result import Placement, as_row

FILE = "cells.jsonl"
LABEL = 12
"""Hexadecimal digits of the label of a network."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Everything that a placement of the sweep follows from; two cells that are equal give the same placement."""

    instance: Instance
    network: str
    """A label of all that the topology is made of: the file that its text names may change."""
    algorithm: str
    max_latency_ms: float | None
    """None for no bound."""
    solver: str
    time_limit_s: float | None
    seed: int
    version: str = __version__
    max_steps: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the cell as plain values, which `from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Cell:
        """Make the cell of its plain values; raises TypeError or KeyError where they are none."""
        return cls(**{**values, "instance": Instance(**values["instance"])})


Line = dict[str, Any]
"""A finished cell: `cell`, `row`, `placement`, and `partial` (modules of tasks that do not run)."""


@dataclass(frozen=True)
class Sweep:
    """The cells to run, and the networks that they run on, as JSON by label: what a worker needs and has no file of."""

    cells: Sequence[Cell]
    networks: Mapping[str, str]


def plan(
    instances: Sequence[Instance],
    topologies: Mapping[str, Topology],
    algorithms: Sequence[str],
    bounds_ms: Sequence[float | None],
    *,
    time_limit_s: float,
    seed: int = 1,
    solver: str = "highs",
    max_steps: float = math.inf,
) -> Sweep:
    """Return the sweep of all algorithms and bounds on all instances; `topologies` by the text that names them.

    Raises PlacementError for an unknown algorithm.
    """
    unknown = [name for name in algorithms if name not in ALGORITHMS]
    if unknown:
        raise PlacementError(f"no algorithm {unknown[0]!r}; there are {', '.join(ALGORITHMS)}")
    texts = {name: to_json(topology) for name, topology in topologies.items()}
    labels = {name: hashlib.sha256(text.encode()).hexdigest()[:LABEL] for name, text in texts.items()}
    bounds = dict.fromkeys(None if bound is None or math.isinf(bound) else bound for bound in bounds_ms)
    limit_s = None if math.isinf(time_limit_s) else time_limit_s
    cells = [
        Cell(
            instance,
            labels[instance.topology],
            algorithm,
            bound,
            solver,
            limit_s,
            search_seed(seed, instance),
            max_steps=None if math.isinf(max_steps) else max_steps,
        )
        for instance in instances
        for bound in bounds
        for algorithm in dict.fromkeys(algorithms)
    ]
    return Sweep(cells, {labels[name]: text for name, text in texts.items()})


def run_cell(cell: Cell, network: str) -> Line:
    """Run one cell; what a worker does. Raises PlacementError where the worker has another version of mozart."""
    if cell.version != __version__:
        raise PlacementError(
            f"this worker has mozart {__version__}, and the sweep is of {cell.version}: install the same"
        )
    problem = cell.instance.problem(_topology(network))
    bound = math.inf if cell.max_latency_ms is None else cell.max_latency_ms
    found = place(
        problem,
        cell.algorithm,
        max_latency_ms=bound,
        time_limit_s=math.inf if cell.time_limit_s is None else cell.time_limit_s,
        seed=cell.seed,
        solver=cell.solver,
        max_steps=math.inf if cell.max_steps is None else cell.max_steps,
    )
    if found.interrupted:
        raise KeyboardInterrupt  # a placement that was cut short is no result of the cell
    row = {**as_row(problem, found, bound), "max_latency_ms": cell.max_latency_ms}
    return {"cell": cell.to_json(), "row": row, "placement": found.to_json(), "partial": found.partial}


@lru_cache(maxsize=4)
def _topology(network: str) -> Topology:
    return from_json(network)


Runner = Callable[[Sequence[tuple[Cell, str]]], Generator[Line, None, None]]
"""Runs cells, each with its network, and yields their lines as they finish; of `workers.py`."""


def sweep(
    what: Sweep,
    runner: Runner,
    out: str | Path | None = None,
    done: Callable[[Run], None] = lambda run: None,
) -> tuple[list[Run], bool]:
    """Run the cells that the folder `out` does not have; returns the runs of all, in order, and whether all are there.

    `done` is called with each run as it ends, and first with those that were found in the folder. Ctrl-C keeps what is
    done: the folder has it, and the runs so far are returned.
    Raises PlacementError for a folder of something else, and for one that another sweep is writing to.
    """
    wanted = set(what.cells)
    lines: dict[Cell, Line] = {}
    try:
        with _record(out) as (known, keep):
            lines |= {cell: line for cell, line in known.items() if cell in wanted}
            for line in lines.values():
                done(_run(line))
            todo = [(cell, what.networks[cell.network]) for cell in what.cells if cell not in lines]
            with closing(runner(todo)) as finished:
                for line in finished:
                    keep(line)
                    lines[Cell.from_json(line["cell"])] = line
                    done(_run(line))
    except KeyboardInterrupt:
        if not lines:
            raise
    runs = [_run(lines[cell]) for cell in what.cells if cell in lines]
    return runs, len(runs) == len(what.cells)


def _run(line: Line) -> Run:
    """Return the run that a line tells of."""
    row = line["row"]
    bound = math.inf if row["max_latency_ms"] is None else row["max_latency_ms"]
    found = Placement(row["algorithm"], row["status"], line["placement"], line["partial"], bound=row["bound"])
    return Run({**row, "max_latency_ms": bound}, found, Instance(**line["cell"]["instance"]))


@contextmanager
def _record(out: str | Path | None) -> Iterator[tuple[dict[Cell, Line], Callable[[Line], None]]]:
    """Yield what a folder has, and how to add a line to it; without a folder nothing is kept."""
    if out is None:
        yield {}, lambda line: None
        return
    path = Path(out) / FILE
    try:
        make_folder(out)
        file = path.open("a+b", buffering=0)
    except OSError as error:
        raise PlacementError(f"the sweep cannot be kept in {out}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PlacementError(f"another sweep is writing to {path}; wait for it, or choose another folder") from None
        yield _lines(path, file), lambda line: _append(file, line)


def _append(file: IO[bytes], line: Line) -> None:
    """Write a line whole and at once, so that a sweep that is killed leaves at most its last line torn."""
    text = json.dumps(line).encode() + b"\n"
    if file.write(text) < len(text):
        raise PlacementError(
            f"{file.name}: the last line could not be written whole; make room, and run the sweep again"
        )


def _lines(path: Path, file: IO[bytes]) -> dict[Cell, Line]:
    """Read the finished cells, and cut off a last line that a killed sweep left torn."""
    file.seek(0)
    text = file.read()
    whole = text.rfind(b"\n") + 1
    found = {}
    for number, line in enumerate(text[:whole].splitlines(), 1):
        try:
            values = json.loads(line)
            found[Cell.from_json(values["cell"])] = values
        except (ValueError, KeyError, TypeError):
            raise PlacementError(f"{path}:{number}: this is no line of a sweep; choose another folder") from None
    if whole < len(text):
        os.truncate(file.fileno(), whole)
    return found
