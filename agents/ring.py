"""The capture ring of one interface: an AF_PACKET socket of version TPACKET_V3, mapped into memory.

The kernel fills blocks of packets and hands each over when it is full or `timeout_ms` old. We walk a block in place
(`ring_kernels.py`), write its packets to columns and give the block back. Where all blocks are ours the kernel drops
packets, and counts them. With few packets a block lasts no longer than its time-out, so it is the number of blocks that
says how long we may be away: many small ones are better than few large ones. Of each packet only the first `SNAP_BYTES`
bytes are copied, which hold all headers.

An interface that goes away takes the ring with it: `read` then says so once by `lost`, and `reopen` tries again.
"""

from __future__ import annotations

import ctypes
import mmap
import select
import socket
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import LiveError
from ..traces.header_kernels import COUNTS, SKIP_REASONS
from ..traces.packets import PacketBatch
from .netns import network_of
from .ring_kernels import BLOCK, CURSOR_WORDS, LEFT, OURS, STATUS, walk_blocks

SNAP_BYTES = 192
DEFAULT_BLOCKS, DEFAULT_BLOCK_BYTES = 256, 16 << 10

ETH_P_ALL = 0x0003
SOL_PACKET = 263
RX_RING, STATISTICS, VERSION, IGNORE_OUTGOING = 5, 6, 10, 23
TPACKET_V3 = 2
FRAME_BYTES = 2048
SO_ATTACH_FILTER = 26
RETURN_CONSTANT = 0x06  # BPF_RET | BPF_K: the whole filter, which cuts packets and refuses none


@dataclass(slots=True)
class Losses:
    """What a ring did not see, since it was asked before."""

    kernel_drops: int = 0
    """Packets dropped because all blocks were ours."""
    ring_losses: int = 0
    """Times that the kernel found no free block."""


