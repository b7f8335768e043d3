"""Observations: every packet that a device saw, kept in a file, for the exact truth of an experiment.

The columns of a `PacketBatch` as one structured type, one record a packet, and whether the device sent it. Appended as
it runs; what is in the file is whole records, but for the last one after a crash, which `read` leaves out. Where the
disk takes no more, the packets that the file lacks are counted, and the device goes on.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import LiveError
from ..traces.packets import COLUMNS, PacketBatch

RECORD = np.dtype(
    [(name, kind) if words == 1 else (name, kind, (words,)) for name, (kind, words, _) in COLUMNS.items()]
    + [("outgoing", np.uint8)]
)
"""One packet."""
SUFFIX = ".packets"

log = logging.getLogger("mozart.agent")


class Observed:
    """The file of one device, written to."""

    def __init__(self, folder: str | Path, device: str) -> None:
        """Open the device's file, after what an earlier agent wrote; raises LiveError where that cannot be."""
        path = Path(folder) / f"{device}{SUFFIX}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
            self._size = self._file.tell() // RECORD.itemsize * RECORD.itemsize
            self._file.truncate(self._size)
        except OSError as error:
            raise LiveError(f"cannot keep observations in {path}: {error.strerror}") from None
        self.path = path
        self.lost = 0
        """Packets that the file lacks."""
        self.fault = ""
        """Why, the last time."""

    def add(self, packets: PacketBatch, outgoing: NDArray[np.uint8]) -> None:
        """Append packets."""
        records = np.empty(len(packets), RECORD)
        for name in COLUMNS:
            records[name] = getattr(packets, name)
        records["outgoing"] = outgoing
        try:
            left = memoryview(records.tobytes())
            while left:
                left = left[self._file.write(left) :]
            self._size += records.nbytes
        except OSError as error:
            self.lost += len(records)
            fault = f"{self.path}: {error.strerror}; observations are not complete"
            if fault != self.fault:
                log.error("%s", fault)
            self.fault = fault
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)  # whole records only, so that what comes later can be read

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            self._file.close()


def read(path: str | Path) -> tuple[PacketBatch, NDArray[np.uint8]]:
    """Return the packets of a device's file, and which of them the device sent; raises LiveError without a file."""
    path = Path(path)
    try:
        size = path.stat().st_size // RECORD.itemsize
        records = np.fromfile(path, RECORD, size)
    except OSError as error:
        raise LiveError(f"no observations in {path}: {error.strerror}; were they asked for?") from None
    batch = PacketBatch.of(**{name: records[name] for name in COLUMNS})
    return batch, records["outgoing"].copy()
