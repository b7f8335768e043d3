"""Work ahead: what gives batches runs in a thread of its own, beside what takes them.

The hot loops on both sides release the GIL, so the two run on two cores.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

Item = TypeVar("Item")

AHEAD = 2
"""Items that wait to be taken."""
BUFFERS = AHEAD + 2
"""Items in use at a time: those that wait, the one being made, and the one taken last."""
PATIENCE_S = 1.0
"""How long a source that gives nothing (a pipe) is waited for at the end."""


def ahead(items: Iterable[Item], depth: int = AHEAD) -> Generator[Item]:
    """Iterate with a thread that works up to `depth` items ahead; its errors are raised here, in their place.

    An item whose memory is used again must stay valid until `depth` + 2 more were made.
    """
    waiting: queue.Queue[tuple[str, object]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(what: str, item: object) -> None:
        while not stopped.is_set():
            try:
                waiting.put((what, item), timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put("item", item)
                if stopped.is_set():
                    return
            put("end", None)
        except BaseException as error:
            put("error", error)

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            what, item = waiting.get()
            if what == "end":
                return
            if what == "error":
                raise item  # type: ignore[misc]
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join(timeout=PATIENCE_S)
