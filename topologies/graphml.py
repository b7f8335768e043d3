"""Topologies from GraphML files, such as those of the Internet Topology Zoo.

Of a node: `Latitude` and `Longitude`; `label` for its site; `type` (or `kind`) "host" makes it a host. Of an
edge: `latency_ms`, `latency` or `delay` in ms (a text may end in ms, us or s); `rate_mbps`, or `LinkSpeedRaw`
in bit/s. A directed file may name both directions of a link.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from ..errors import TopologyError
from .attributes import drawing_of
from .drawing import Drawing


def read_graphml(path: Path) -> Drawing:
    """Read a GraphML file; TopologyError says what is wrong with it."""
    import networkx

    try:
        graph = networkx.read_graphml(path)
    except OSError as error:
        raise TopologyError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception as error:  # networkx and the XML parser raise whatever a damaged file makes them stumble over
        raise TopologyError(f"{path}: not valid GraphML: {error}") from None
    return drawing_of(graph, path, once(list(graph.edges(data=True)), graph.is_directed()))


def once(edges: list[tuple[Any, Any, Any]], directed: bool) -> list[tuple[Any, Any, Any]]:
    """Drop the second direction of the links of a directed file; repetitions in one direction are parallel links."""
    if not directed:
        return edges
    forward = Counter((a, b) for a, b, _ in edges)
    left = {(b, a): min(count, forward[b, a]) for (a, b), count in forward.items() if a != b and (b, a) in forward}
    first: set[tuple[Any, Any]] = set()
    kept = []
    for a, b, attributes in edges:
        first.add((a, b) if (b, a) not in first else (b, a))
        if (a, b) not in first and left.get((b, a), 0) > 0:
            left[b, a] -= 1  # the other direction of an edge that is kept
        else:
            kept.append((a, b, attributes))
    return kept
