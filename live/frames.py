"""Write what one host sends: a pcap of whole Ethernet frames, as tcpreplay puts them on a wire.

The headers are made from the columns of the layout as traces/writer.py makes them, the MAC addresses say the sites,
checksums are right, and zeros stand for the payload: a frame is as long as its IP packet says. Fragments of one
datagram have one identification (fragments.py). The first frame of
every file is a marker of no protocol, at the same time in all of them, so that senders who start together keep the
distances between their packets.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..topologies.addresses import host_mac
from ..traces.packets import PacketBatch, concatenate
from ..traces.writer_kernels import write_records
from .fragments import Fragments
from .frame_kernels import write_frames

FILE_HEADER = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
"""Nanosecond magic, version 2.4, UTC, snap length, Ethernet; little-endian on every machine."""
MARKER_ETHERTYPE = 0x88B5
"""For local experiments (IEEE 802): no rule forwards it, no selector sees it."""
MARKER_NS = 1_000_000_000
"""Time of the marker in the file."""
HELD = 64
"""So many packets wait for the next batch."""
WORDS = 1 << 16
FRAME_BYTES = 1 << 21


class FrameWriter:
    """The file of one host; packets that no headers can express are counted in `impossible`."""

    def __init__(self, path: Path, host: str) -> None:
        self.packets = self.impossible = 0
        self._number = int(host[1:])
        self._fragments = Fragments()
        self._held: tuple[PacketBatch, NDArray[np.int64]] = PacketBatch.empty(0), np.zeros(0, np.int64)
        """The last packets and their destinations: more fragments may follow."""
        self._words = np.empty(WORDS, np.uint32)
        self._out = np.empty(FRAME_BYTES, np.uint8)
        self._file = path.open("wb")
        mac = bytes.fromhex(host_mac(host).replace(":", ""))
        marker = (mac + mac + MARKER_ETHERTYPE.to_bytes(2, "big")).ljust(60, b"\0")
        self._file.write(FILE_HEADER + struct.pack("<4I", MARKER_NS // 10**9, 0, len(marker), len(marker)) + marker)

    def write(self, batch: PacketBatch, destination: NDArray[np.int64]) -> None:
        """Append packets, each to the host with the number `destination` in its name; none is longer than a frame."""
        packets = concatenate([self._held[0], batch])
        destination = np.concatenate([self._held[1], destination])
        marks = self._fragments.marks(packets)
        begin = max(len(packets) - HELD, 0)
        across = np.isin(marks[:begin, 0], marks[begin:, 0]) & (marks[:begin, 0] > 0)
        begin = int(np.argmax(across)) if across.any() else begin
        self._held = packets[begin:].copy(), destination[begin:].copy()
        self._append(packets[:begin], destination[:begin], marks[:begin])

    def _append(self, batch: PacketBatch, destination: NDArray[np.int64], marks: NDArray[np.int64]) -> None:
        done = 0
        while done < len(batch):
            rest = batch[done:]
            packets, filled, refused = write_records(*rest.columns(), self._words)
            self._write_frames(packets, filled, destination[done:], marks[done:])
            done += packets + refused
            self.impossible += refused

    def _write_frames(
        self, packets: int, filled: int, destination: NDArray[np.int64], marks: NDArray[np.int64]
    ) -> None:
        begin = done = 0
        while done < packets:
            words = self._words[begin:filled]
            some, read, written = write_frames(
                words, filled - begin, packets - done, self._number, destination[done:], marks[done:], self._out
            )
            self._file.write(self._out[:written].data)
            done, begin = done + some, begin + read
        self.packets += packets

    def close(self) -> None:
        """Finish the file."""
        packets, destination = self._held
        self._held = PacketBatch.empty(0), np.zeros(0, np.int64)
        self._append(packets, destination, self._fragments.marks(packets))
        self._file.close()
