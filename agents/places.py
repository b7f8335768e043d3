"""Places: which devices an agent serves, and where their packets and switches are on this machine."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from ..errors import LiveError
from .ring import DEFAULT_BLOCK_BYTES, DEFAULT_BLOCKS

KINDS = ("switch", "host")
NEEDED = ("device", "kind", "interface")


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

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise LiveError(f"{self.device}: a device is a {' or a '.join(KINDS)}, not {self.kind!r}")
        if self.kind == "switch" and not self.management:
            raise LiveError(f"{self.device}: a switch needs 'management', the path of its bridge's management socket")


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
    except (ValueError, TypeError) as error:
        raise LiveError(f"{path}: not a list of devices: {error}") from None
    if not places:
        raise LiveError(f"{path} names no device")
    return places
