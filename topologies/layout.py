"""Where the devices of a topology are drawn: (x, y) between 0 and 1 across, with room for their names."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .topology import Topology

WIDEST_GAP = 0.18
"""Widest empty strip between devices, as a share of the width that remains: oceans shrink to it."""

LEAST_DISTANCE = 0.085
"""Devices are moved apart to this share of the width."""

MOST_MOVED = 120
"""With more switches there is no room to move them apart."""

MOST_ROWS = 4
"""Switches at so few heights stand in rows, as those of a fat-tree do."""


def switch_places(topology: Topology, height: float) -> NDArray[np.float64]:
    """Return the places of the switches, shape (switches, 2), x from 0 to 1 and y from 0 to `height`.

    1. Take the topology's positions; where it lacks some, the plane that keeps distances in links best.
    2. Shorten wide empty strips between neighbouring x.
    3. Stretch to the width and height.
    4. Unless they stand in rows, move apart what would overlap, a little at a time: switches from each
       other, and from links of others.
    """
    places = (
        _given(topology) if all(s in topology.positions for s in topology.switches) else _by_distance(topology)
    )  # 1
    places[:, 0] = _shortened(places[:, 0])  # 2
    for axis, length in ((0, 1.0), (1, height)):  # 3
        low, high = places[:, axis].min(), places[:, axis].max()
        places[:, axis] = (places[:, axis] - low) / (high - low) * length if high > low else length / 2
    least = min(LEAST_DISTANCE, 0.7 * float(np.sqrt(height / len(places))))
    index = {switch: i for i, switch in enumerate(topology.switches)}
    ends = np.array([(index[x.a], index[x.b]) for x in topology.links if x.a in index and x.b in index])
    in_rows = len(np.unique(places[:, 1])) <= MOST_ROWS
    for _ in range(0 if in_rows or len(places) > MOST_MOVED else 200):  # 4
        moves = _away_from_each_other(places, least) + _away_from_links(places, ends.reshape(-1, 2), least / 2)
        if not moves.any():
            break
        places += moves
    return places


def _given(topology: Topology) -> NDArray[np.float64]:
    return np.array([topology.positions[switch] for switch in topology.switches], np.float64)


def _by_distance(topology: Topology) -> NDArray[np.float64]:
    """Return places as far apart as the switches are in hops: classical scaling (Torgerson 1952)."""
    which = [topology.index[switch] for switch in topology.switches]
    squared = topology.hops[np.ix_(which, which)].astype(np.float64) ** 2
    rows = squared.mean(axis=0)
    values, vectors = np.linalg.eigh(-0.5 * (squared - rows[None, :] - rows[:, None] + rows.mean()))
    places = np.zeros((len(which), 2))
    for axis, column in enumerate(np.argsort(-values)[:2]):
        vector = vectors[:, column]
        sign = np.sign(vector[np.argmax(np.abs(vector))])
        places[:, axis] = sign * vector * np.sqrt(max(values[column], 0.0))
    return places


def _shortened(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cap the gaps between neighbouring values so that each is at most `WIDEST_GAP` of the whole."""
    values, which = np.unique(x, return_inverse=True)
    gaps = np.diff(values)
    if len(gaps) < 6:  # too few for a cap to mean "empty"
        return x
    for _ in range(50):
        gaps = np.minimum(gaps, WIDEST_GAP * gaps.sum())
    return np.concatenate([[0.0], np.cumsum(gaps)])[which]


def _away_from_each_other(places: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Return the moves that take every pair nearer than `least` apart by half of what is missing."""
    away = places[:, None, :] - places[None, :, :]
    distance = np.sqrt((away**2).sum(axis=2))
    np.fill_diagonal(distance, np.inf)
    missing = np.where(distance < least * 0.999, least - distance, 0.0)
    order = np.sign(np.subtract.outer(np.arange(len(places)), np.arange(len(places))))
    away[distance == 0.0] = np.stack([order, np.zeros_like(order)], axis=2)[distance == 0.0]
    unit = away / np.where(distance == 0.0, 1.0, distance)[:, :, None]
    return (unit * missing[:, :, None] / 4).sum(axis=1)


def _away_from_links(places: NDArray[np.float64], ends: NDArray[np.int64], least: float) -> NDArray[np.float64]:
    """Return the moves that take switches off links that pass nearer than `least` and are not theirs."""
    start, along = places[ends[:, 0]], places[ends[:, 1]] - places[ends[:, 0]]
    length = np.maximum((along**2).sum(axis=1), 1e-12)
    offset = places[:, None, :] - start[None, :, :]
    share = (offset * along).sum(axis=2) / length
    away = offset - share[:, :, None] * along
    distance = np.sqrt((away**2).sum(axis=2))
    own = (np.arange(len(places))[:, None, None] == ends[None, :, :]).any(axis=2)
    near = (distance < least * 0.999) & (distance > 0) & (share > 0) & (share < 1) & ~own
    unit = away / np.maximum(distance, 1e-12)[:, :, None]
    return (unit * np.where(near, (least - distance) / 2, 0.0)[:, :, None]).sum(axis=1)
