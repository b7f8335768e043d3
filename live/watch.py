"""Looks after what no process of a run tells: Open vSwitch's daemon, the bridges, and the room on the disk.

What is the run's own is made again: bridges of a network that it made, and the daemon where it started it.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path

from ..errors import LiveError
from .incidents import Incidents
from .network import OVS_FOLDER, Network, run
from .things import start_tick

DAEMON = "ovs-vswitchd"
DAEMON_S, BRIDGES_S, DISK_S = 0.1, 0.5, 0.5
"""How often each is looked at."""
GONE_S = 2.0
"""A daemon that was ours and has been gone for so long is started again."""
ROOM_BYTES = 1 << 20
"""With less room than that a disk counts as full."""
TRIES = 3
"""So often a bridge is made again before it is left alone."""

Identity = tuple[int, int]
"""Process id and start tick."""


class Watch:
    """Looks at all of them when asked to, each at its own pace."""

    def __init__(
        self, incidents: Incidents, network: Network, folder: Path, restart: Callable[[], object] | None
    ) -> None:
        """`restart` starts Open vSwitch again; None: it is not the run's."""
        self.incidents, self.network, self.folder, self.restart = incidents, network, folder, restart
        self._daemon = self._last_daemon = daemon()
        self._gone_at_s = 0.0
        self._next: dict[str, float] = {}
        self._tries: dict[str, int] = {}

    def look(self, away: Collection[str]) -> None:
        """Look at what is due; `away` are the switches without a connection to the controller."""
        if self._due("daemon", DAEMON_S):
            self._look_at_daemon()
        if self._due("disk", DISK_S):
            self.look_at_disk()
        if away and self._daemon is not None and self._due("bridges", BRIDGES_S):
            self._look_at_bridges(away)

    @property
    def disk_full(self) -> bool:
        """Whether the disk was full at the last look."""
        return bool(self.incidents.book.lasting("disk"))

    def _due(self, what: str, every_s: float) -> bool:
        now_s = time.monotonic()
        if now_s < self._next.get(what, 0.0):
            return False
        self._next[what] = now_s + every_s
        return True

    def _look_at_daemon(self) -> None:
        found, key = daemon(), ("daemon",)
        if found == self._daemon and found is not None:
            return
        if self._daemon is not None:
            self._gone_at_s = time.monotonic()
            text = f"{DAEMON} (process {self._daemon[0]}) has ended; until it is back nothing is forwarded"
            self.incidents.stand(key, "open-vswitch", DAEMON, text)
        self._daemon = found
        if found is not None:
            self.network.daemon_is_back()
            self.incidents.over(key, f"process {found[0]} runs now")
        elif self._last_daemon and self.restart is not None and time.monotonic() - self._gone_at_s > GONE_S:
            self._gone_at_s = time.monotonic()
            try:
                self.restart()
            except LiveError as error:
                self.incidents.note("open-vswitch", DAEMON, f"{DAEMON} could not be started again: {error}")

    def look_at_disk(self) -> None:
        """Tell when the disk of the run folder has become full, and when there is room again."""
        try:
            found = os.statvfs(self.folder)
        except OSError:  # the folder itself is gone: others say so
            return
        room, key = found.f_bavail * found.f_frsize, ("disk",)
        if room < ROOM_BYTES:
            why = f"{os.strerror(errno.ENOSPC)} (ENOSPC)"
            text = f"{self.folder}: {why}; what is measured from now on cannot be kept"
            self.incidents.stand(key, "disk-full", str(self.folder), text)
        elif room > 2 * ROOM_BYTES:
            self.incidents.over(key, "there is room again")

    def _look_at_bridges(self, away: Collection[str]) -> None:
        """Make bridges again that another program has deleted, where this network is of our making."""
        try:
            there = set(run(["ovs-vsctl", "--timeout=5", "list-br"]).split())
        except LiveError:
            return  # it does not answer: its daemon is looked at elsewhere
        for name in sorted(set(away) - there):
            key = ("bridge", name)
            text = f"the bridge {name} was deleted by another program"
            if not self.network.can_remake:
                self.incidents.stand(key, "bridge-deleted", name, f"{text}; it is not ours to make again")
            elif self._tries.get(name, 0) < TRIES:
                self._tries[name] = self._tries.get(name, 0) + 1
                self.incidents.stand(key, "bridge-deleted", name, text)
                self._remake(name, key)

    def _remake(self, name: str, key: tuple[str, ...]) -> None:
        try:
            self.network.remake(name)
        except LiveError as error:
            self.incidents.note("bridge-deleted", name, f"the bridge {name} could not be made again: {error}")
        else:
            self.incidents.over(key, "it was made again")


def daemon() -> Identity | None:
    """Return the daemon that runs, None where there is none."""
    try:
        pid = int((OVS_FOLDER / f"{DAEMON}.pid").read_text())
    except (OSError, ValueError):
        return None
    tick = start_tick(pid)
    return None if tick is None else (pid, tick)
