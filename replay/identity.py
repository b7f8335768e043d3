"""Who the flows of an epoch are: the header fields of the packet that began each exact stream.

Tables and streams know a flow by its key alone. For records of flows that nobody selected, no selection says who they
are; so where these are wanted, the feed keeps the fields of the first packet of every stream until the epoch ends.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..traces.packets import PacketBatch


@dataclass(frozen=True, slots=True)
class Identity:
    """Header fields as columns of equal length."""

    src: NDArray[np.uint64]
    dst: NDArray[np.uint64]
    src_port: NDArray[np.uint16]
    dst_port: NDArray[np.uint16]
    protocol: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.protocol)

    def __getitem__(self, which: Any) -> Identity:
        """Take some of the rows."""
        return Identity(*(getattr(self, f.name)[which] for f in fields(self)))


class Identities:
    """The identity of each stream of an epoch, in the order of their rows."""

    def __init__(self) -> None:
        self.known = 0
        """Streams so far."""
        self._parts: list[Identity] = []

    def add(self, batch: PacketBatch, row: NDArray[np.int32]) -> None:
        """Take packets, each with the row of its stream; new streams have the next rows."""
        new = np.flatnonzero(row >= self.known)
        if not len(new):
            return
        rows, first = np.unique(row[new], return_index=True)
        self.known += len(rows)
        first = new[first]
        self._parts.append(Identity(*(getattr(batch, f.name)[first] for f in fields(Identity))))

    def joined(self) -> Identity:
        """Return all of them."""
        parts = self._parts or [Identity(*(getattr(PacketBatch.empty(0), f.name) for f in fields(Identity)))]
        return Identity(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Identity)))
