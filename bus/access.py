"""The broker file: where the broker is and with which credentials a process speaks to it."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import BusError

KEEPALIVE_S = 10


@dataclass(frozen=True)
class BrokerAccess:
    """Host, port, and the passwords of the users that the reader of the file may speak as.

    The host is this machine: passwords travel as they are, so a broker elsewhere is reached through a tunnel.
    """

    host: str
    port: int
    users: Mapping[str, str] = field(repr=False)
    spool: str | None = None
    """Folder for what is not acknowledged yet."""
    keepalive_s: int = KEEPALIVE_S
    """The broker takes for dead who says nothing for one and a half times that."""

    def __post_init__(self) -> None:
        if not _is_loopback(self.host):
            raise BusError(
                f"broker {self.host}: passwords would cross a network in the clear; "
                "reach it through a tunnel (ssh -L) and name 127.0.0.1"
            )
        if not 0 < self.port < 65536:
            raise BusError(f"broker port {self.port}: a port lies between 1 and 65535")

    def password(self, user: str) -> str:
        """Return a user's password; raises BusError where there is none."""
        if user not in self.users:
            raise BusError(f"the broker file has no password of {user}; it has those of {', '.join(self.users)}")
        return self.users[user]

    def only(self, *users: str) -> BrokerAccess:
        """Return the access of some users alone, for a process that speaks as those."""
        return replace(self, users={user: self.password(user) for user in users})


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_access(path: str | Path) -> BrokerAccess:
    """Read a broker file. Raises BusError where it is missing, malformed, or readable by others."""
    path = Path(path)
    try:
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise BusError(f"{path}: others can read it (mode {mode:o}) and it has passwords; run chmod 600 {path}")
        return _access(json.loads(path.read_text()))
    except OSError as error:
        raise BusError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BusError(f'{path}: not a broker file, {{"host", "port", "users", "spool"}}: {error}') from None


def _access(given: Any) -> BrokerAccess:
    users = given["users"]
    if not isinstance(users, dict) or not all(isinstance(password, str) for password in users.values()):
        raise ValueError("users are names with passwords")
    keepalive_s = int(given.get("keepalive_s", KEEPALIVE_S))
    return BrokerAccess(str(given["host"]), int(given["port"]), users, given.get("spool"), keepalive_s)


def write_access(path: Path, access: BrokerAccess) -> None:
    """Write a broker file that only its owner can read, at no time anybody else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    made = {"host": access.host, "port": access.port, "users": dict(access.users), "spool": access.spool}
    made["keepalive_s"] = access.keepalive_s
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(made, file)
