"""Who goes first on a processor: an agent's rounds, as long as they are short, so that a tag waits for nobody.

1. The process has the nice value of ovs-vswitchd. Where it has a session to itself (as in a live run), the session has
   it too: the kernel may share processors out among sessions first (sched(7), autogroup).
2. The thread that does the rounds is a real-time thread (SCHED_RR), which goes on at once when a pause is over.
3. Once it has worked for `LONGEST_S` without a pause it is one no more, so that it keeps no processor from all others
   (the kernel tells by SIGXCPU), until it pauses again.

Where the user may not (CAP_SYS_NICE), nothing of it is done, and tags come a little later.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from pathlib import Path
from typing import Self

NICE = -10
AUTOGROUP = Path("/proc/self/autogroup")
REALTIME = 1
LONGEST_S = 0.1
MICRO = 1_000_000


class Priority:
    """The priority of the main thread, which does the rounds; real-time within `with` only."""

    def __init__(self) -> None:
        self.realtime = False
        """Whether it is a real-time thread now."""
        self._may = True

    def __enter__(self) -> Self:
        """Do steps 1 and 2, in the main thread; of threads that are there already, step 1 raises the session only."""
        signal.signal(signal.SIGXCPU, self._give_up)
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, NICE)
            if os.getsid(0) == os.getpid():
                AUTOGROUP.write_text(str(NICE))
        self.paused()
        return self

    def __exit__(self, *error: object) -> None:
        """Be no real-time thread any more: what comes now may take long."""
        self._may = False
        self._give_up()

    def paused(self) -> None:
        """Be a real-time thread again, after a pause."""
        if self.realtime or not self._may:
            return
        try:
            # the kernel has moved the limit with its signal; without any, there would be none
            resource.setrlimit(resource.RLIMIT_RTTIME, (round(LONGEST_S * MICRO), resource.RLIM_INFINITY))
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(REALTIME))
            self.realtime = True
        except (OSError, ValueError):
            self._may = False

    def _give_up(self, *_: object) -> None:
        """Step 3."""
        if self.realtime:
            os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
            self.realtime = False
