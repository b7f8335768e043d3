"""Kernels that fit given tasks into devices: local search that only touches devices with too much on them.

Places are choices, as in `layout.py`: places[m] is the choice of module m, -1 where it has none.
"""

from __future__ import annotations

import numpy as np

from ..kernels import inline_kernel, kernel


@inline_kernel
def _next(draw):
    draw ^= draw << np.uint64(13)
    draw ^= draw >> np.uint64(7)
    return draw ^ (draw << np.uint64(17))


@inline_kernel
def _below(draw, size):
    return np.int64((draw >> np.uint64(33)) % np.uint64(size))


@inline_kernel
def _wins(value, low, ties, draw):
    """Tell whether a value is the lowest so far, lots among equal ones; also how many are equal, and the next draw."""
    ties = ties + 1 if value == low else 1
    draw = _next(draw)
    return value < low or (value == low and _below(draw, ties) == 0), ties, draw


@inline_kernel
def _refused(rise, heat, draw):
    return rise > 0 and (draw >> np.uint64(11)) * (1.0 / 9007199254740992.0) >= np.exp(-rise / heat)


@kernel
def _over(d, more0, more1, load, capacity, penalty):
    return (
        max(load[0, d] + more0 - capacity[0, d], 0.0) * penalty[0, d]
        + max(load[1, d] + more1 - capacity[1, d], 0.0) * penalty[1, d]
    )


@kernel
def _rise(d, more0, more1, load, capacity, unit, penalty):
    """Return how a device's cost changes when its loads do: what they are worth, and what is too much."""
    rise = _over(d, more0, more1, load, capacity, penalty) - _over(d, 0.0, 0.0, load, capacity, penalty)
    return rise + more0 * unit[0, d] + more1 * unit[1, d]


@kernel
def _near(m, d, first, last, selects, places, device, latency_ms, bound_ms):
    """Tell whether a module on a device is within the bound of all its partners that have a place."""
    for other in range(first, last):
        if selects[other] != selects[m] and places[other] >= 0:
            e = device[places[other]]
            if (latency_ms[d, e] if selects[m] else latency_ms[e, d]) > bound_ms:
                return False
    return True


@kernel
def _choice_on(m, d, choice_start, device):
    for c in range(choice_start[m], choice_start[m + 1]):
        if device[c] == d:
            return c
    return -1


@kernel
def _enter(m, c, places, device, ask, load, there, base, size, slot):
    """Put a module on the device of a choice, and into the list of what is there."""
    d = device[c]
    places[m] = c
    load[0, d] += ask[m, 0]
    load[1, d] += ask[m, 1]
    there[base[d] + size[d]] = m
    slot[m] = size[d]
    size[d] += 1


@kernel
def _leave(m, places, device, ask, load, there, base, size, slot):
    d = device[places[m]]
    places[m] = -1
    load[0, d] -= ask[m, 0]
    load[1, d] -= ask[m, 1]
    last = there[base[d] + size[d] - 1]
    there[base[d] + slot[m]] = last
    slot[last] = slot[m]
    size[d] -= 1


@kernel
def _insert(
    first, last, anywhere, selects, ask, choice_start, device, stay, latency_ms, bound_ms, places, load, capacity,
    unit, penalty, there, base, size, slot, draw,
):  # fmt: skip
    """Give every module of a task that has no place the cheapest one, selectors first; return cost and next draw.

    With `anywhere` selectors fall at random. The cost is infinite where a module has no device within the bound.
    """
    total = 0.0
    for turn in range(2 * (last - first)):
        m = first + turn % (last - first)
        if selects[m] != (turn < last - first) or places[m] >= 0:
            continue
        low, at, ties, cost = np.inf, -1, 1, 0.0
        for c in range(choice_start[m], choice_start[m + 1]):
            d = device[c]
            if not _near(m, d, first, last, selects, places, device, latency_ms, bound_ms):
                continue
            value = _rise(d, ask[m, 0], ask[m, 1], load, capacity, unit, penalty) - stay[c]
            compared = 0.0 if anywhere and selects[m] else value
            wins, ties, draw = _wins(compared, low, ties, draw)
            if wins:
                low, at, cost = compared, c, value
        if at < 0:
            return np.inf, draw
        total += cost
        _enter(m, at, places, device, ask, load, there, base, size, slot)
    return total, draw


