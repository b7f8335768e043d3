"""The agent's process: several devices in rounds, from their rings to the bus. `python -m mozart.agents.agent --help`

One thread does the rounds of all devices. In each round all devices first do what has to be quick, so that a tag waits
for the packets of the others at most; then, for a millisecond, some do what can wait (`device.py` says what is what).
Between two rounds it pauses for a multiple of the time that the last one took, at least a millisecond and at most four:
packets that came meanwhile are taken together, which is what keeps many devices with few packets each cheap. Where
packets come quicker than that suits there is no pause.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ..bus.access import BrokerAccess, read_access
from ..errors import MozartError
from .bus_link import BusLink
from .kept import Kept
from .places import Place, read_places
from .priority import Priority
from .warm_up import warm_up

SHORTEST_PAUSE_S, LONGEST_PAUSE_S, PAUSES = 0.001, 0.004, 2
IDLE_S = 0.02
MANY = 8192
"""Packets of one device in one round from which on there is no time to pause."""
TEND_S = 0.001
"""How long a round may go on with what can wait; what was begun is finished."""
COLLECT_S, COLLECT_ALL = 1.0, 60
"""How often young garbage is looked for, and at every how many of these times all of it."""
SWITCH_S = 0.0002
"""How long another thread (the bus has some a device) may keep this one from going on, while both have work."""
FAREWELL_S = 5.0


class Agent:
    """Several devices, and the loop that serves them."""

    def __init__(self, places: Sequence[Place], access: BrokerAccess) -> None:
        """Open all rings and taggers; raises LiveError or BusError, and leaves nothing open, where one cannot be."""
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.links = [BusLink(place.device, access, self.wake) for place in places]
        self.devices: list[Kept] = []
        try:
            for place, link in zip(places, self.links, strict=True):
                self.devices.append(Kept(place, link))
        except MozartError:
            for kept in self.devices:
                if kept.device is not None:
                    kept.device.let_go()
            os.close(self._wake_read)
            os.close(self._wake_write)
            raise
        self._stopping = False
        self._turn = 0
        self._collect_at, self._collections = 0.0, 0
        self._poll = select.poll()
        self._polled: tuple[int, ...] = ()

    def wake(self) -> None:
        """End the current pause, from any thread or signal handler."""
        with contextlib.suppress(BlockingIOError):  # full: it will wake
            os.write(self._wake_write, b".")

    def stop(self, *_: object) -> None:
        """End the loop after the round that it is in."""
        self._stopping = True
        self.wake()

    def run(self, remove_tags: bool = False) -> None:
        """Serve the devices until `stop`; then report, and say farewell to the bus."""
        for link in self.links:
            link.start()
        with Priority() as priority:
            self._do_rounds(priority)
        for device in self.devices:
            device.close(time.time_ns(), remove_tags)
        for link in self.links:
            try:
                link.close(FAREWELL_S)
            except Exception as error:
                logging.getLogger("mozart.agent").error("%s: no farewell", link.device, exc_info=error)

    def _do_rounds(self, priority: Priority) -> None:
        pause_s = 0.0
        while not self._stopping:
            self._wait(pause_s)
            if pause_s:
                priority.paused()
            begun = time.perf_counter()
            most = max(device.react(time.time_ns()) for device in self.devices)
            self._tend()
            took_s = time.perf_counter() - begun
            pause_s = 0.0 if most >= MANY else min(max(PAUSES * took_s, SHORTEST_PAUSE_S), LONGEST_PAUSE_S)

    def _tend(self) -> None:
        """Let devices do what can wait, each in its turn, until there is nothing more or it has taken long enough."""
        end = time.perf_counter() + TEND_S
        for _ in self.devices:
            tended = self.devices[self._turn].tend(time.time_ns())
            self._turn = (self._turn + 1) % len(self.devices)
            if tended and time.perf_counter() >= end:
                return
        if end >= self._collect_at:
            self._collect_at = end + COLLECT_S
            self._collections += 1
            gc.collect(2 if self._collections % COLLECT_ALL == 0 else 1)

    def _wait(self, pause_s: float) -> None:
        """Pause, then wait until a device has packets or the bus has said something."""
        time.sleep(pause_s)
        descriptors = [self._wake_read]
        for device in self.devices:
            descriptors += device.descriptors()
        if (wanted := tuple(descriptors)) != self._polled:
            self._poll, self._polled = select.poll(), wanted
            for descriptor in wanted:
                if descriptor >= 0:
                    self._poll.register(descriptor, select.POLLIN)
        for descriptor, _ in self._poll.poll(IDLE_S * 1000):
            if descriptor == self._wake_read:
                os.read(self._wake_read, 4096)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run an agent until SIGTERM or SIGINT; exit status 1 where it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m mozart.agents.agent", description=(__doc__ or "").split("`")[0])
    parser.add_argument("--devices", type=Path, required=True, help="JSON file of the devices to serve")
    parser.add_argument("--broker", type=Path, required=True, help="file with the broker's address and passwords")
    parser.add_argument("--remove-tags", action="store_true", help="when stopped, end the tags that are in force")
    options = parser.parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        places, access = read_places(options.devices), read_access(options.broker)
        warm_up()
        agent = Agent(places, access)
    except MozartError as error:
        print(f"mozart agent: {error}", file=sys.stderr)
        return error.exit_code
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (most, most)
    )  # each device has some files open; 1,024 is the usual limit
    keep()
    sys.setswitchinterval(SWITCH_S)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, agent.stop)
    agent.run(options.remove_tags)
    return 0


def keep() -> None:
    """Spare what is there for good (modules, compiled code) the garbage collector: a full search takes 0.1 s.

    From now on garbage is looked for where this process says so: a thread of the bus that did would keep the rounds
    waiting for as long as it is kept waiting itself.
    """
    gc.collect()
    gc.freeze()
    gc.disable()


if __name__ == "__main__":
    sys.exit(main())
