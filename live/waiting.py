"""Waiting for conditions, each with a deadline and a name: nothing here sleeps for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..errors import LiveError

POLL_S = 0.02


def until(
    condition: Callable[[], object], what: str, deadline_s: float, alive: Callable[[], object] | None = None
) -> float:
    """Wait until `condition()` is true and return the seconds that it took.

    Raises LiveError, saying what was waited for, after `deadline_s`. `alive` is called on each turn and raises where
    waiting has become pointless (a process has ended, the user has had enough).
    """
    begin = time.monotonic()
    while not condition():
        if alive is not None:
            alive()
        if time.monotonic() - begin > deadline_s:
            raise LiveError(f"waited {deadline_s:g} s for {what}, in vain")
        time.sleep(POLL_S)
    return time.monotonic() - begin