@kernel
def _remove(
    first, last, selects, ask, device, stay, places, load, capacity, unit, penalty, there, base, size, slot, saved
):
    """Take the places of a task away and save them; return the cost of that."""
    rise = 0.0
    for m in range(first, last):
        c = places[m]
        saved[m - first] = c
        if c >= 0:
            rise += _rise(device[c], -ask[m, 0], -ask[m, 1], load, capacity, unit, penalty) + stay[c]
            _leave(m, places, device, ask, load, there, base, size, slot)
    return rise


@kernel
def _better_place(
    m, tries, task_of, module_start, selects, ask, choice_start, device, stay, latency_ms, bound_ms, places, load,
    capacity, unit, penalty, there, base, size, draw,
):  # fmt: skip
    """Return the cheapest other choice of a module, the module to exchange it with (-1: none) and that one's choice.

    For every device the module may move to, alone or against one of `tries` random modules that are there.
    """
    t, d = task_of[m], device[places[m]]
    first, last = module_start[t], module_start[t + 1]
    low, at, other, other_at, ties = np.inf, -1, -1, -1, 1
    away = _rise(d, -ask[m, 0], -ask[m, 1], load, capacity, unit, penalty) + stay[places[m]]
    for c in range(choice_start[m], choice_start[m + 1]):
        e = device[c]
        if e == d or not _near(m, e, first, last, selects, places, device, latency_ms, bound_ms[t]):
            continue
        for k in range(tries + 1 if size[e] > 0 else 1):
            n, back = -1, -1
            if k == 0:
                value = away + _rise(e, ask[m, 0], ask[m, 1], load, capacity, unit, penalty) - stay[c]
            else:
                draw = _next(draw)
                n = there[base[e] + _below(draw, size[e])]
                back = _choice_on(n, d, choice_start, device)
                u = task_of[n]
                if u == t or back < 0:
                    continue
                first_n, last_n = module_start[u], module_start[u + 1]
                if not _near(n, d, first_n, last_n, selects, places, device, latency_ms, bound_ms[u]):
                    continue
                more0, more1 = ask[m, 0] - ask[n, 0], ask[m, 1] - ask[n, 1]
                value = _rise(d, -more0, -more1, load, capacity, unit, penalty)
                value += _rise(e, more0, more1, load, capacity, unit, penalty)
                value += stay[places[m]] - stay[c] + stay[places[n]] - stay[back]
            wins, ties, draw = _wins(value, low, ties, draw)
            if wins:
                low, at, other, other_at = value, c, n, back
    return low, at, other, other_at, draw


