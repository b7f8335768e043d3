"""The paths that flows are known to have taken, where several cost the same: they stand in for the replay's choice.

A replay sends a flow over one of its equal-cost paths by a hash of its own; the switches of a real network have theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Taken:
    """Numbers of whole paths in `Routes`, by five-tuple key."""

    keys: NDArray[np.uint64]
    """In order."""
    routes: NDArray[np.int32]
    """Of the same shape (flows,)."""

    @classmethod
    def of(cls, routes: Mapping[int, int]) -> Self:
        """Make it of a dict."""
        keys = np.array(sorted(routes), np.uint64)
        return cls(keys, np.array([routes[int(key)] for key in keys], np.int32))

    def put(self, key: NDArray[np.uint64], route: NDArray[np.int32]) -> None:
        """Write the route of each packet whose flow is known, in place; both of shape (packets,)."""
        if not len(self.keys):
            return
        at = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
        known = self.keys[at] == key
        route[known] = self.routes[at[known]]
