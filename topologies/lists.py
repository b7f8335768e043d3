"""Lists of numbers of different lengths, one after the other in one array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Lists:
    """A list of numbers for each of a row of things: those of number r are `items[start[r]:start[r + 1]]`."""

    start: NDArray[np.int64]
    items: NDArray[Any]

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> Lists:
        """Join lists."""
        return cls(starts([len(x) for x in lists]), np.array([i for x in lists for i in x], np.int32))

    def __len__(self) -> int:
        return len(self.start) - 1

    def __getitem__(self, number: int) -> NDArray[Any]:
        return self.items[self.start[number] : self.start[number + 1]]

    def expand(self, numbers: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (index into `numbers`, item) for every item of every list, in order."""
        each = self.start[numbers + 1] - self.start[numbers]
        which = np.repeat(np.arange(len(numbers)), each)
        within = np.arange(len(which)) - np.repeat(np.cumsum(each) - each, each)
        return which, self.items[self.start[numbers][which] + within].astype(np.int64)

    def take(self, numbers: NDArray[np.integer]) -> Lists:
        """Return the lists of some numbers, in their order."""
        if not len(self.items):
            return Lists(np.zeros(len(numbers) + 1, np.int64), self.items)
        return Lists(starts(self.start[numbers + 1] - self.start[numbers]), self.expand(numbers)[1].astype(np.int16))


def starts(counts: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int64]:
    """Return where lists of such lengths begin, and behind them where the last one ends."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
