"""What libraries print by themselves, kept apart from what a command prints.

A native library writes to file descriptors 1 and 2 as it likes (highspy 1.16 prints a banner on 1 whenever a solver is
made), where a pipe expects JSON. So while a command runs, `sys.stdout` and `sys.stderr` write to private duplicates of
the two descriptors, and 1 and 2 themselves lead to a log. Processes that the command starts inherit the log. The log
is `mozart/libraries.log` in the user's state folder (XDG_STATE_HOME, by default ~/.local/state).
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import stat
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

LOG = Path("mozart", "libraries.log")
MOST_BYTES = 1 << 20
"""Size at which the log becomes `libraries.log.1`, in place of the one before."""

NUMBERS = {"stdout": 1, "stderr": 2}

_held = threading.Lock()
_private: dict[int, int] = {}
"""Descriptor 1 or 2 -> its private duplicate, while a command runs."""


@dataclass(frozen=True, slots=True)
class _Moved:
    """One stream that writes to a private duplicate: its name in `sys`, and the stream before and now."""

    name: str
    before: TextIO
    now: TextIO
    dunder: bool
    """Whether `sys.__stdout__` (or `sys.__stderr__`) was the same stream: sizes of terminals are read from that."""


@contextlib.contextmanager
def libraries_apart(label: str) -> Iterator[None]:
    """Send what libraries print to the log, which says `label` of it; all is as before at the end.

    Streams of ours that are not on descriptors 1 and 2 (in notebooks and tests) stay as they are. In a second thread,
    or within itself, this changes nothing.
    """
    if not _held.acquire(blocking=False):
        yield
        return
    log = _open_log()
    saved: dict[int, int] = {}
    moved: list[_Moved] = []
    try:
        _flush_native()
        for number in NUMBERS.values():
            with contextlib.suppress(OSError):  # closed: then libraries cannot print there either
                saved[number] = os.dup(number)
        for name, number in NUMBERS.items():
            if number in saved:
                _move(name, number, moved)
                os.dup2(log, number)
        yield
    finally:
        _flush_native()  # what is still in a library's buffer is not to come after the JSON
        for number, kept in saved.items():
            os.dup2(kept, number)
            os.close(kept)
        _say_whose(log, label)
        os.close(log)
        try:
            _restore(moved)
        finally:
            _held.release()


def _move(name: str, number: int, moved: list[_Moved]) -> None:
    """Let a stream of `sys` that writes to a descriptor write to a private duplicate of it."""
    stream = getattr(sys, name)
    try:
        there: int | None = stream.fileno()
    except (AttributeError, OSError, ValueError):  # no stream of a file, as in a notebook
        there = None
    if there != number or not isinstance(stream, io.TextIOWrapper):
        return
    with contextlib.suppress(OSError):  # nobody reads what was printed before
        stream.flush()
    private = os.dup(number)
    raw = io.FileIO(private, "w")
    unbuffered = isinstance(stream.buffer, io.RawIOBase)
    now = io.TextIOWrapper(
        raw if unbuffered else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    dunder = getattr(sys, f"__{name}__") is stream
    moved.append(_Moved(name, stream, now, dunder))
    _private[number] = private
    setattr(sys, name, now)
    if dunder:
        setattr(sys, f"__{name}__", now)


def _restore(moved: list[_Moved]) -> None:
    """Put the streams back, and close the duplicates; what nobody can read any more is dropped."""
    for stream in moved:
        if getattr(sys, stream.name) is stream.now:
            setattr(sys, stream.name, stream.before)
        if stream.dunder:
            setattr(sys, f"__{stream.name}__", stream.before)
        _private.pop(NUMBERS[stream.name], None)
        try:
            stream.now.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.now.fileno())
        stream.now.close()


def own_path(path: str | Path) -> Path:
    """Return a path that leads where it did before: /dev/stdout and the like name descriptors of libraries now."""
    named = Path(path)
    for number, private in _private.items():
        if str(named) in (f"/dev/std{('out', 'err')[number - 1]}", f"/dev/fd/{number}", f"/proc/self/fd/{number}"):
            return Path(f"/dev/fd/{private}")
    return named


def log_path() -> Path:
    """Return where the log stands. Raises RuntimeError for a user without a home."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / LOG


def _open_log() -> int:
    """Open the log to append to; where there can be none, the null device."""
    try:
        path = log_path()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > MOST_BYTES:
            path.replace(path.with_name(f"{path.name}.1"))
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        if stat.S_ISREG(os.fstat(log).st_mode):
            return log
        os.close(log)
    except (OSError, RuntimeError):
        pass
    return os.open(os.devnull, os.O_WRONLY)


def _say_whose(log: int, label: str) -> None:
    """Add a line that says which command the lines above are of, where there are any."""
    with contextlib.suppress(OSError):
        if os.lseek(log, 0, os.SEEK_CUR) > 0:  # an offset of ours: nothing of this process moves it but its writes
            when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
            os.write(log, f"-- so far: what libraries printed under {label} (process {os.getpid()}, {when})\n".encode())


def _flush_native() -> None:
    """Write out what C libraries hold in the buffers of their streams."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).fflush(None)
