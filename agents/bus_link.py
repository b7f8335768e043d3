"""A device on the bus: the real `link.Link`, over a connection of the device's own (bus/client.py).

Reports are packed and spooled by a thread of their own, so that a disk that is slow delays no tag. Beside the spool
stands what the next agent of the device must know: number and end of the last report.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import threading
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
from ..bus.messages import pack
from ..bus.spool import Spool
from ..errors import BusError
from .link import Told
from .monitoring import MESSAGE_KINDS
from .selecting import Notice

STOPPED_S = 1.0


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
        self._heard: deque[DeviceConfig | Told] = deque()
        self._reports: queue.Queue[tuple[Mapping[str, Any], Mapping[str, NDArray[Any]]] | None] = queue.Queue()
        lost = json.dumps({"state": "lost", "since_ns": time.time_ns()}).encode()
        handlers = {topics.config(device): self._on_config, topics.select(device, "+"): self._on_select}
        self.client = BusClient(
            device, access, handlers=handlers, will=(topics.status(device), lost), spool=self._spool
        )  # fmt: skip
        self._said = ""
        self._connections = 0
        self._writer = threading.Thread(target=self._write, name=f"reports of {device}", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._writer.start()
        self.client.start()

    # what is heard, in the thread of the connection

    def _on_config(self, topic: str, payload: bytes) -> None:
        config = DeviceConfig.from_json(payload)
        if config.device != self.device:
            raise BusError(f"{self.device} was sent the configuration of {config.device}")
        self._heard.append(config)
        self._wake()

    def _on_select(self, topic: str, payload: bytes) -> None:
        self._heard.append(told_of(payload, time.time_ns()))
        self._wake()

    def heard(self) -> list[DeviceConfig | Told]:
        """Return what has come since the last call, in order."""
        found = []
        while self._heard:
            found.append(self._heard.popleft())
        return found

    def malformed(self) -> int:
        """Return the number of messages that could not be used, so far."""
        return self.client.malformed

    # what is said

    def last_report(self) -> tuple[int, int]:
        """Return sequence number and end (ns) of the last report of the device; (-1, 0) where there was none."""
        try:
            given = json.loads(self._state.read_text())
            return int(given["sequence"]), int(given["end_ns"])
        except (OSError, ValueError, KeyError, TypeError):
            return -1, 0

    def report(self, header: Mapping[str, Any], columns: Mapping[str, NDArray[Any]]) -> None:
        """Hand a report over to the writing thread."""
        self._reports.put((header, columns))

    def _write(self) -> None:
        while (report := self._reports.get()) is not None:
            header, columns = report
            self.client.publish_spooled(topics.report(self.device), pack(header, columns))
            draft = self._state.with_suffix(".draft")
            draft.write_text(json.dumps({"sequence": header["sequence"], "end_ns": header["end_ns"]}))
            draft.replace(self._state)

    def notify(self, notice: Notice) -> None:
        """Send an explicit message."""
        said = {
            "task": notice.task, "key": str(notice.key), "time_ns": notice.time_ns, "kind": notice.kind,
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
        if self._writer.ident is not None:
            self._reports.put(None)
            self._writer.join()
        self.client.flush(within_s if self.client.connected else 0.0)
        self.client.close()


def told_of(payload: bytes, arrived_ns: int) -> Told:
    """Read an explicit message; raises BusError for what is none."""
    try:
        given = json.loads(payload)
        told = Told(
            str(given["task"]), int(given["key"]), int(given["time_ns"]), str(given["kind"]), int(given["span"]),
            arrived_ns,
        )  # fmt: skip
    except (ValueError, TypeError, KeyError) as error:
        raise BusError(f"not an explicit message: {error}") from None
    if not 0 < told.key < 2**64 or told.kind not in MESSAGE_KINDS:
        raise BusError(f"not an explicit message: key {told.key}, kind {told.kind!r}")
    return told