@kernel
def pack(
    weight, bound_ms, module_start, selects, ask, choice_start, device, stay, latency_ms, capacity, unit, penalty,
    running, idle, places, steps, tries, exchange, hot, cold, seed,
):  # fmt: skip
    """Give every module of the `running` tasks a place, so that no device has too much; return what is too much.

    Changes `places` and, where tasks are exchanged, `running` and `idle` (positions of tasks). A unit of load is
    worth `unit`, one over the capacity costs `penalty` more; both (2, devices). `stay`, (choices,), is what a choice
    is worth in itself. Returns the cost of the overload, 0 where all fits, infinite where a task found no devices.

    1. What has no place takes the cheapest. 2. While a device has too much: for a random module there, 3. in
    `exchange` of 100 steps the task of an equal or larger weight that does not run for its task, or 4. in 10 (where
    latency is bounded) its task anew, else 5. the best other place, alone or against a module that is there.
    A step that costs is taken as in annealing, from `hot` to `cold`.
    """
    devices = capacity.shape[1]
    load, size = np.zeros(capacity.shape), np.zeros(devices, np.int64)
    base = np.zeros(devices + 1, np.int64)
    for c in range(len(device)):
        base[device[c] + 1] += 1
    base = np.cumsum(base)
    there, slot = np.empty(len(device), np.int64), np.empty(len(selects), np.int64)
    task_of = np.empty(len(selects), np.int64)
    for t in range(len(bound_ms)):
        task_of[module_start[t] : module_start[t + 1]] = t
    saved = np.empty(len(selects), np.int64)
    draw = np.uint64(seed) * np.uint64(2654435769) + np.uint64(88172645463325252)
    for t in running:
        for m in range(module_start[t], module_start[t + 1]):
            if places[m] >= 0:
                _enter(m, places[m], places, device, ask, load, there, base, size, slot)
    for t in running:  # 1.
        first, last = module_start[t], module_start[t + 1]
        for whole in range(2):
            if whole:
                _remove(
                    first, last, selects, ask, device, stay, places, load, capacity, unit, penalty, there, base,
                    size, slot, saved,
                )  # fmt: skip
            cost, draw = _insert(
                first, last, False, selects, ask, choice_start, device, stay, latency_ms, bound_ms[t], places, load,
                capacity, unit, penalty, there, base, size, slot, draw,
            )  # fmt: skip
            if cost < np.inf:
                break
        if cost == np.inf:
            return np.inf
    for step in range(steps):  # 2.
        heat = hot * (cold / hot) ** (step / steps)
        draw = _next(draw)
        d, r, looked = _below(draw, devices), -1, 0
        while looked < devices and r < 0:
            if load[0, d] > capacity[0, d] + 1e-7:
                r = 0
            elif load[1, d] > capacity[1, d] + 1e-7:
                r = 1
            else:
                d = (d + 1) % devices
            looked += 1
        if r < 0:
            return 0.0
        m = -1
        for _ in range(20):
            draw = _next(draw)
            m = there[base[d] + _below(draw, size[d])]
            if ask[m, r] > 0:
                break
        t = task_of[m]
        draw = _next(draw)
        kind = _below(draw, 100)
        if (kind < exchange and len(idle) > 0) or (kind >= 90 and bound_ms[t] < np.inf):  # 3., 4.
            into, chosen = t, -1
            if kind < exchange:
                draw = _next(draw)
                chosen = _below(draw, len(idle))
                into = idle[chosen]
                if weight[into] < weight[t]:
                    continue
            rise = _remove(
                module_start[t], module_start[t + 1], selects, ask, device, stay, places, load, capacity, unit,
                penalty, there, base, size, slot, saved,
            )  # fmt: skip
            draw = _next(draw)
            more, draw = _insert(
                module_start[into], module_start[into + 1], _below(draw, 2) == 0, selects, ask, choice_start, device,
                stay, latency_ms, bound_ms[into], places, load, capacity, unit, penalty, there, base, size, slot, draw,
            )  # fmt: skip
            draw = _next(draw)
            if _refused(rise + more, heat, draw):
                for n in range(module_start[into], module_start[into + 1]):
                    if places[n] >= 0:
                        _leave(n, places, device, ask, load, there, base, size, slot)
                for n in range(module_start[t], module_start[t + 1]):
                    _enter(n, saved[n - module_start[t]], places, device, ask, load, there, base, size, slot)
            elif chosen >= 0:
                idle[chosen] = t
                for k in range(len(running)):
                    if running[k] == t:
                        running[k] = into
            continue
        low, at, other, other_at, draw = _better_place(
            m, tries, task_of, module_start, selects, ask, choice_start, device, stay, latency_ms, bound_ms, places,
            load, capacity, unit, penalty, there, base, size, draw,
        )  # fmt: skip
        draw = _next(draw)
        if at < 0 or _refused(low, heat, draw):
            continue
        _leave(m, places, device, ask, load, there, base, size, slot)  # 5.
        if other >= 0:
            _leave(other, places, device, ask, load, there, base, size, slot)
            _enter(other, other_at, places, device, ask, load, there, base, size, slot)
        _enter(m, at, places, device, ask, load, there, base, size, slot)
    total = 0.0
    for d in range(devices):
        total += _over(d, -1e-7, -1e-7, load, capacity, penalty)
    return total
