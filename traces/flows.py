"""The exact table of a trace's flows: packets, bytes, first and last time of every five-tuple.

A flow is known by the 64-bit hash of its five-tuple (`keys.py` says how rarely two share one). What every
packet changes is in a hash table of 32 bytes a flow, which grows when it is 60 % full; what is written once a
flow, the five-tuple itself and the first time, is in rows in the order of first packets.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import flow_kernels as of
from .flow_kernels import ENTRY_WORDS, ROW_WORDS, add_packets, flow_packets, move_entries
from .keys import FlowHash
from .memory import release, zeroed
from .packets import PacketBatch

FULL_SHARE = 0.6
ROWS_A_PIECE = 1 << 17
MOVED_WORDS = 1 << 20
"""How much of a table is moved to a larger one before it is given back: both never stand whole in memory."""
FEW_SLOTS_LOG2 = 22
"""Up to this size (128 MiB) the table grows fourfold, and then twofold, so that little memory is wasted."""


class FlowTable:
    """Counts every packet into its flow, however many flows there are."""

    def __init__(self, flow_hash: FlowHash, slots_log2: int = 16) -> None:
        self._flow_hash = flow_hash
        self._slots_log2 = slots_log2
        self._entries = zeroed(ENTRY_WORDS << slots_log2)
        self._rows: list[NDArray[np.uint64]] = []
        self._flows = 0

    def __len__(self) -> int:
        return self._flows

    def add(self, batch: PacketBatch, keys: NDArray[np.uint64] | None = None) -> None:
        """Count the packets of a batch; `keys` spares hashing where their five-tuple keys are known
        already."""
        if keys is None:
            keys = self._flow_hash.keys(batch, "five-tuple")
        fields = (
            batch.time_ns,
            batch.ip_bytes,
            batch.src,
            batch.dst,
            batch.src_port,
            batch.dst_port,
            batch.protocol,
        )
        done = 0
        while done < len(batch):
            self._make_room()
            first_row = (len(self._rows) - 1) * ROWS_A_PIECE
            most_flows = min(self._most_flows, first_row + ROWS_A_PIECE)
            done, self._flows = add_packets(
                keys,
                *fields,
                done,
                self._entries,
                self._shift,
                self._flows,
                most_flows,
                self._rows[-1],
                first_row,
            )

    @property
    def _most_flows(self) -> int:
        return int(FULL_SHARE * (1 << self._slots_log2))

    @property
    def _shift(self) -> np.uint64:
        return np.uint64(64 - self._slots_log2)

    def _make_room(self) -> None:
        """See that there is room for one more flow, in the table and in the rows."""
        if self._flows == self._most_flows:
            self._slots_log2 += 2 if self._slots_log2 < FEW_SLOTS_LOG2 else 1
            larger = zeroed(ENTRY_WORDS << self._slots_log2)
            step = min(MOVED_WORDS, len(self._entries))
            for begin in range(0, len(self._entries), step):
                move_entries(self._entries[begin : begin + step], larger, self._shift)
                release(self._entries, begin, begin + step)
            self._entries = larger
        if self._flows == len(self._rows) * ROWS_A_PIECE:
            self._rows.append(zeroed(ROW_WORDS * ROWS_A_PIECE).reshape(ROWS_A_PIECE, ROW_WORDS))

    def packets(self) -> NDArray[np.uint64]:
        """Return the packets of every flow, in no order; shape (flows,). Takes no memory beside that."""
        packets = np.empty(self._flows, np.uint64)
        flow_packets(self._entries, packets)
        return packets

    def to_columns(self) -> dict[str, NDArray[Any]]:
        """Return one row a flow, in the order of first packets.

        Columns: key, packets, bytes, first_ns, last_ns, src and dst (two words each), src_port, dst_port,
        protocol.
        """
        entries = self._entries.reshape(-1, ENTRY_WORDS)
        entries = entries[entries[:, of.KEY] != 0]
        by_row = np.empty_like(entries)
        by_row[(entries[:, of.PACKETS_AND_ROW] & np.uint64(0xFFFFFFFF)).astype(np.intp)] = entries
        rows = np.concatenate([*self._rows, np.empty((0, ROW_WORDS), np.uint64)])[: self._flows]
        carry, ports = np.uint64(of.CARRY_BIT), rows[:, of.PORTS_AND_PROTOCOL]
        carried = by_row[:, of.BYTES] >> carry << np.uint64(32)
        return {
            "key": by_row[:, of.KEY].copy(),
            "packets": (by_row[:, of.PACKETS_AND_ROW] >> np.uint64(32)) + carried,
            "bytes": by_row[:, of.BYTES] & ((np.uint64(1) << carry) - np.uint64(1)),
            "first_ns": rows[:, of.FIRST_NS].astype(np.int64),
            "last_ns": by_row[:, of.LAST_NS].astype(np.int64),
            "src": rows[:, of.SRC_HIGH : of.SRC_LOW + 1].copy(),
            "dst": rows[:, of.DST_HIGH : of.DST_LOW + 1].copy(),
            "src_port": (ports >> np.uint64(32)).astype(np.uint16),
            "dst_port": (ports >> np.uint64(16)).astype(np.uint16),
            "protocol": ports.astype(np.uint8),
        }
