"""Kernels that lower the latency of a placement, and keep it within every capacity at every step."""

from __future__ import annotations

import numpy as np

from ..kernels import kernel
from .pack_kernels import _below, _choice_on, _enter, _leave, _next, _refused, _wins

SLACK = 1e-9


@kernel
def _apart_ms(m, d, first, last, selects, places, device, latency_ms, bound_ms):
    """Return the latency of a module on a device to its placed partners; infinite where one is too far."""
    total = 0.0
    for other in range(first, last):
        if places[other] >= 0 and selects[other] != selects[m]:
            e = device[places[other]]
            apart = latency_ms[d, e] if selects[m] else latency_ms[e, d]
            if apart > bound_ms:
                return np.inf
            total += apart
    return total


@kernel
def _holds(d, more0, more1, load, capacity):
    return load[0, d] + more0 <= capacity[0, d] + SLACK and load[1, d] + more1 <= capacity[1, d] + SLACK


@kernel
def _take_out(first, last, selects, ask, device, stay_ms, latency_ms, places, load, there, base, size, slot, saved):
    """Take a task away and save its places; return its latency, less what its places are worth."""
    total = 0.0
    for m in range(first, last):
        total += _apart_ms(m, device[places[m]], first, last, selects, places, device, latency_ms, np.inf)
        total -= stay_ms[places[m]]
        saved[m - first] = places[m]
        _leave(m, places, device, ask, load, there, base, size, slot)
    return total


@kernel
def _put_in(
    first, last, selects, ask, choice_start, device, stay_ms, latency_ms, bound_ms, places, load, capacity, there, base,
    size, slot, draw,
):  # fmt: skip
    """Put a task in, selectors at random and monitors near them; return latency less worth, and the next draw.

    The latency is infinite where there is no room.
    """
    total = 0.0
    for turn in range(2 * (last - first)):
        m = first + turn % (last - first)
        if selects[m] != (turn < last - first):
            continue
        low, at, ties, cost = np.inf, -1, 1, 0.0
        for c in range(choice_start[m], choice_start[m + 1]):
            apart = _apart_ms(m, device[c], first, last, selects, places, device, latency_ms, bound_ms)
            if apart == np.inf or not _holds(device[c], ask[m, 0], ask[m, 1], load, capacity):
                continue
            value = apart - stay_ms[c]
            compared = 0.0 if selects[m] else value
            wins, ties, draw = _wins(compared, low, ties, draw)
            if wins:
                low, at, cost = compared, c, value
        if at < 0:
            return np.inf, draw
        total += cost
        _enter(m, at, places, device, ask, load, there, base, size, slot)
    return total, draw


@kernel
def lower(
    weight, bound_ms, module_start, selects, ask, choice_start, device, stay_ms, latency_ms, capacity, running, idle,
    places, steps, exchange, hot, cold, seed,
):  # fmt: skip
    """Anneal a placement that fits to one of less latency, in place; return by how many ms.

    `stay_ms`, (choices,), is what a choice is worth in itself, as ms of latency.

    Changes `places`, `running` and `idle` (positions of tasks); every step keeps capacities and bounds, and the weight
    that runs does not fall. `hot` and `cold` are the first and last temperature in ms. A step is 1. in `exchange` of
    100 a task anew, or one of no less weight that does not run for it; else 2. another device for a module, or 3.
    where it has no room there, in exchange with a module that is there.
    """
    load, size = np.zeros(capacity.shape), np.zeros(capacity.shape[1], np.int64)
    base = np.zeros(capacity.shape[1] + 1, np.int64)
    for c in range(len(device)):
        base[device[c] + 1] += 1
    base = np.cumsum(base)
    there, slot = np.empty(len(device), np.int64), np.empty(len(selects), np.int64)
    task_of, saved = np.empty(len(selects), np.int64), np.empty(len(selects), np.int64)
    for t in range(len(bound_ms)):
        task_of[module_start[t] : module_start[t + 1]] = t
    for m in range(len(selects)):
        if places[m] >= 0:
            _enter(m, places[m], places, device, ask, load, there, base, size, slot)
    draw = np.uint64(seed) * np.uint64(2654435769) + np.uint64(88172645463325252)
    gained = 0.0
    for step in range(steps):
        heat = hot * (cold / hot) ** (step / steps)
        draw = _next(draw)
        if _below(draw, 100) < exchange:  # 1.
            draw = _next(draw)
            k = _below(draw, len(running))
            t = running[k]
            draw = _next(draw)
            chosen = _below(draw, 2 * len(idle)) if len(idle) > 0 else 0
            into = idle[chosen] if chosen < len(idle) else t
            if weight[into] < weight[t]:
                continue
            first, last = module_start[t], module_start[t + 1]
            before = _take_out(
                first, last, selects, ask, device, stay_ms, latency_ms, places, load, there, base, size, slot, saved
            )
            after, draw = _put_in(
                module_start[into], module_start[into + 1], selects, ask, choice_start, device, stay_ms,
                latency_ms, bound_ms[into], places, load, capacity, there, base, size, slot, draw,
            )  # fmt: skip
            draw = _next(draw)
            if _refused(after - before, heat, draw):
                for n in range(module_start[into], module_start[into + 1]):
                    if places[n] >= 0:
                        _leave(n, places, device, ask, load, there, base, size, slot)
                for n in range(first, last):
                    _enter(n, saved[n - first], places, device, ask, load, there, base, size, slot)
                continue
            gained += before - after
            if into != t:
                idle[chosen], running[k] = t, into
            continue
        draw = _next(draw)
        m = _below(draw, len(selects))
        low, high = choice_start[m], choice_start[m + 1]
        if places[m] < 0 or high - low < 2:
            continue
        draw = _next(draw)
        c, old, t = low + _below(draw, high - low), places[m], task_of[m]
        d, e = device[old], device[c]
        if d == e:
            continue
        first, last = module_start[t], module_start[t + 1]
        rise = _apart_ms(m, e, first, last, selects, places, device, latency_ms, bound_ms[t])
        if rise == np.inf:
            continue
        rise -= _apart_ms(m, d, first, last, selects, places, device, latency_ms, np.inf)
        rise += stay_ms[old] - stay_ms[c]
        other, back = -1, -1
        if not _holds(e, ask[m, 0], ask[m, 1], load, capacity):  # 3.
            if size[e] == 0:
                continue
            draw = _next(draw)
            other = there[base[e] + _below(draw, size[e])]
            back, u = _choice_on(other, d, choice_start, device), task_of[other]
            more0, more1 = ask[m, 0] - ask[other, 0], ask[m, 1] - ask[other, 1]
            if u == t or back < 0 or not _holds(e, more0, more1, load, capacity):
                continue
            if not _holds(d, -more0, -more1, load, capacity):
                continue
            first, last = module_start[u], module_start[u + 1]
            rise += _apart_ms(other, d, first, last, selects, places, device, latency_ms, bound_ms[u])
            rise -= _apart_ms(other, e, first, last, selects, places, device, latency_ms, np.inf)
            rise += stay_ms[places[other]] - stay_ms[back]
        draw = _next(draw)
        if _refused(rise, heat, draw):
            continue
        gained -= rise
        _leave(m, places, device, ask, load, there, base, size, slot)
        if other >= 0:
            _leave(other, places, device, ask, load, there, base, size, slot)
            _enter(other, back, places, device, ask, load, there, base, size, slot)
        _enter(m, c, places, device, ask, load, there, base, size, slot)  # 2.
    return gained
