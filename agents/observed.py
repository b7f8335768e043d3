"""Observations: every packet that a device saw, kept in a file, for the exact truth of an experiment.

The columns of a `PacketBatch` as one structured type, one record a packet, and whether the device sent it. Appended as
it runs; what is in the file is whole records, but for the last one after a crash, which `read` leaves out.
"""

from __future__ import annotations

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


class Observed:
    """The file of one device, written to."""

    def __init__(self, folder: str | Path, device: str) -> None:
        """Open the device's file, after what an earlier agent wrote; raises LiveError where that cannot be."""
        path = Path(folder) / f"{device}{SUFFIX}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
            whole = self._file.tell() // RECORD.itemsize * RECORD.itemsize
            self._file.truncate(whole)
        except OSError as error:
            raise LiveError(f"cannot keep observations in {path}: {error.strerror}") from None

    def add(self, packets: PacketBatch, outgoing: NDArray[np.uint8]) -> None:
        """Append packets."""
        records = np.empty(len(packets), RECORD)
        for name in COLUMNS:
            records[name] = getattr(packets, name)
        records["outgoing"] = outgoing
        self._file.write(records.tobytes())

    def flush(self) -> None:
        """Let others read what was added."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
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
