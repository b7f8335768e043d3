"""What the first Ctrl-C or SIGTERM does; a second one is always meant as it is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def at_first(number: int, then: Callable[[], None]) -> Iterator[None]:
    """Call `then` at the first signal of this number, which does afterwards again what it did before.

    Outside the main thread, where Python takes no signals, all stays as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = signal.getsignal(number)

    def handle(*_: object) -> None:
        signal.signal(number, usual)
        then()

    signal.signal(number, handle)
    try:
        yield
    finally:
        signal.signal(number, usual)
