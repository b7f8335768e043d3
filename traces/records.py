"""Where packets stand in a window of bytes: what the walkers of the file formats give to the header loop."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

RECORDS = 8192


class Records:
    """Arrays that a walker fills from the front, one row a packet, and that the next walk fills anew."""

    def __init__(self, most: int = RECORDS) -> None:
        self.time_ns: NDArray[np.int64] = np.empty(most, np.int64)
        self.starts: NDArray[np.int32] = np.empty(most, np.int32)
        """Where the captured bytes begin in the window's buffer."""
        self.captured: NDArray[np.uint32] = np.empty(most, np.uint32)
        self.wire: NDArray[np.uint32] = np.empty(most, np.uint32)
        """Length of the packet on the wire, link header included."""
        self.links: NDArray[np.uint8] = np.empty(most, np.uint8)
        """How the packet begins (`header_kernels.ETHERNET` and so on)."""

    def __getitem__(self, which: slice) -> tuple[NDArray[np.int64], ...]:
        return (  # type: ignore[return-value]
            self.time_ns[which],
            self.starts[which],
            self.captured[which],
            self.wire[which],
            self.links[which],
        )


class Walker(Protocol):
    """A file format: finds the packets in a window, front to back."""

    def walk(self, records: Records, most: int) -> int:
        """Fill up to `most` records from the window's current buffer; return how many, 0 at the end of the
        file.

        Raises TraceError where the file is damaged, once all packets before the damage have been given.
        """
