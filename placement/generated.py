"""Random placement problems, so that algorithms can be compared on inputs of any size.

The distributions: a task has 1 selector and 1 to 4 monitors (uniform), weight 1. A selector runs on a host
or on a switch (even odds), a monitor on a switch; each has 2 to 6 candidates (uniform), drawn among the
devices of its kind. A module on a host asks for 0.5 to 3 % CPU, one on a switch for 256 to 2048 entries in
steps of 64 (both uniform). All devices of a kind share `load` times what all tasks ask of that kind, in
shares that vary by a quarter around equal. `load` below 1 is a capacity that cannot hold all tasks, and 1.3
tests nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ..errors import PlacementError
from ..topologies.topology import Topology
from .problem import Device, Module, Problem, Task

DEFAULTS: dict[str, float] = {"tasks": 60, "load": 0.9, "seed": 1}
"""What `--generate` understands, and the values it starts from."""

MOST = {"tasks": 200_000, "load": 1e6, "seed": 2**63 - 1}
"""Largest values of `--generate`; a problem of 200,000 tasks is drawn in half a minute."""

MOST_INSTANCES = 100_000
"""Problems that one command draws at most."""

MONITORS = (1, 4)
CANDIDATES = (2, 6)
ENTRY_STEP = 64
ENTRY_STEPS = (4, 32)
CPU_PERCENT = (0.5, 3.0)
SHARE_SPREAD = 0.25


@dataclass(frozen=True, slots=True)
class Instance:
    """What a generated problem follows from, its topology as the text that names it."""

    topology: str
    tasks: int
    load: float
    seed: int

    def problem(self, topology: Topology) -> Problem:
        """Draw the problem over the topology."""
        return generate(
            topology.hosts,
            topology.switches,
            topology.latency_ms,
            tasks=self.tasks,
            load=self.load,
            seed=self.seed,
        )


def instances(topologies: Sequence[str], text: str, repeat: int = 1) -> list[Instance]:
    """Return all instances of `--generate` over topologies, `repeat` seeds in a row for each that the text names."""
    options = parse_options(text)
    problems = math.prod(map(len, (dict.fromkeys(topologies), *options.values()))) * repeat
    if problems > MOST_INSTANCES:
        raise PlacementError(
            f"--generate {text} --repeat {repeat}: that is {problems:,} problems; {MOST_INSTANCES:,} are allowed"
        )
    seeds = dict.fromkeys(int(seed) + k for seed in options["seed"] for k in range(repeat))
    sizes = product(dict.fromkeys(topologies), options["tasks"], options["load"], seeds)
    return [Instance(topology, int(tasks), load, seed) for topology, tasks, load, seed in sizes]


def parse_options(text: str) -> dict[str, list[float]]:
    """Read 'tasks=60:1000,load=0.9,seed=1' over `DEFAULTS`: values by name, several with a colon between.

    Raises PlacementError naming a wrong part.
    """
    options = {name: [value] for name, value in DEFAULTS.items()}
    for part in filter(None, text.split(",")):
        name, _, values = part.partition("=")
        if name not in DEFAULTS:
            raise PlacementError(f"--generate: unknown {name!r} in {text!r}; there are {', '.join(DEFAULTS)}")
        try:
            found = [float(value) if name == "load" else int(value) for value in values.split(":")]
        except ValueError:
            raise PlacementError(
                f"--generate: {name}={values!r} is not a number (as in tasks=60, load=0.8:1)"
            ) from None
        options[name] = list(dict.fromkeys(found))
    _refuse_wrong(options)
    return options


def _refuse_wrong(options: Mapping[str, Sequence[float]]) -> None:
    for name, good, wanted in (
        ("tasks", lambda value: value >= 1, "1 or more"),
        ("load", lambda value: 0 < value < np.inf, "above 0, and finite"),
        ("seed", lambda value: value >= 0, "0 or more"),
    ):
        for value in options[name]:
            if value > MOST[name]:
                raise PlacementError(f"--generate: {name}={value:,}: {name} must be at most {MOST[name]:,}")
            if not good(value):
                raise PlacementError(f"--generate: {name}={value:g}: {name} must be {wanted}")


def generate(
    hosts: Sequence[str],
    switches: Sequence[str],
    latency_ms: NDArray[np.float64],
    *,
    tasks: int = 60,
    load: float = 0.9,
    seed: int = 1,
    max_latency_ms: float = np.inf,
) -> Problem:
    """Draw a problem over hosts and switches.

    `latency_ms` is over hosts, then switches, shape (devices, devices). Same arguments, same problem.
    Raises PlacementError when there are no hosts or no switches.
    """
    if not hosts or not switches:
        raise PlacementError("a generated problem needs at least one host and one switch")
    rng = np.random.default_rng(seed)
    drawn = tuple(
        Task(f"t{i}", _modules(rng, hosts, switches), max_latency_ms=max_latency_ms) for i in range(int(tasks))
    )
    modules = [module for task in drawn for module in task.modules]
    memory = _shares(rng, load * sum(m.memory_entries for m in modules), len(switches), 0)
    cpu = _shares(rng, load * sum(m.cpu_percent for m in modules), len(hosts), 2)
    devices = [Device(host, 0.0, share) for host, share in zip(hosts, cpu, strict=True)]
    devices += [Device(switch, share, 0.0) for switch, share in zip(switches, memory, strict=True)]
    return Problem(tuple(devices), np.asarray(latency_ms, np.float64), drawn)


def _modules(rng: np.random.Generator, hosts: Sequence[str], switches: Sequence[str]) -> tuple[Module, ...]:
    monitors = int(rng.integers(MONITORS[0], MONITORS[1] + 1))
    on_host = bool(rng.random() < 0.5)
    selector = _module(rng, "selector", "selector", hosts if on_host else switches, on_host)
    return (selector, *(_module(rng, f"monitor{i + 1}", "monitor", switches, False) for i in range(monitors)))


def _module(rng: np.random.Generator, name: str, role: str, pool: Sequence[str], on_host: bool) -> Module:
    entries = 0 if on_host else int(rng.integers(ENTRY_STEPS[0], ENTRY_STEPS[1] + 1)) * ENTRY_STEP
    cpu = round(float(rng.uniform(*CPU_PERCENT)), 2) if on_host else 0.0
    wanted = min(int(rng.integers(CANDIDATES[0], CANDIDATES[1] + 1)), len(pool))
    chosen = sorted(rng.choice(len(pool), wanted, replace=False).tolist())
    return Module(name, role, float(entries), cpu, tuple(pool[i] for i in chosen))


def _shares(rng: np.random.Generator, total: float, parts: int, decimals: int) -> list[float]:
    """Split a total in shares that vary around equal, rounded down to the last decimal."""
    shares = rng.uniform(1 - SHARE_SPREAD, 1 + SHARE_SPREAD, parts)
    unit = 10.0**decimals
    return (np.floor(total * shares / shares.sum() * unit) / unit).tolist()
