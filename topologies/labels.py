"""Where the words of a picture go: of a few places for each, the one that hides least."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

STEP = 0.004
"""Lines are seen as points this far apart."""


class Clutter:
    """What is drawn already, as points with weights; boxes of words go where they hide the least weight.

    Words that would reach beyond `left` or `right` count as hidden themselves.
    """

    def __init__(self, left: float, right: float) -> None:
        self.left, self.right = left, right
        self.points = np.empty((0, 2))
        self.weights = np.empty(0)

    def add_points(self, points: NDArray[np.float64], weight: float) -> None:
        """Note points, shape (points, 2), that words should not hide."""
        self.points = np.concatenate([self.points, points])
        self.weights = np.concatenate([self.weights, np.full(len(points), weight)])

    def add_line(self, a: NDArray[np.float64], b: NDArray[np.float64], weight: float) -> None:
        """Note a line from a to b."""
        count = max(2, int(np.hypot(*(b - a)) / STEP))
        self.add_points(a + np.linspace(0, 1, count)[:, None] * (b - a), weight)

    def add_box(self, centre: NDArray[np.float64], size: tuple[float, float], weight: float) -> None:
        """Note everything in a box of a width and height."""
        x, y = (np.linspace(-0.5, 0.5, 2 + int(length / (2 * STEP))) * length for length in size)
        self.add_points(centre + np.stack(np.meshgrid(x, y), axis=2).reshape(-1, 2), weight)

    def hidden(self, centre: NDArray[np.float64], size: tuple[float, float]) -> float:
        """Return the weight that a box of words would hide."""
        inside = (np.abs(self.points - centre) <= np.array(size) / 2).all(axis=1)
        beyond = centre[0] - size[0] / 2 < self.left or centre[0] + size[0] / 2 > self.right
        return float(self.weights[inside].sum()) + 1e3 * beyond

    def best_place(self, candidates: Iterable[NDArray[np.float64]], size: tuple[float, float]) -> NDArray[np.float64]:
        """Return the centre at which a box hides least (the first of equals), and note the box."""
        best = min(candidates, key=lambda centre: self.hidden(centre, size))
        self.add_box(best, size, 2.0)
        return best
