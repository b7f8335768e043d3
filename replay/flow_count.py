"""How many flows a trace has: exact while they are few enough to remember, estimated beyond.

Up to `LIMIT` keys are remembered (32 MiB); beyond it a HyperLogLog sketch of 2^14 registers goes on, with a standard
error of 0.8 % (Flajolet et al. 2007), and the count says that it is an estimate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LIMIT = 1 << 22
BITS = 14


class FlowCount:
    """Counts distinct flow keys."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.keys: NDArray[np.uint64] | None = np.zeros(0, np.uint64)
        self.registers = np.zeros(1 << BITS, np.uint8)

    def add(self, keys: NDArray[np.uint64]) -> None:
        """Count the flows with these keys, which may repeat."""
        if self.keys is None:
            self._sketch(keys)
            return
        joined = np.concatenate([self.keys, keys])
        joined.sort()
        self.keys = joined[np.append(True, joined[1:] != joined[:-1])] if len(joined) else joined
        if len(self.keys) > self.limit:
            self._sketch(self.keys)
            self.keys = None

    def _sketch(self, keys: NDArray[np.uint64]) -> None:
        """Take keys into the registers, each the most leading zeros of the hashes that fall to it, plus one."""
        register = (keys >> np.uint64(64 - BITS)).astype(np.int64)
        rest = keys << np.uint64(BITS) | np.uint64((1 << BITS) - 1)
        zeros = 63 - np.floor(np.log2(rest.astype(np.float64))).astype(np.int64)
        np.maximum.at(self.registers, register, (zeros + 1).clip(1, 64 - BITS + 1).astype(np.uint8))

    @property
    def exact(self) -> bool:
        """Whether the count is exact."""
        return self.keys is not None

    def __int__(self) -> int:
        if self.keys is not None:
            return len(self.keys)
        m = float(1 << BITS)
        return round(0.7213 / (1 + 1.079 / m) * m * m / float(np.exp2(-self.registers.astype(np.float64)).sum()))
