"""What Ctrl-C, SIGTERM and SIGHUP do: the first asks for an orderly end, a second one is meant as it is.

`timeout` sends its signal twice at once, to the command and to its process group, and a terminal that closes may do
so too: a SIGTERM or SIGHUP that follows another within `SAME_S` is the same one.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}
"""The signals that end a command, and what its user knows them by."""
SAME_S = 1.0


class Ended(KeyboardInterrupt):
    """SIGTERM or SIGHUP came: it ends a command as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__(name_of(number))
        self.number = number


class Stop(threading.Event):
    """Set by the first signal that asks for an end."""

    number: int = signal.SIGINT
    """Which signal it was."""

    @property
    def status(self) -> int:
        """The exit status of a command that it ended."""
        return 128 + self.number

    def interruption(self) -> KeyboardInterrupt:
        """Return what to raise for the signal."""
        return KeyboardInterrupt() if self.number == signal.SIGINT else Ended(self.number)


def name_of(number: int) -> str:
    """Return what a user calls a signal."""
    return next((name for known, name in NAMES.items() if known == number), f"signal {number}")


@contextmanager
def at_first(number: int, then: Callable[[], None]) -> Iterator[None]:
    """Call `then` at the first signal of this number, and do at later ones what was done before.

    Outside the main thread, where Python takes no signals, and where SIGHUP or SIGTERM is ignored (as `nohup` has it),
    all stays as it is. Shells let what runs in the background ignore Ctrl-C; its signal still asks for an end.
    """
    usual = signal.getsignal(number)
    ignored = usual is None or (usual == signal.SIG_IGN and number != signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or ignored:
        yield
        return
    first_s: float | None = None

    def handle(_: int, frame: Any) -> None:
        nonlocal first_s
        now_s = time.monotonic()
        if first_s is None:
            first_s = now_s
            then()
        elif number == signal.SIGINT or now_s - first_s > SAME_S:
            if callable(usual):
                usual(number, frame)
            else:
                signal.signal(number, usual)
                os.kill(os.getpid(), number)

    signal.signal(number, handle)
    try:
        yield
    finally:
        signal.signal(number, usual)


@contextmanager
def stopped_by_signal(then: Callable[[], None] = lambda: None) -> Iterator[Stop]:
    """Yield an event that the first Ctrl-C, SIGTERM or SIGHUP sets, which also calls `then`; later ones interrupt."""
    stop = Stop()

    def at(number: int) -> Callable[[], None]:
        def ask() -> None:
            if not stop.is_set():
                stop.number = number
                stop.set()
                then()

        return ask

    with ExitStack() as stack:
        for number in NAMES:
            stack.enter_context(at_first(number, at(number)))
        yield stop


@contextmanager
def ending_raises() -> Iterator[None]:
    """Raise Ended where SIGTERM or SIGHUP would end this process at once, so that what it made is undone."""

    def at(number: int) -> Callable[[], None]:
        def then() -> None:
            raise Ended(number)

        return then

    with ExitStack() as stack:
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) == signal.SIG_DFL:
                stack.enter_context(at_first(number, at(number)))
        yield


@contextmanager
def held(say: Callable[[str], None]) -> Iterator[list[int]]:
    """Keep Ctrl-C, SIGTERM and SIGHUP from interrupting, telling the user so; yield those that came."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def hold(number: int, _: Any) -> None:
        came.append(number)
        if len(came) == 1:
            say("undoing what the run made; this takes some seconds")

    usual = {n: signal.signal(n, hold) for n in NAMES if signal.getsignal(n) not in (signal.SIG_IGN, None)}
    try:
        yield came
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
