"""A trace file as a window that slides over its bytes, filled ahead by a thread.

The file formats see `buffer[position:end]` and move `position`; `advance` brings the next block and keeps
what has not been used yet in front of it. Three buffers are used in turn, so memory stays the same whatever
the file's size, and reading and decompressing run on another core than parsing.
"""

from __future__ import annotations

import contextlib
import queue
import threading

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from .compression import ByteStream, Source, open_stream

BLOCK_BYTES = 1 << 20
MOST_RECORD_BYTES = 1 << 20
"""Longest record of a trace; what claims to be longer is damage."""
BUFFERS = 3


class Window:
    """The bytes of one file from front to back, a block at a time.

    `buffer[position:end]` has been read and not been used; `origin` is the place of `buffer[0]` in the file's
    plain bytes. A position behind `end` means that bytes not read yet are not wanted.
    """

    def __init__(self, path: str, block_bytes: int = BLOCK_BYTES) -> None:
        self.name = "standard input" if path == "-" else path
        self.buffer: NDArray[np.uint8] = np.empty(0, np.uint8)
        self.position = 0
        self.end = 0
        self.origin = 0
        self._free: queue.SimpleQueue[NDArray[np.uint8] | None] = queue.SimpleQueue()
        self._filled: queue.SimpleQueue[tuple[NDArray[np.uint8], int] | Exception | None] = queue.SimpleQueue()
        for _ in range(BUFFERS):
            self._free.put(np.empty(MOST_RECORD_BYTES + block_bytes, np.uint8))
        self._thread = threading.Thread(
            target=_fill, args=(path, self._free, self._filled), name=f"read {self.name}", daemon=True
        )
        self._thread.start()

    @property
    def offset(self) -> int:
        """Where `position` is in the file's plain bytes."""
        return self.origin + self.position

    @property
    def read_bytes(self) -> int:
        """How many plain bytes of the file have been used or stand in the window."""
        return self.origin + self.end

    def advance(self) -> bool:
        """Bring the next block behind the bytes not used yet; False at the end of the file.

        Raises TraceError where the stream is damaged there.
        """
        arrived = self._filled.get()
        if not isinstance(arrived, tuple):
            self._filled.put(arrived)  # the end stays the end
            if arrived is not None:
                raise arrived
            return False
        block, count = arrived
        kept = max(self.end - self.position, 0)
        front = MOST_RECORD_BYTES - kept
        block[front:MOST_RECORD_BYTES] = self.buffer[self.end - kept : self.end]
        self.origin += self.end - MOST_RECORD_BYTES
        beyond = max(self.position - self.end, 0)
        if len(self.buffer):
            self._free.put(self.buffer)
        self.buffer, self.position, self.end = block, front + beyond, MOST_RECORD_BYTES + count
        return True

    def need(self, count: int) -> bool:
        """Bring blocks until `count` bytes stand in the window; False where the file ends before."""
        while self.end - self.position < count:
            if not self.advance():
                return False
        return True

    def close(self) -> None:
        """Stop reading ahead; the thread closes the file. A pipe that gives nothing is not waited for.

        Who waits for the next block, in another thread, is told that this is the end.
        """
        self._free.put(None)
        self._filled.put(None)
        self._thread.join(timeout=1.0)


def _fill(
    path: str,
    free: queue.SimpleQueue[NDArray[np.uint8] | None],
    filled: queue.SimpleQueue[tuple[NDArray[np.uint8], int] | Exception | None],
) -> None:
    """Read block after block until the end, an error, or a request to stop (None instead of a buffer).

    The file is opened here and not by who asks for its blocks: to open a pipe is to wait for who writes into it.
    """
    end: Exception | None = None
    try:
        with contextlib.closing(open_stream(path)) as stream:
            count = 1
            while count and end is None and (buffer := free.get()) is not None:
                count, end = _read_block(stream, buffer.data[MOST_RECORD_BYTES:])
                if count:
                    filled.put((buffer, count))
    except Exception as error:  # raised again in the thread that asks for the bytes
        end = error
    finally:
        filled.put(end)


def _read_block(stream: ByteStream, room: memoryview) -> tuple[int, Exception | None]:
    """Fill a block, or take from a pipe what there is; return how far that went, and the error that ended it."""
    count = 0
    whole = not isinstance(stream, Source) or stream.repeatable
    try:
        while count < len(room) and (more := stream.readinto(room[count:])):
            count += more
            if not whole:
                break
    except OSError as error:
        return count, TraceError(f"cannot read the trace any further: {error.strerror}")
    except Exception as error:  # raised again where the bytes are used, behind the bytes that came before
        return count, error
    return count, None
