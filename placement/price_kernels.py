"""Kernels that price tasks: what the cheapest way to run each costs when memory and CPU have prices."""

from __future__ import annotations

import numpy as np

from ..kernels import kernel
from .pack_kernels import _next


@kernel
def price_tasks(
    runs,
    bound_ms,
    module_start,
    selects,
    ask,
    choice_start,
    device,
    latency_ms,
    prices,
    bonus,
    cheapest,
    best,
    pick,
):
    """Fill the cost of each task's cheapest configuration, and of the cheapest one with each choice.

    prices: (2, devices) of a unit of each resource; bonus: (choices,) that is taken off a choice's cost.
    cheapest: (tasks,) out, infinite for a task that cannot run; best: (choices,) out; pick: (modules,) out, a
    cheapest configuration, drawn among those that cost the same.

    1. For every combination of devices of the selectors: 2. each monitor takes its cheapest device that is
    within the bound of all of them; 3. the sum is a configuration's cost, and the least cost of one with a
    monitor's other device differs by the difference of the two.
    """
    most = 0
    for t in range(len(runs)):
        most = max(most, module_start[t + 1] - module_start[t])
    at, source = np.zeros(most, np.int32), np.zeros(most, np.int32)
    least = np.zeros(most)
    where = np.zeros(most, np.int32)
    draw = np.uint64(88172645463325252)
    pick[:] = -1
    best[:] = np.inf
    cheapest[:] = np.inf
    cost = np.empty(len(device))
    for m in range(len(selects)):
        for c in range(choice_start[m], choice_start[m + 1]):
            d = device[c]
            cost[c] = ask[m, 0] * prices[0, d] + ask[m, 1] * prices[1, d] - bonus[c]
    for t in range(len(runs)):
        if not runs[t]:
            continue
        first, last = module_start[t], module_start[t + 1]
        for m in range(first, last):
            at[m - first] = choice_start[m]
        more, tied = True, np.uint64(1)
        while more:  # 1.
            total, sources = 0.0, 0
            for m in range(first, last):
                if selects[m]:
                    total += cost[at[m - first]]
                    source[sources] = device[at[m - first]]
                    sources += 1
            for m in range(first, last):  # 2.
                if selects[m]:
                    continue
                low, ties = np.inf, np.uint64(1)
                for c in range(choice_start[m], choice_start[m + 1]):
                    if cost[c] <= low and _within(source, sources, latency_ms, bound_ms[t], device[c]):
                        ties = ties + np.uint64(1) if cost[c] == low else np.uint64(1)
                        low = cost[c]
                        draw = _next(draw)
                        if (draw >> np.uint64(32)) % ties == 0:
                            where[m - first] = c
                least[m - first] = low
                total += low
            if total < np.inf:
                tied = tied + np.uint64(1) if total == cheapest[t] else np.uint64(1)
                draw = _next(draw)
                if total < cheapest[t] or (total == cheapest[t] and (draw >> np.uint64(32)) % tied == 0):
                    cheapest[t] = total
                    for m in range(first, last):
                        pick[m] = at[m - first] if selects[m] else where[m - first]
                for m in range(first, last):  # 3.
                    if selects[m]:
                        best[at[m - first]] = min(best[at[m - first]], total)
                        continue
                    for c in range(choice_start[m], choice_start[m + 1]):
                        value = total - least[m - first] + cost[c]
                        if value < best[c] and _within(source, sources, latency_ms, bound_ms[t], device[c]):
                            best[c] = value
            more = False
            for m in range(first, last):
                if selects[m]:
                    at[m - first] += 1
                    if at[m - first] < choice_start[m + 1]:
                        more = True
                        break
                    at[m - first] = choice_start[m]


@kernel
def _within(source, sources, latency_ms, bound_ms, target):
    far = 0
    for s in range(sources):
        if latency_ms[source[s], target] > bound_ms:
            far += 1
    return far == 0
