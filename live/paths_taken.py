"""Which of its equal-cost paths each flow of a run took, told by the switches that saw it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..controller.planned import Crossing
from ..replay.routes import Routes
from ..replay.taken import Taken
from .observations import Observations


def paths_taken(routes: Routes, switches: Mapping[str, Mapping[str, Crossing]], observations: Observations) -> Taken:
    """Return the path of every flow sent whose pair of hosts has several.

    It is the first of those that agree with the most switches: on the path and seen there, or neither. Only switches
    that look at the pair can tell; where none of them tells the paths apart, the flow is left out.
    """
    keys, first = np.unique(observations.flow_hash.keys(observations.sent, "five-tuple"), return_index=True)
    pair = np.empty(len(observations.sent), np.int32)
    observations.pairs.write(observations.sent, pair)
    pair = pair[first]
    saw = {
        switch: np.isin(keys, seen.keys("five-tuple"))
        for switch, seen in observations.seen.items()
        if switch in switches
    }
    found: dict[int, int] = {}
    for number in np.unique(pair[pair != observations.pairs.none]).tolist():
        a, b = divmod(number, len(observations.pairs.hosts))
        flows = np.flatnonzero(pair == number)
        name = observations.pairs.name(number)
        looks = [
            s for s, seen in saw.items() if seen[flows].any() or (name in switches[s] and switches[s][name].watched)
        ]
        paths = np.arange(routes.first[a, b], routes.first[a, b] + routes.count[a, b])
        if len(paths) > 1 and looks:
            agree = _agreement(routes, paths, looks, np.array([saw[switch][flows] for switch in looks]))
            told = agree.max(axis=0) > agree.min(axis=0)
            best = paths[agree.argmax(axis=0)]
            found.update(zip(keys[flows[told]].tolist(), best[told].tolist(), strict=True))
    return Taken.of(found)


def _agreement(routes: Routes, paths: NDArray[np.int64], looks: list[str], saw: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how many switches agree with each path of each flow, shape (paths, flows); `saw` is (switches, flows)."""
    crosses = np.array([[switch in routes.all[path].devices for switch in looks] for path in paths])
    agree: NDArray[np.int64] = (crosses[:, :, None] == saw[None]).sum(axis=1)
    return agree
