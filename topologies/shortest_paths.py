"""Distances and equal-cost paths of a graph whose nodes are numbers and whose costs are whole numbers.

Costs are whole nanoseconds (or links), so that sums are exact, "equal" means equal, and a path costs the same
in both directions. Knows nothing of hosts, switches or names.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import TopologyError

NS_PER_MS = 1_000_000

MAX_PATHS = 256
"""Most paths that an equal-cost set holds; switches' groups are smaller still."""

UNREACHABLE = 2**60


@dataclass(frozen=True, eq=False)
class Graph:
    """Links with their latency, and the two distance matrices that the searches are guided by."""

    latency_ns: Mapping[tuple[int, int], int]
    shortest_ns: NDArray[np.int64]
    fewest_links: NDArray[np.int64]

    @cached_property
    def cost_ns(self) -> dict[tuple[int, int], int]:
        """Latency of each link, by its ends in either order."""
        return {**self.latency_ns, **{(b, a): cost for (a, b), cost in self.latency_ns.items()}}

    @cached_property
    def cost_links(self) -> dict[tuple[int, int], int]:
        """1 for each link, by its ends in either order."""
        return dict.fromkeys(self.cost_ns, 1)

    @cached_property
    def neighbours(self) -> list[list[int]]:
        """Neighbours of each node, ascending."""
        return neighbours_of(self.latency_ns, len(self.shortest_ns))


def neighbours_of(pairs: Mapping[tuple[int, int], int], nodes: int) -> list[list[int]]:
    """Return the neighbours of each node, ascending."""
    found: list[list[int]] = [[] for _ in range(nodes)]
    for a, b in pairs:
        found[a].append(b)
        found[b].append(a)
    return [sorted(each) for each in found]


def distances(costs: Mapping[tuple[int, int], int], nodes: int) -> NDArray[np.int64]:
    """Return the least cost between any two nodes, shape (nodes, nodes), as Floyd and Warshall do."""
    matrix = np.full((nodes, nodes), UNREACHABLE, np.int64)
    np.fill_diagonal(matrix, 0)
    for (a, b), cost in costs.items():
        matrix[a, b] = matrix[b, a] = cost
    for station in range(nodes):
        np.minimum(matrix, matrix[:, station, None] + matrix[None, station, :], out=matrix)
    return matrix


def equal_cost_paths(graph: Graph, a: int, b: int, ecmp: str | float) -> list[tuple[int, ...]]:
    """Return the paths from a to b that count as equally good: best first, then by their nodes."""
    if ecmp == "hops":
        limit = int(graph.fewest_links[a, b])
        return _first(paths_within(graph.neighbours, graph.cost_links, graph.fewest_links, a, b, limit), MAX_PATHS)
    shortest = int(graph.shortest_ns[a, b])
    if ecmp == "none":
        return _first(paths_within(graph.neighbours, graph.cost_ns, graph.shortest_ns, a, b, shortest), 1)
    if isinstance(ecmp, bool) or not isinstance(ecmp, int | float) or not math.isfinite(ecmp) or ecmp < 0:
        raise TopologyError(f"ecmp must be hops, none or a tolerance in ms of at least 0, not {ecmp!r}")
    limit = shortest + round(ecmp * NS_PER_MS)
    return _first(paths_within(graph.neighbours, graph.cost_ns, graph.shortest_ns, a, b, limit), MAX_PATHS)


def paths_within(
    neighbours: list[list[int]],
    cost: Mapping[tuple[int, int], int],
    remaining: NDArray[np.int64],
    a: int,
    b: int,
    limit: int,
) -> Iterator[tuple[int, ...]]:
    """Yield all simple paths from a to b that cost no more than the limit, cheapest first.

    1. The queue holds beginnings of paths, ordered by what they cost with the best possible end (exact, as
       `remaining` is the distance matrix), then by their nodes; at first only (a).
    2. Take the best beginning. If it ends in b, it is the next path.
    3. Otherwise put in each of its prolongations by a node it does not hold, if that can still be within the
    limit.
    """
    queue: list[tuple[int, int, tuple[int, ...]]] = [(int(remaining[a, b]), 0, (a,))]  # 1
    while queue:
        _, spent, path = heapq.heappop(queue)  # 2
        last = path[-1]
        if last == b:
            yield path
            continue
        for node in neighbours[last]:  # 3
            reached = spent + cost[last, node]
            least = reached + int(remaining[node, b])
            if node not in path and least <= limit:
                heapq.heappush(queue, (least, reached, (*path, node)))


def _first(paths: Iterator[tuple[int, ...]], count: int) -> list[tuple[int, ...]]:
    return list(itertools.islice(paths, count))
