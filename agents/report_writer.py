"""The writer of a device's reports: a thread that packs and spools them, so that a slow disk delays no tag.

1. A report is put in the spool, and sent from there (bus/client.py). Beside the spool stands what the next agent of the
   device must know: number and end of the last report.
2. Where the disk does not take it, that is counted and told, and it is tried again every `RETRY_S`. Meanwhile it is
   sent from memory, where the broker is there: it is done as soon as the broker has it, or the disk.
3. Reports that wait are in memory, at most `MOST_BYTES` of them: beyond that the oldest is lost, and counted.

Whatever else goes wrong with a report costs that report alone, and is counted.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..bus import topics
from ..bus.client import BusClient, Sent
from ..bus.messages import pack

RETRY_S = 1.0
MOST_BYTES = 64 << 20
HEADER_BYTES = 4096
"""What a report takes in memory beside its columns, about."""

Report = tuple[Mapping[str, Any], Mapping[str, NDArray[Any]]]

log = logging.getLogger("mozart.agent")


class ReportWriter:
    """Takes reports from the rounds, and sees to it that they reach the bus. Thread-safe."""

    def __init__(self, device: str, client: BusClient, state: Path) -> None:
        """Prepare; `state` is the file of the last report's number and end."""
        self.device, self.client, self._state = device, client, state
        self.disk_errors = self.lost = 0
        """Times that the disk refused something; reports that were lost."""
        self.fault = ""
        """What is wrong with the disk now."""
        self._reports: deque[tuple[int, Report]] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._write, name=f"reports of {device}", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, header: Mapping[str, Any], columns: Mapping[str, NDArray[Any]]) -> None:
        """Take a report; where too many wait, the oldest of them is given up."""
        size = HEADER_BYTES + sum(int(column.nbytes) for column in columns.values())
        with self._changed:
            self._reports.append((size, (header, columns)))
            self._bytes += size
            while self._bytes > MOST_BYTES and len(self._reports) > 1:
                self._bytes -= self._reports.popleft()[0]
                self._lose("more reports wait than there is memory for")
            self._changed.notify_all()

    def close(self) -> None:
        """Write what is left, each report once, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._reports or self._closing)
                if not self._reports:
                    return
                size, (header, columns) = self._reports.popleft()
            try:
                self._write_one(header, columns)
            except Exception:
                log.exception("%s: report %s", self.device, header.get("sequence"))
                self._lose("it could not be written")
            with self._changed:
                self._bytes -= size

    def _write_one(self, header: Mapping[str, Any], columns: Mapping[str, NDArray[Any]]) -> None:
        """Write a report down, or send it, whichever works first (steps 1 and 2)."""
        payload = pack(header, columns)
        sent: Sent | None = None
        while True:
            try:
                self.client.publish_spooled(topics.report(self.device), payload)
                self.fault = ""
                break
            except OSError as error:
                self._complain(f"cannot write reports to {error.filename or self._state.parent}: {error.strerror}")
            if self.client.connected and (sent is None or (sent.reason is not None and not sent.is_taken)):
                sent = self.client.post(topics.report(self.device), payload)
            if sent is not None:
                self.client.wait_answer(sent, RETRY_S)
                if sent.is_taken:
                    break
            if self._wait_retry():
                self._lose("neither disk nor broker takes it, and the agent ends")
                return
        self._note_last(header)

    def _wait_retry(self) -> bool:
        """Wait until it is time to try again; return whether the agent ends instead."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closing, RETRY_S)

    def _note_last(self, header: Mapping[str, Any]) -> None:
        """Write down which report was the last; without that, the next agent's numbers may come twice."""
        draft = self._state.with_suffix(".draft")
        try:
            draft.write_text(json.dumps({"sequence": header["sequence"], "end_ns": header["end_ns"]}))
            draft.replace(self._state)
        except OSError as error:
            self._complain(f"cannot write {self._state}: {error.strerror}")

    def _complain(self, fault: str) -> None:
        self.disk_errors += 1
        if fault != self.fault:
            log.error("%s: %s", self.device, fault)
        self.fault = fault

    def _lose(self, why: str) -> None:
        self.lost += 1
        log.error("%s: a report is lost: %s", self.device, why)