class Ring:
    """The packets of one interface, in and out, as columns."""

    def __init__(
        self,
        interface: str,
        netns_pid: int | None = None,
        *,
        blocks: int = DEFAULT_BLOCKS,
        block_bytes: int = DEFAULT_BLOCK_BYTES,
        timeout_ms: int = 1,
        incoming_only: bool = False,
        netns_start: int | None = None,
    ) -> None:
        """Open the ring; raises LiveError where the interface does not exist or the user may not capture."""
        if blocks < 1 or block_bytes % mmap.PAGESIZE:
            raise LiveError(f"a ring needs blocks of whole pages ({mmap.PAGESIZE} bytes), not {blocks} x {block_bytes}")
        self.interface, self.netns_pid, self.netns_start = interface, netns_pid, netns_start
        self.blocks, self.block_bytes, self.timeout_ms = blocks, block_bytes, timeout_ms
        self.incoming_only = incoming_only
        self._counts = np.zeros(COUNTS, np.int64)
        self.skipped = self._counts[: len(SKIP_REASONS)]
        self._cursor = np.zeros(CURSOR_WORDS, np.int64)
        self.lost = False
        """The interface is gone; nothing more comes until `reopen`."""
        self._socket: socket.socket | None = None
        self._losses = Losses()
        self._doubtful = False
        self._open()

    def _open(self) -> None:
        where = f"on {self.interface}" + ("" if self.netns_pid is None else f" of process {self.netns_pid}")
        try:
            with network_of(self.netns_pid, self.netns_start):
                opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
                try:
                    self._set_up(opened)
                except BaseException:
                    opened.close()
                    raise
        except PermissionError:
            raise LiveError(f"no capture ring {where}: not permitted; agents need root (CAP_NET_RAW)") from None
        except OSError as error:
            raise LiveError(
                f"no capture ring {where}: {error.strerror}; is there such an interface, and is it up?"
            ) from None
        self._socket = opened
        self.lost = False

    def _set_up(self, opened: socket.socket) -> None:
        """Give a socket its version, snap length and ring, and only then let packets in."""
        opened.setsockopt(SOL_PACKET, VERSION, TPACKET_V3)
        if self.incoming_only:
            opened.setsockopt(SOL_PACKET, IGNORE_OUTGOING, 1)
        snap = ctypes.create_string_buffer(struct.pack("HBBI", RETURN_CONSTANT, 0, 0, SNAP_BYTES))
        opened.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(snap)))
        size = self.blocks * self.block_bytes
        request = struct.pack(
            "7I", self.block_bytes, self.blocks, FRAME_BYTES, size // FRAME_BYTES, self.timeout_ms, 0, 0
        )
        opened.setsockopt(SOL_PACKET, RX_RING, request)
        self._map = mmap.mmap(opened.fileno(), size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._data: NDArray[np.uint8] = np.frombuffer(self._map, np.uint8)
        self._words = self._data.view(np.uint32).reshape(self.blocks, self.block_bytes // 4)
        self._cursor[BLOCK], self._cursor[LEFT] = 0, -1
        opened.bind((self.interface, ETH_P_ALL))
        self.index = socket.if_nametoindex(self.interface)

    def fileno(self) -> int:
        """Return the descriptor to poll, -1 where the ring is lost."""
        return -1 if self._socket is None else self._socket.fileno()

    @property
    def memory_bytes(self) -> int:
        """Size of the ring in memory."""
        return self.blocks * self.block_bytes

    @property
    def ready(self) -> bool:
        """Whether there are packets to take now."""
        return self._socket is not None and bool(self._words[self._cursor[BLOCK], STATUS] & OURS)

    def backlog(self) -> float:
        """Return the share of the blocks that wait for us, from 0 to 1."""
        return 0.0 if self._socket is None else float(np.mean(self._words[:, STATUS] & OURS))

    def wait(self, timeout_s: float) -> bool:
        """Wait for packets; return whether there are some."""
        if not self.ready and self._socket is not None:
            poll = select.poll()
            poll.register(self.fileno(), select.POLLIN | select.POLLERR)
            poll.poll(timeout_s * 1000)
            self.check()
        return self.ready

    def check(self) -> None:
        """Notice that the interface went away: after a poll that reported an error, or a silence."""
        if self._socket is None:
            return
        self._doubtful = self._doubtful or self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
        if self._doubtful and not self.ready:  # what it holds is taken first
            self._doubtful = False
            if not self._same():
                kept = self.losses()
                self.close()
                self._losses, self.lost = kept, True

    def read(self, columns: tuple[NDArray[np.generic], ...], outgoing: NDArray[np.uint8], row: int) -> int:
        """Take packets to the rows from `row` on, until none is ready or no row is free; return the next free row.

        `columns` are those of a `PacketBatch`, all of one length. Packets that cannot be measured are counted in
        `skipped`, by the reasons of traces/header_kernels.py.
        """
        if self._socket is None:
            return row
        return int(
            walk_blocks(self._data, self._words, self.block_bytes, self._cursor, outgoing, *columns, row, self._counts)
        )

    def read_batch(self, packets: int) -> tuple[PacketBatch, NDArray[np.uint8]]:
        """Take up to so many packets that are ready; return them and which of them are outgoing."""
        batch, outgoing = PacketBatch.empty(packets), np.empty(packets, np.uint8)
        n = self.read(batch.columns(), outgoing, 0)
        return batch[:n], outgoing[:n]

    def losses(self) -> Losses:
        """Return and forget what was lost since the last time."""
        if self._socket is not None:
            _, drops, freezes = struct.unpack("3I", self._socket.getsockopt(SOL_PACKET, STATISTICS, 12))
            self._losses.kernel_drops += drops
            self._losses.ring_losses += freezes
        found, self._losses = self._losses, Losses()
        return found

    def reopen(self) -> bool:
        """Try to open a lost ring again; return whether it is there."""
        if self._socket is None:
            try:
                self._open()
            except LiveError:
                return False
        return True

    def close(self) -> None:
        """Give the ring back to the system."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            del self._words, self._data
            self._map.close()

    def _same(self) -> bool:
        """Whether the interface that the ring was opened on is still there."""
        try:
            with network_of(self.netns_pid, self.netns_start):
                return socket.if_nametoindex(self.interface) == self.index
        except (OSError, LiveError):
            return False
