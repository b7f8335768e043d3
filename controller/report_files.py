"""Reports on disk: every epoch report of an agent, written before it is acknowledged."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ..bus.reports import read_report
from ..bus.topics import device_of
from ..errors import BusError
from .planned import write_whole


class ReportFiles:
    """Writes reports to <folder>/<device>/<epoch>-<sequence>.npz."""

    def __init__(self, folder: Path, devices: Collection[str]) -> None:
        self.folder, self.devices = folder, devices
        self.written = 0

    def take(self, topic: str, payload: bytes) -> Path:
        """Write a report as it came; one that has come before is not written again.

        Another report with the same number, which an agent that lost its state may send, gets a name of its own.
        Raises BusError for what is no report of the device that the topic names, OSError where the disk refuses it.
        """
        header, _ = read_report(payload)
        device = header["device"]
        if device != device_of(topic) or device not in self.devices:
            raise BusError(f"a report of {device!r}; the topic is one of {device_of(topic)!r}")
        path = self._place(device, f"{header['epoch']}-{header['sequence']}", payload)
        if not path.exists():
            write_whole(path, payload)
            self.written += 1
        return path

    def _place(self, device: str, name: str, payload: bytes) -> Path:
        """Return the path of a report: that of an equal one, or a new one."""
        folder = self.folder / device
        folder.mkdir(parents=True, exist_ok=True)
        path, copies = folder / f"{name}.npz", 1
        while path.exists() and path.read_bytes() != payload:
            copies += 1
            path = folder / f"{name}-{copies}.npz"
        return path
