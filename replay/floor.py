"""The floor: how many selected flows even the best table of a given size must miss.

A flow is captured where each monitor on its way has an entry for it, and a monitor has `entries` of them. The most
flows that can be captured is an integer program with one variable a group of flows that cross the same monitors; its
linear relaxation is an upper bound, so the floor is one that no table can beat.

A flow that is selected in several epochs may be captured in any one of them; for those flows the bound takes all
their epochs together as one large table, which can only make the floor lower.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

Group = frozenset[int]
"""The monitors that the flows of a group cross."""


def most_captured(groups: Mapping[Group, int], entries: int) -> int:
    """Return an upper bound on the flows that tables of `entries` can capture in all their monitors."""
    load: Counter[int] = Counter()
    for monitors, flows in groups.items():
        for monitor in monitors:
            load[monitor] += flows
    total = sum(groups.values())
    if all(flows <= entries for flows in load.values()):
        return total
    return min(total, _linear_program(groups, entries, {m for m, flows in load.items() if flows > entries}))


def _linear_program(groups: Mapping[Group, int], entries: int, full: set[int]) -> int:
    import pulp

    problem = pulp.LpProblem("floor", pulp.LpMaximize)
    kept = {g: pulp.LpVariable(f"kept_{i}", 0, n) for i, (g, n) in enumerate(groups.items())}
    problem += pulp.lpSum(kept.values())
    for monitor in sorted(full):
        problem += pulp.lpSum(x for g, x in kept.items() if monitor in g) <= entries, f"memory_of_{monitor}"
    problem.solve(pulp.PULP_CBC_CMD(msg=False, threads=1))
    if problem.sol_status != pulp.LpSolutionOptimal:
        raise RuntimeError(f"the linear program of the floor ended as {pulp.LpSolution[problem.sol_status]}")
    return int(pulp.value(problem.objective) + 1e-6)


def fewest_missed(flows: Iterable[tuple[Group, int, int]], entries: int) -> int:
    """Return how many flows tables of `entries` must miss.

    `flows` are (monitors crossed, first epoch, last epoch) of each flow; the floor is the larger of two bounds:
    epoch by epoch over the flows selected in that one only, and over all flows with the memory of all epochs.
    """
    single: dict[int, Counter[Group]] = {}
    everything: Counter[Group] = Counter()
    epochs: set[int] = set()
    for monitors, first, last in flows:
        everything[monitors] += 1
        epochs.update((first, last))
        if first == last:
            single.setdefault(first, Counter())[monitors] += 1
    by_epoch = sum(sum(groups.values()) - most_captured(groups, entries) for groups in single.values())
    if not epochs:
        return 0
    span = max(epochs) - min(epochs) + 1
    together = sum(everything.values()) - most_captured(everything, entries * span)
    return max(by_epoch, together)
