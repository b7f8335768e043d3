"""One device of an agent, kept at work: what fails in it is counted and told, and it is begun anew.

`Device` contains what fails in one of its modules. Whatever else is raised in a device ends it, and no other device of
the agent: it lets go of ring and tagger, its status says why, and after a pause it is made anew, with the configuration
that it had. Tags in force stay in force. What was measured since its last report is lost; the next report names the gap
and counts the fault.
"""

from __future__ import annotations

import contextlib
import logging
import time

from ..bus.config import DeviceConfig
from ..errors import MozartError
from .device import Device
from .link import Link
from .places import Place

FIRST_PAUSE_NS, LONGEST_PAUSE_NS = 100_000_000, 10_000_000_000
"""Before it is begun anew; the pause doubles with each time that it fails."""
WELL_NS = 60_000_000_000
"""When it has worked for so long without failing, the pause is the first again."""

log = logging.getLogger("mozart.agent")


class Kept:
    """A device, or the pause before it is begun anew. Not thread-safe."""

    def __init__(self, place: Place, link: Link) -> None:
        """Open the device; raises LiveError where that cannot be."""
        self.place, self.link = place, link
        self.device: Device | None = Device(place, link)
        self.faults = 0
        """Times that it failed."""
        self.fault = ""
        self._uncounted = 0
        self._config: DeviceConfig | None = None
        self._pause_ns, self._again_ns, self._failed_ns = FIRST_PAUSE_NS, 0, 0

    def react(self, now_ns: int) -> int:
        """Do what has to be quick; return the number of packets that there were."""
        if self.device is None:
            self._begin_again(now_ns)
            return 0
        try:
            return self.device.react(now_ns)
        except Exception as error:
            self._fail(error, now_ns)
            return 0

    def tend(self, now_ns: int) -> bool:
        """Do what can wait; return whether there was something."""
        if self.device is None:
            return False
        try:
            return self.device.tend(now_ns)
        except Exception as error:
            self._fail(error, now_ns)
            return True

    def descriptors(self) -> tuple[int, int]:
        """Return the descriptors to poll; -1 where there is none."""
        return (-1, -1) if self.device is None else (self.device.ring.fileno(), self.device.tagger.fileno())

    def close(self, now_ns: int, remove_tags: bool = False) -> None:
        """End the device in order, as far as it lets itself be ended."""
        if self.device is not None:
            try:
                self.device.close(now_ns, remove_tags)
                return
            except Exception as error:
                self._fail(error, now_ns)
        with contextlib.suppress(MozartError):
            self.link.status({"state": "stopped", "revision": self._revision, "faults": [self.fault]})

    @property
    def _revision(self) -> int | None:
        return None if self._config is None else self._config.revision

    def _fail(self, error: Exception, now_ns: int) -> None:
        """Let go of the device, say why, and begin it anew after a pause."""
        assert self.device is not None
        device, self.device = self.device, None
        self._config = device.config
        self.faults += 1
        self._uncounted += 1
        self.fault = f"{type(error).__name__}: {error}"
        self._pause_ns = (
            FIRST_PAUSE_NS if now_ns - self._failed_ns > WELL_NS else min(2 * self._pause_ns, LONGEST_PAUSE_NS)
        )
        self._failed_ns, self._again_ns = now_ns, now_ns + self._pause_ns
        log.error("%s failed, and is begun anew in %.1f s", self.place.device, self._pause_ns / 1e9, exc_info=error)
        device.let_go()
        with contextlib.suppress(Exception):  # the bus may be what failed
            said = {"state": "failed", "revision": self._revision, "restarts": self.faults, "faults": [self.fault]}
            self.link.status(said)

    def _begin_again(self, now_ns: int) -> None:
        if now_ns < self._again_ns:
            return
        try:
            device = Device(self.place, self.link)
        except Exception as error:  # the interface may be away; that may be why it failed
            self._again_ns = now_ns + self._pause_ns
            if self.fault != str(error):
                log.warning("%s: cannot begin anew: %s", self.place.device, error)
            self.fault = str(error)
            return
        self.device = device
        device.counters["device_faults"] += self._uncounted
        self._uncounted = 0
        if self._config is not None:
            try:
                device.configure(self._config, time.time_ns())
            except Exception as error:
                self._fail(error, now_ns)
                return
        log.warning("%s is at work again", self.place.device)
