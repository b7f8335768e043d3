"""Places: which devices an agent serves, and where their packets and switches are on this machine."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import LiveError
from .netns import start_tick
from .ring import DEFAULT_BLOCK_BYTES, DEFAULT_BLOCKS

KINDS = ("switch", "host")
NEEDED = ("device", "kind", "interface")
NAMES = {"device": r"[hs][1-9]\d{0,5}", "interface": r"[\w.][\w.@+=~-]{0,14}", "bridge": r"[\w.][\w.@+=~-]{0,63}"}
"""What names may be: they become parts of commands, topics and paths."""
MOST_PATH_BYTES = 107
"""Longest path of a socket (unix(7))."""
MOST_BLOCKS, MOST_BLOCK_BYTES, MOST_TIMEOUT_MS = 1 << 16, 1 << 24, 1000


@dataclass(frozen=True, slots=True)
class Place:
    """One device."""

    device: str
    kind: str
    interface: str
    """Of a switch the measure port, of a host its own."""
    netns_pid: int | None = None
    """A process in the network namespace where the interface is; None: the agent's own."""
    bridge: str | None = None
    management: str | None = None
    """Path of the bridge's management socket."""
    blocks: int = DEFAULT_BLOCKS
    block_bytes: int = DEFAULT_BLOCK_BYTES
    timeout_ms: int = 1
    netns_start: int | None = None
    """When that process began (netns.py), so that no other is taken for it; None: as it is when this is made."""

    def __post_init__(self) -> None:
        """Check all values; raises LiveError for the first that is wrong."""
        if self.kind not in KINDS:
            raise LiveError(f"{self.device}: a device is a {' or a '.join(KINDS)}, not {self.kind!r}")
        if self.kind == "switch" and not self.management:
            raise LiveError(f"{self.device}: a switch needs 'management', the path of its bridge's management socket")
        for key, pattern in NAMES.items():
            name = getattr(self, key)
            if not (name is None and key == "bridge") and not (isinstance(name, str) and _is_name(name, pattern)):
                raise LiveError(f"{self.device}: {key} {name!r} is no name: letters, digits and . _ - @ + = ~ make one")
        if self.management is not None and not (isinstance(self.management, str) and _is_path(self.management)):
            raise LiveError(f"{self.device}: management {self.management!r} is no path of a socket")
        self._check_number("netns_pid", 2**22, may_lack=True)
        self._check_number("netns_start", 2**63 - 1, may_lack=True)
        if self.netns_pid is not None and self.netns_start is None:
            object.__setattr__(self, "netns_start", start_tick(self.netns_pid))
        self._check_number("blocks", MOST_BLOCKS)
        self._check_number("block_bytes", MOST_BLOCK_BYTES)
        self._check_number("timeout_ms", MOST_TIMEOUT_MS)

    def _check_number(self, key: str, most: int, may_lack: bool = False) -> None:
        value = getattr(self, key)
        if not (value is None and may_lack) and not (type(value) is int and 1 <= value <= most):
            raise LiveError(f"{self.device}: {key} must be a whole number from 1 to {most:,}, not {value!r}")


def _is_name(name: str, pattern: str) -> bool:
    return re.fullmatch(pattern, name, re.ASCII) is not None and name not in (".", "..")


def _is_path(path: str) -> bool:
    return path.isprintable() and 0 < len(path.encode()) <= MOST_PATH_BYTES


def read_places(path: str | Path) -> list[Place]:
    """Read a file of devices, a JSON list of tables; raises LiveError, naming what is wrong with it."""
    path = Path(path)
    names = {field.name for field in dataclasses.fields(Place)}
    try:
        given = json.loads(path.read_text())
        if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
            raise ValueError("it must be a JSON list of objects, one a device")
        unknown = sorted({key for each in given for key in each} - names)
        if unknown:
            raise LiveError(f"no such keys: {', '.join(unknown)}; there are {', '.join(sorted(names))}")
        for number, each in enumerate(given):
            if lacking := [key for key in NEEDED if key not in each]:
                raise LiveError(f"{each.get('device', f'device {number}')} lacks {', '.join(lacking)}")
        places = [Place(**each) for each in given]
    except LiveError as error:
        raise LiveError(f"{path}: {error}") from None
    except OSError as error:
        raise LiveError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise LiveError(f"{path}: not a list of devices: {error}") from None
    if not places:
        raise LiveError(f"{path} names no device")
    devices = [place.device for place in places]
    if twice := sorted({device for device in devices if devices.count(device) > 1}):
        raise LiveError(f"{path} names {', '.join(twice)} more than once")
    return places
