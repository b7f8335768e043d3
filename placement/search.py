"""The state of one search for a placement: its limits, the best placement so far, and the bound on any.

An algorithm is a function of a Search: it offers placements as it finds them, tightens the bound where it
proves one, and ends when it is done or `left_s` is 0. Whatever stops it, the best so far is the answer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .choices import Choices, all_choices
from .problem import Problem

Configuration = tuple[int, ...]
"""Position of the device of each module of a task, in the order of the task's modules."""

Chosen = dict[int, Configuration]
"""Position of a task that runs -> where its modules run."""

Kept = Mapping[int, Mapping[int, int]]
"""Where the modules of tasks run now, by position: task -> module -> device, -1 for a device that is gone."""

EPSILON = 1e-6

STEPS = 30_000_000
"""Steps that a search makes at most where nobody says otherwise: a minute or so on problems that are not proved."""

INTERRUPTED, TIME, EFFORT = "interrupted", "time", "steps"
"""What can end a search before it has come to its end."""


@dataclass(frozen=True, slots=True)
class Score:
    """What makes a placement better, in this order: more value, fewer moves, less latency."""

    value: float
    moves: int
    latency_ms: float

    def beats(self, other: Score) -> bool:
        """Tell whether this is better by more than rounding."""
        if abs(self.value - other.value) > EPSILON:
            return self.value > other.value
        if self.moves != other.moves:
            return self.moves < other.moves
        return self.latency_ms < other.latency_ms - EPSILON


@dataclass
class Search:
    """One search.

    `kept` is the placement to stay close to; `move_price` is the weight that a move costs, and 0 makes few
    moves the second aim. There are two limits: a number of steps of work, which ends equal searches at the same point
    on every machine, and seconds, which do not. Seconds in which kernels are compiled or loaded (`loading_s`) do not
    count. `stopped_by` says which limit has cut the search short.
    """

    problem: Problem
    time_limit_s: float = math.inf
    seed: int = 1
    solver: str = "highs"
    kept: Kept = field(default_factory=dict)
    move_price: float = 0.0
    max_steps: float = math.inf
    loading_s: Callable[[], float] = lambda: 0.0
    steps: float = 0.0
    stopped_by: str | None = None
    chosen: Chosen = field(default_factory=dict)
    partial: dict[int, dict[int, int]] = field(default_factory=dict)
    bound: float = math.inf
    moves_proved: bool = False
    latency_proved: bool = False
    build_s: float = 0.0
    proved_s: float | None = None
    steps_a_second: float = 1e6
    """Steps of local search that a second is good for; measured, so that a time limit is kept on a busy machine too."""
    started_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.score = score(self, {})

    @cached_property
    def choices(self) -> list[Choices | None]:
        """The devices that the modules of each task can use; None for a task that cannot run."""
        return all_choices(self.problem)

    @cached_property
    def step(self) -> float:
        """What all values of placements are multiples of; 0 where there is no such number."""
        return 0.0 if self.move_price else weight_step([task.weight for task in self.problem.tasks])

    @property
    def offset(self) -> float:
        """What models count more than `value`: the price of moving every kept module."""
        return self.move_price * sum(len(before) for before in self.kept.values())

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start, without those in which code was loaded."""
        return time.monotonic() - self.started_s - self.loading_s()

    @property
    def interrupted(self) -> bool:
        """Whether the user has ended the search."""
        return self.stopped_by == INTERRUPTED

    @property
    def left_s(self) -> float:
        """Seconds that are left of the time limit; 0 once a limit is reached, or the user has interrupted."""
        if self.interrupted:
            return 0.0
        if self.steps >= self.max_steps:
            self.cut(EFFORT)
            return 0.0
        left = self.time_limit_s - self.elapsed_s
        if left <= 0:
            self.cut(TIME)
        return max(0.0, left)

    @property
    def left_steps(self) -> float:
        """Steps that are left."""
        return max(0.0, self.max_steps - self.steps)

    def cut(self, by: str) -> None:
        """Note that a limit, or the user, has cut the search short; a limit of time outweighs one of steps."""
        if not self.interrupted and (by != EFFORT or self.stopped_by is None):
            self.stopped_by = by

    def allowed(self, wanted: int, a_second: float, least: int = 0) -> int:
        """Return how many of the wanted steps of local search the limits allow, at this speed; they count as made.

        `least` are allowed whatever is left.
        """
        by_time = a_second * max(0.0, self.time_limit_s - self.elapsed_s)
        granted = int(min(wanted, max(least, min(by_time, self.left_steps))))
        if granted < wanted:
            self.cut(TIME if by_time < self.left_steps else EFFORT)
        self.steps += granted
        return granted

    @property
    def done(self) -> bool:
        """Whether the best so far is proved to have the most value."""
        return self.score.value >= self.bound - EPSILON

    def offer(self, chosen: Chosen) -> bool:
        """Take a feasible placement if it beats the best so far."""
        found = score(self, chosen)
        if self.chosen and not found.beats(self.score):
            return False
        self.chosen, self.score = dict(chosen), found
        self._note_proof()
        return True

    def tighten(self, bound: float) -> None:
        """Take a proved upper bound on the value, rounded down to a value that weights can add up to."""
        if self.step and math.isfinite(bound):
            bound = math.floor(bound / self.step + EPSILON) * self.step
        self.bound = min(self.bound, bound)
        self._note_proof()

    def below(self, value: float) -> float:
        """Return the most that placements of less than this value can have."""
        return (math.ceil(value / self.step - EPSILON) - 1) * self.step if self.step else value

    def _note_proof(self) -> None:
        if self.done and self.proved_s is None:
            self.proved_s = self.elapsed_s


def weight_step(weights: Sequence[float]) -> float:
    """Return what all sums of these weights are multiples of, in whole thousandths; 0 where there is none."""
    scaled = np.asarray(weights) * 1000
    if not len(scaled) or np.abs(scaled - np.rint(scaled)).max() > EPSILON:
        return 0.0
    return int(np.gcd.reduce(np.rint(scaled).astype(np.int64))) / 1000


def score(search: Search, chosen: Chosen) -> Score:
    """Return the score of a placement: weight less price of moves, moves, total pair latency in ms."""
    tasks = search.problem.tasks
    weight = math.fsum(tasks[t].weight for t in chosen)
    moved = len(moves(search.kept, chosen))
    latency = math.fsum(configuration_latency_ms(search.problem, t, c) for t, c in chosen.items())
    return Score(weight - search.move_price * moved, moved, latency)


def configuration_latency_ms(problem: Problem, task: int, configuration: Configuration) -> float:
    """Return the summed latency of a task's selector-monitor pairs when its modules run on these devices."""
    modules = problem.tasks[task].modules
    sources = [d for m, d in zip(modules, configuration, strict=True) if m.role == "selector"]
    targets = [d for m, d in zip(modules, configuration, strict=True) if m.role == "monitor"]
    return math.fsum(problem.latency_ms[s, t] for s in sources for t in targets)


def moves(kept: Kept, chosen: Chosen) -> list[tuple[int, int, int, int | None]]:
    """List (task, module, device before, device now or None) of kept modules that run there no more."""
    found: list[tuple[int, int, int, int | None]] = []
    for task, before in kept.items():
        now = chosen.get(task)
        for module, device in before.items():
            if now is None or now[module] != device:
                found.append((task, module, device, None if now is None else now[module]))
    return found
