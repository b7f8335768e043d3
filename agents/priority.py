"""Who goes first on a processor: an agent's rounds, as long as they are short, so that a tag waits for nobody.

1. The process has the nice value of ovs-vswitchd. Where it has a session to itself (as in a live run), the session has
   it too: the kernel may share processors out among sessions first (sched(7), autogroup). So have the broker and the
   controller (live/processes.py): an agent that cannot keep up goes beside them and not before them.
2. The thread that does the rounds is a real-time thread (SCHED_RR), which goes on at once when a pause is over.
3. Once it has worked for `LONGEST_S` without a pause it is one no more, so that it keeps no processor from all others
   (the kernel tells by SIGXCPU), until it pauses again; and it is none where it was at work for more than `MOST_SHARE`
   of the last `WINDOW_S`, with whatever pauses.

Where the user may not (CAP_SYS_NICE), nothing of it is done, and tags come a little later.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from pathlib import Path
from typing import Self

NICE = -10
REALTIME = 1
LONGEST_S = 0.1
WINDOW_S = 0.25
MOST_SHARE = 0.75
MICRO = 1_000_000


def go_first(process: int | None = None) -> None:
    """Give a process, or this one, the nice value `NICE`, and its session too where it is the first of one."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process or 0, NICE)
        if os.getsid(process or 0) == (process or os.getpid()):
            set_session_priority(process or os.getpid(), NICE)


def session_priority(process: int) -> int:
    """Return the nice value of a process's session; OSError where it is gone, or the kernel has none."""
    return int(Path(f"/proc/{process}/autogroup").read_text().rpartition(" ")[2])


def set_session_priority(process: int, nice: int) -> None:
    """Set it; raises OSError where that is not permitted."""
    Path(f"/proc/{process}/autogroup").write_text(str(nice))


class Priority:
    """The priority of the main thread, which does the rounds; real-time within `with` only."""

    def __init__(self) -> None:
        self.realtime = False
        """Whether it is a real-time thread now."""
        self._may = True
        self._window = time.monotonic(), time.thread_time()
        self._overworked = False

    def __enter__(self) -> Self:
        """Do steps 1 and 2, in the main thread; of threads that are there already, step 1 raises the session only."""
        signal.signal(signal.SIGXCPU, self._give_up)
        go_first()
        self.paused()
        return self

    def __exit__(self, *error: object) -> None:
        """Be no real-time thread any more: what comes now may take long."""
        self._may = False
        self._give_up()

    def paused(self) -> None:
        """Be a real-time thread again, after a pause, unless it is at work nearly all the time."""
        if self._is_overworked():
            self._give_up()
            return
        if self.realtime or not self._may:
            return
        try:
            # the kernel has moved the limit with its signal; without any, there would be none
            resource.setrlimit(resource.RLIMIT_RTTIME, (round(LONGEST_S * MICRO), resource.RLIM_INFINITY))
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(REALTIME))
            self.realtime = True
        except (OSError, ValueError):
            self._may = False

    def _is_overworked(self) -> bool:
        since_s, used_s = self._window
        now_s = time.monotonic()
        if now_s - since_s >= WINDOW_S:
            self._window = now_s, time.thread_time()
            self._overworked = self._window[1] - used_s > MOST_SHARE * (now_s - since_s)
        return self._overworked

    def _give_up(self, *_: object) -> None:
        """Step 3."""
        if self.realtime:
            os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
            self.realtime = False
