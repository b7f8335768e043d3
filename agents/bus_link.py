"""A device on the bus: the real `link.Link`, over a connection of the device's own (bus/client.py).

Reports are packed and spooled by a thread of their own (report_writer.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..bus import topics
from ..bus.access import BrokerAccess
from ..bus.client import BusClient
from ..bus.config import DeviceConfig
from ..bus.schema import TASK, Table, checked, read_json
from ..bus.spool import Spool
from ..errors import BusError
from ..fields import Field
from .link import Refused, Told
from .monitoring import MESSAGE_KINDS
from .report_writer import ReportWriter
from .selecting import Notice

STOPPED_S = 1.0
TOLD = Table(
    {
        "version": Field(int, minimum=1, maximum=1),
        "task": Field(str, pattern=TASK, form="a task's name"),
        "key": Field(str, pattern=r"\d{1,20}", form="a number of 64 bits, as text"),
        "time_ns": Field(int, minimum=0, maximum=2**62),
        "kind": Field(str, choices=tuple(MESSAGE_KINDS)),
        "span": Field(int, minimum=0, maximum=10**6),
    }
)
"""The schema of an explicit message."""


class BusLink:
    """One device's connection to the broker."""

    def __init__(self, device: str, access: BrokerAccess, wake: Callable[[], None]) -> None:
        """Prepare the connection; `wake` is called when something was heard. Raises BusError without a spool folder."""
        if access.spool is None:
            raise BusError("the broker file names no 'spool': a folder for reports that are not acknowledged yet")
        self.device, self._wake = device, wake
        folder = Path(access.spool)
        self._state = folder / f"{device}.last.json"
        self._spool = Spool(folder / device)
        self._heard: deque[DeviceConfig | Told | Refused] = deque()
        self._last: tuple[int, int] | None = None
        lost = json.dumps({"state": "lost", "since_ns": time.time_ns()}).encode()
        handlers = {topics.config(device): self._on_config, topics.select(device, "+"): self._on_select}
        self.client = BusClient(
            device, access, handlers=handlers, will=(topics.status(device), lost), spool=self._spool
        )  # fmt: skip
        self._said = ""
        self._connections = 0
        self._writer = ReportWriter(device, self.client, self._state)

    def start(self) -> None:
        """Begin to connect."""
        self._writer.start()
        self.client.start()

    # what is heard, in the thread of the connection

    def _on_config(self, topic: str, payload: bytes) -> None:
        try:
            config = DeviceConfig.from_json(payload)
            if config.device != self.device:
                raise BusError(f"{self.device} was sent the configuration of {config.device}")
            self._heard.append(config)
        except BusError as error:  # the device says so in its status
            self._heard.append(Refused(str(error), _revision_of(payload)))
        self._wake()

    def _on_select(self, topic: str, payload: bytes) -> None:
        self._heard.append(told_of(payload, time.time_ns()))
        self._wake()

    def heard(self) -> list[DeviceConfig | Told | Refused]:
        """Return what has come since the last call, in order."""
        found = []
        while self._heard:
            found.append(self._heard.popleft())
        return found

    def malformed(self) -> int:
        """Return the number of messages that could not be used, so far."""
        return self.client.malformed

    def losses(self) -> Mapping[str, int]:
        """Return what was lost or went wrong on the way out, so far, by names of counters.py."""
        return {
            "disk_faults": self._writer.disk_errors + self.client.disk_errors,
            "reports_lost": self._writer.lost,
            "messages_lost": self.client.lost,
        }

    def faults(self) -> list[str]:
        """Say what is wrong with the way out, now."""
        return [self._writer.fault] if self._writer.fault else []

    # what is said

    def last_report(self) -> tuple[int, int]:
        """Return sequence number and end (ns) of the last report of the device; (-1, 0) where there was none."""
        if self._last is not None:
            return self._last
        try:
            given = json.loads(self._state.read_text())
            return int(given["sequence"]), int(given["end_ns"])
        except (OSError, ValueError, KeyError, TypeError):
            return -1, 0

    def report(self, header: Mapping[str, Any], columns: Mapping[str, NDArray[Any]]) -> None:
        """Hand a report over to the writing thread."""
        self._last = header["sequence"], header["end_ns"]
        self._writer.put(header, columns)

    def notify(self, notice: Notice) -> None:
        """Send an explicit message."""
        said = {
            "version": 1, "task": notice.task, "key": str(notice.key), "time_ns": notice.time_ns, "kind": notice.kind,
            "span": notice.span,
        }  # fmt: skip
        self.client.publish(topics.select(notice.to, self.device), json.dumps(said))

    def stats(self, values: Mapping[str, Any]) -> None:
        """Say how the device does, where somebody may hear it; after a new connection, that it runs, too."""
        if not self.client.connected:
            return
        if self._said and self.client.connections != self._connections:
            self._connections = self.client.connections
            self.client.publish(topics.status(self.device), self._said, retain=True)  # over the last will
        self.client.publish(topics.stats(self.device), json.dumps(dict(values)), qos=0)

    def status(self, values: Mapping[str, Any]) -> None:
        """Say whether the device's agent runs; that it has stopped, until the broker knows."""
        self._said = json.dumps({**values, "pid": os.getpid(), "since_ns": time.time_ns()})
        wait_s = STOPPED_S if values.get("state") == "stopped" and self.client.connected else 0.0
        with contextlib.suppress(BusError):  # the last will says it as well
            self.client.publish(topics.status(self.device), self._said, retain=True, wait_s=wait_s)

    def close(self, within_s: float) -> None:
        """Write the reports that are left, wait a little until the broker has them, and end the connection."""
        self._writer.close()
        self.client.flush(within_s if self.client.connected else 0.0)
        self.client.close()


def _revision_of(payload: bytes) -> int | None:
    """Return the revision of what should have been a configuration, where it has one."""
    try:
        revision = json.loads(payload)["revision"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return revision if type(revision) is int else None


def told_of(payload: bytes, arrived_ns: int) -> Told:
    """Read an explicit message; raises BusError for what is none."""
    what = "an explicit message"
    given = checked(read_json(payload, what), TOLD, what)
    key = int(given["key"])
    if not 0 < key < 2**64:
        raise BusError(f"not {what}: key {key} is none of 64 bits")
    return Told(given["task"], key, given["time_ns"], given["kind"], given["span"], arrived_ns)
