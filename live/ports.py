"""TCP ports of this machine: which are free, and who listens on one."""

from __future__ import annotations

import socket
from pathlib import Path

LISTENING = "0A"
"""State of a listening socket in /proc/net/tcp."""


def free_port() -> int:
    """Return a port of the loopback address on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listeners(port: int) -> list[int]:
    """Return the ids of the processes that listen on a port, 0 for one of another user or namespace."""
    inodes = _inodes(port)
    if not inodes:
        return []
    found = [pid for pid in _processes() if inodes & _sockets(pid)]
    return found or [0]


def holder(port: int) -> str | None:
    """Say who listens on a port, such as 'mosquitto (process 812)'; None where nobody does."""
    pids = listeners(port)
    if not pids:
        return None
    return ", ".join(f"{_command(pid)} (process {pid})" if pid else "a process of somebody else" for pid in pids)


def _inodes(port: int) -> set[str]:
    found = set()
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net", table)
        lines = path.read_text().splitlines()[1:] if path.exists() else []
        for fields in map(str.split, lines):
            if fields[3] == LISTENING and int(fields[1].rsplit(":", 1)[1], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found


def _processes() -> list[int]:
    return sorted(int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())


def _sockets(pid: int) -> set[str]:
    try:
        return {str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:  # it has ended, or is another user's
        return set()


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "a process that has ended"
