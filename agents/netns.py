"""Entering a network namespace: what is opened inside stays in it, the thread comes back out.

A socket belongs for good to the namespace of the thread that opened it. So rings and nftables handles of a host are
opened inside its namespace, and used from outside.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import LiveError

CLONE_NEWNET = 0x40000000
OWN = Path("/proc/thread-self/ns/net")


def start_tick(pid: int) -> int | None:
    """Return the clock tick, since the machine started, at which a process began; None where it has ended."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if after_name[0] in "ZX" else int(after_name[19])


@contextmanager
def network_of(pid: int | None, start: int | None = None) -> Iterator[None]:
    """Be in the network namespace of a process, with this thread alone; None: stay where we are.

    `start` is when the process began (`start_tick`): another one that has its number by now is not entered. Raises
    LiveError where the process is gone or may not be entered.
    """
    if pid is None:
        yield
        return
    own = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            target = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise LiveError(f"no network namespace of process {pid}: {error.strerror}; is the host running?") from None
        try:
            if start is not None and start_tick(pid) != start:  # looked at while the namespace is held
                raise LiveError(f"process {pid} has ended, and another one has its number; is the host running?")
            _enter(target, f"the network namespace of process {pid}")
        finally:
            os.close(target)
        try:
            yield
        finally:
            _enter(own, "the agent's own network namespace")
    finally:
        os.close(own)


def _enter(descriptor: int, what: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise LiveError(f"cannot enter {what}: {os.strerror(ctypes.get_errno())}; agents of hosts need root")
