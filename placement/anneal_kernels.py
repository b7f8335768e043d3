"""Kernels of simulated annealing over placements, where devices may be over their capacity at a price.

Places are choices, as in `layout.py`: places[m] is the choice of module m, -1 where its task does not run.
"""

from __future__ import annotations

import numpy as np

from ..kernels import kernel
from .pack_kernels import _below, _near, _next, _wins


@kernel
def _unit(draw):
    return (draw >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@kernel
def _rise(load, capacity, penalty, d, more0, more1):
    """Return the change of a device's penalty when its loads change by so much."""
    change = 0.0
    for r in range(2):
        more = more0 if r == 0 else more1
        before = load[r, d] - capacity[r, d]
        change += (max(before + more, 0.0) - max(before, 0.0)) * penalty[r, d]
    return change


@kernel
def _put(m, c, sign, ask, device, load):
    d = device[c]
    load[0, d] += sign * ask[m, 0]
    load[1, d] += sign * ask[m, 1]


@kernel
def _remove(first, last, ask, device, places, load, capacity, penalty, cost, saved):
    """Take a task's modules away and save where they were; return the change of penalty, and of cost."""
    rise, own = 0.0, 0.0
    for m in range(first, last):
        c = places[m]
        saved[m - first] = c
        own -= cost[c]
        rise += _rise(load, capacity, penalty, device[c], -ask[m, 0], -ask[m, 1])
        _put(m, c, -1.0, ask, device, load)
        places[m] = -1
    return rise, own


@kernel
def _insert(
    first, last, selects, ask, choice_start, device, latency_ms, bound_ms, places, load, capacity, penalty,
    cost, draw,
):  # fmt: skip
    """Put in a task, selectors first, each module where it costs least; return the changes and the next draw.

    The changes are that of the penalty, and that of cost. Ties fall at random. Where a module has no device
    within the bound, the task is left without modules, and the change is infinite.
    """
    rise, own = 0.0, 0.0
    for turn in range(2 * (last - first)):
        m = first + turn % (last - first)
        if selects[m] != (turn < last - first):
            continue
        low, at, ties, low_own = np.inf, -1, 1, 0.0
        for c in range(choice_start[m], choice_start[m + 1]):
            d = device[c]
            if not _near(m, d, first, last, selects, places, device, latency_ms, bound_ms):
                continue
            value = _rise(load, capacity, penalty, d, ask[m, 0], ask[m, 1]) + cost[c]
            wins, ties, draw = _wins(value, low, ties, draw)
            if wins:
                low, at, low_own = value, c, cost[c]
        if at < 0:
            for other in range(first, last):
                if places[other] >= 0:
                    _put(other, places[other], -1.0, ask, device, load)
                    places[other] = -1
            return np.inf, 0.0, draw
        rise += low - low_own
        own += low_own
        places[m] = at
        _put(m, at, 1.0, ask, device, load)
    return rise, own, draw


@kernel
def _move(
    m, first, last, selects, ask, choice_start, device, latency_ms, bound_ms, places, load, capacity, penalty,
    cost, heat, draw,
):  # fmt: skip
    """Try another device for a module; return what the score gains by it, and the next draw."""
    low, high = choice_start[m], choice_start[m + 1]
    draw = _next(draw)
    c, old = low + _below(draw, high - low), places[m]
    if c == old:
        return 0.0, draw
    d, before = device[c], device[old]
    if not _near(m, d, first, last, selects, places, device, latency_ms, bound_ms):
        return 0.0, draw
    gain = cost[old] - cost[c]
    rise = _rise(load, capacity, penalty, d, ask[m, 0], ask[m, 1]) - gain
    rise += _rise(load, capacity, penalty, before, -ask[m, 0], -ask[m, 1])
    draw = _next(draw)
    if rise > 0 and _unit(draw) >= np.exp(-rise / heat):
        return 0.0, draw
    _put(m, old, -1.0, ask, device, load)
    _put(m, c, 1.0, ask, device, load)
    places[m] = c
    return gain, draw


@kernel
def _swap(list_a, at, size):
    """Take an element out of a list: the last one takes its place; return that one."""
    list_a[at] = list_a[size - 1]
    return list_a[at]


@kernel
def anneal(
    runs, weight, bound_ms, module_start, selects, ask, choice_start, device, latency_ms, capacity, penalty,
    cost, places, score, best, steps, levels, hot, cold, stiff, target, seed,
):  # fmt: skip
    """Anneal a placement of a given score in place; copy the best feasible one to `best`, return its score.

    The score is the weight of the tasks that run, less `cost` of their choices. `penalty`, (2, devices), is what
    a unit over the capacity costs at first; it grows `stiff` times to the last of the `levels`, while the temperature
    falls from `hot` to `cold`. It ends when `target` is reached.

    A step is one of: 1. another device for a module; 2. a task more; 3. a task less; 4. one task for another.
    """
    tasks, modules = len(runs), len(selects)
    load = np.zeros(capacity.shape)
    task_of = np.empty(modules, np.int64)
    on, off = np.empty(tasks, np.int64), np.empty(tasks, np.int64)
    slot = np.empty(tasks, np.int64)
    n_on, n_off = 0, 0
    for t in range(tasks):
        task_of[module_start[t] : module_start[t + 1]] = t
        if runs[t] and places[module_start[t]] >= 0:
            slot[t], on[n_on] = n_on, t
            n_on += 1
            for m in range(module_start[t], module_start[t + 1]):
                _put(m, places[m], 1.0, ask, device, load)
        elif runs[t]:
            slot[t], off[n_off] = n_off, t
            n_off += 1
    saved = np.empty(modules, np.int64)
    now = penalty.copy()
    best_score = -np.inf
    draw = np.uint64(seed) * np.uint64(2654435769) + np.uint64(88172645463325252)
    for level in range(levels):
        part = level / max(1, levels - 1)
        heat = hot * (cold / hot) ** part
        now[:] = penalty * stiff**part
        for _ in range(steps):
            draw = _next(draw)
            kind = _below(draw, 100)
            draw = _next(draw)
            gain = 0.0
            if kind < 80:  # 1.
                m = _below(draw, modules)
                if places[m] < 0:
                    continue
                t = task_of[m]
                gain, draw = _move(
                    m, module_start[t], module_start[t + 1], selects, ask, choice_start, device, latency_ms,
                    bound_ms[t], places, load, capacity, now, cost, heat, draw,
                )  # fmt: skip
                score += gain
            else:
                leaves = kind < 85 or kind >= 90
                enters = kind >= 85
                if (leaves and n_on == 0) or (enters and n_off == 0):
                    continue
                out, into, rise = -1, -1, 0.0
                if leaves:  # 3., 4.
                    out = on[_below(draw, n_on)]
                    change, own = _remove(
                        module_start[out], module_start[out + 1], ask, device, places, load, capacity, now, cost, saved
                    )
                    gain -= weight[out] + own
                    rise += change
                draw = _next(draw)
                if enters:  # 2., 4.
                    into = off[_below(draw, n_off)]
                    change, own, draw = _insert(
                        module_start[into], module_start[into + 1], selects, ask, choice_start, device,
                        latency_ms, bound_ms[into], places, load, capacity, now, cost, draw,
                    )  # fmt: skip
                    gain += weight[into] - own
                    rise += change
                draw = _next(draw)
                if rise == np.inf or (rise > gain and _unit(draw) >= np.exp((gain - rise) / heat)):
                    if into >= 0 and rise < np.inf:
                        for m in range(module_start[into], module_start[into + 1]):
                            _put(m, places[m], -1.0, ask, device, load)
                            places[m] = -1
                    if out >= 0:
                        for m in range(module_start[out], module_start[out + 1]):
                            places[m] = saved[m - module_start[out]]
                            _put(m, places[m], 1.0, ask, device, load)
                    continue
                if out >= 0:
                    slot[_swap(on, slot[out], n_on)] = slot[out]
                    n_on -= 1
                if into >= 0:
                    slot[_swap(off, slot[into], n_off)] = slot[into]
                    slot[into], on[n_on] = n_on, into
                    n_off -= 1
                    n_on += 1
                if out >= 0:
                    slot[out], off[n_off] = n_off, out
                    n_off += 1
                score += gain
            if gain > 0 and score > best_score + 1e-9 and _fits(load, capacity):
                best_score = score
                best[:] = places
                if best_score >= target:
                    return best_score
        if score > best_score + 1e-9 and _fits(load, capacity):
            best_score = score
            best[:] = places
    return best_score


@kernel
def _fits(load, capacity):
    for r in range(2):
        for d in range(load.shape[1]):
            if load[r, d] > capacity[r, d] + 1e-7:
                return False
    return True
