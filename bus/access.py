"""The broker file: where the broker is and with which credentials a process speaks to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import BusError


@dataclass(frozen=True)
class BrokerAccess:
    """Host, port, and the passwords of the users that the reader of the file may speak as."""

    host: str
    port: int
    users: Mapping[str, str] = field(repr=False)
    spool: str | None = None
    """Folder for what is not acknowledged yet."""

    def password(self, user: str) -> str:
        """Return a user's password; raises BusError where there is none."""
        if user not in self.users:
            raise BusError(f"the broker file has no password of {user}; it has those of {', '.join(self.users)}")
        return self.users[user]


def read_access(path: str | Path) -> BrokerAccess:
    """Read a broker file. Raises BusError where it is missing, malformed, or readable by others."""
    path = Path(path)
    try:
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise BusError(f"{path}: others can read it (mode {mode:o}) and it has passwords; run chmod 600 {path}")
        given = json.loads(path.read_text())
        return BrokerAccess(str(given["host"]), int(given["port"]), dict(given["users"]), given.get("spool"))
    except OSError as error:
        raise BusError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise BusError(f'{path}: not a broker file, {{"host", "port", "users", "spool"}}: {error}') from None


def write_access(path: Path, access: BrokerAccess) -> None:
    """Write a broker file that only its owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(0o600)
    made = {"host": access.host, "port": access.port, "users": dict(access.users), "spool": access.spool}
    path.write_text(json.dumps(made))
