"""Write packets as a nanosecond pcap of raw IP headers (link type 101), which any capture tool reads.

Only headers are written, with the length of the whole packet beside them. They are made from the columns, so
what the columns do not hold (time to live, acknowledgement number, contents of options) has a plain value,
IPv4 header checksums are right, and transport checksums, which would need the payload, are 0. Read back, each
column is the same (of what was malformed, the payload may differ): where a packet had options or extension
headers, padding of the same length stands.
"""

from __future__ import annotations

import struct
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from ..errors import TraceError
from .output import COMPRESSIONS, OutputFile
from .packets import PacketBatch, address_text
from .writer_kernels import write_records

FILE_HEADER = struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 101)
"""Nanosecond magic, version 2.4, UTC, snap length, raw IP."""

BUFFER_WORDS = 1 << 18


class PcapWriter:
    """A pcap file being written; the file appears under its name when the writer is closed without an error.

    The suffix says the compression: .gz, .zst, .xz, else none. "-" is standard output.
    """

    def __init__(self, path: str | Path) -> None:
        suffix = Path(path).suffix
        self.packets = 0
        self._file = OutputFile(path, suffix if suffix in COMPRESSIONS else "")
        self._buffer = np.empty(BUFFER_WORDS, np.uint32)
        self._file.write(FILE_HEADER)

    def write(self, batch: PacketBatch) -> None:
        """Append packets.

        Raises TraceError, naming the packet, where no IP packet can have the columns: an IP length smaller
        than its headers, or a time outside 1970 to 2106.
        """
        done = 0
        while done < len(batch):
            rest = batch[done:]
            packets, words, refused = write_records(*rest.columns(), self._buffer)
            self._file.write(self._buffer[:words].data.cast("B"))
            self.packets += packets
            done += packets
            if refused:
                raise TraceError(self._refusal(rest, packets))

    def close(self) -> None:
        """Finish the file and give it its name."""
        self._file.keep()

    def discard(self) -> None:
        """Stop writing, and leave nothing under the file's name."""
        self._file.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _refusal(self, batch: PacketBatch, at: int) -> str:
        flow = f"{address_text(*batch.src[at])} to {address_text(*batch.dst[at])}"
        return (
            f"{self._file.name}: packet {self.packets + 1} ({flow}, protocol {batch.protocol[at]}, time "
            f"{batch.time_ns[at]} ns) cannot be written: no headers fit an IP length of {batch.ip_bytes[at]} "
            f"bytes with {batch.payload_bytes[at]} bytes of payload, or its time is not in 1970 to 2106; "
            "drop the packet or mend its columns"
        )
