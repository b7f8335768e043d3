"""What ends a search: a number of steps, alike everywhere, or seconds, of which loading code takes none."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

import mozart.placement.greedy
import mozart.placement.search
import numpy as np
import pytest
from mozart.kernels import kernel, load_time
from mozart.placement.algorithms import place
from mozart.placement.generated import Instance
from mozart.placement.problem import Problem
from mozart.placement.search import STEPS, Search
from mozart.topologies.catalogue import load


def on_b4(tasks: int, seed: int = 1) -> Problem:
    return Instance("b4", tasks, 0.9, seed).problem(load("b4"))


def fresh_kernel() -> Any:
    """Return a kernel that no cache has."""
    return kernel(lambda values, more: (np.sort(values)[::-1] * more).sum())


def test_loading_a_kernel_is_measured_in_the_thread_that_does_it() -> None:
    with load_time() as loading_s:
        assert loading_s() == 0
        other = threading.Thread(target=fresh_kernel(), args=(np.arange(3.0), 2))
        other.start()
        other.join()
        assert loading_s() == 0
        begun_s = time.monotonic()
        fresh_kernel()(np.arange(3.0), 2)
        assert 0 < loading_s() <= time.monotonic() - begun_s


def test_a_kernel_that_compiles_takes_nothing_of_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock in which compiling takes an hour, a search of one second goes on."""
    clock = itertools.count()
    left: list[tuple[float, float]] = []

    def compiles(search: Search) -> None:
        before = search.left_s
        with monkeypatch.context() as patched:
            patched.setattr("mozart.kernels.time.monotonic", lambda: real() + 3600.0 * next(clock))
            fresh_kernel()(np.arange(3.0), 2)
        hours = next(clock)
        monkeypatch.setattr(mozart.placement.search.time, "monotonic", lambda: real() + 3600.0 * (hours - 1))
        left.append((before, search.left_s))

    real = time.monotonic
    monkeypatch.setattr(mozart.placement.greedy, "greedy", compiles)
    place(on_b4(3), "greedy", time_limit_s=600.0)
    ((before, after),) = left
    assert before > 0 and after > 0


def test_steps_end_a_search_at_the_same_point_however_slow_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = on_b4(60)
    quick = place(problem, max_steps=600_000)
    clock = itertools.count(step=1000)
    monkeypatch.setattr(mozart.placement.search.time, "monotonic", lambda: float(next(clock)))
    slow = place(problem, max_steps=600_000)
    assert quick.stopped_by == slow.stopped_by == "steps"
    assert (quick.tasks, quick.value, quick.bound) == (slow.tasks, slow.value, slow.bound)


@pytest.mark.parametrize(
    ("limits", "stopped_by", "proved"),
    [
        ({"time_limit_s": 1e-6}, "time", False),
        ({"max_steps": 1}, "steps", False),
        ({"max_steps": STEPS}, None, True),
        ({}, None, True),
    ],
)
def test_what_a_limit_decided_is_not_proved(limits: dict[str, Any], stopped_by: str | None, proved: bool) -> None:
    found = place(on_b4(60, 2), **limits)
    assert (found.stopped_by, found.proved) == (stopped_by, proved)


def test_a_value_that_is_proved_before_time_ends_the_latency_is_not_called_proved() -> None:
    """The place of each module is then what time made of it."""
    problem = on_b4(60, 2)
    value = place(problem, "tasks-only")
    search = Search(problem, time_limit_s=0.0)
    search.offer({})
    assert value.proved
    assert search.allowed(1000, 1e6, 100) == 100
    assert search.stopped_by == "time"
