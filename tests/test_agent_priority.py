"""Who goes first: real-time with pauses, not without, and as before where the user may not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mozart.tests.needs import needs

ROOM = str(Path(__file__).resolve().parent.parent)
PROGRAM = """
import os, sys, time
sys.path.insert(0, {room!r})
from mozart.agents.priority import Priority
priority = Priority()
priority.__enter__()
def policy():
    return os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
def works_until_given_up():
    end = time.monotonic() + 30
    while priority.realtime:
        assert time.monotonic() < end
"""
REST = """
print(priority.realtime, policy() == os.SCHED_RR, os.getpriority(os.PRIO_PROCESS, 0))
for _ in range(2):
    works_until_given_up()
    print(priority.realtime, policy() == os.SCHED_OTHER, os.getpriority(os.PRIO_PROCESS, 0))
    priority.paused()
    print(priority.realtime, policy() == os.SCHED_RR)
priority.__exit__()
priority.paused()
print(priority.realtime, policy() == os.SCHED_OTHER)
end = time.thread_time() + 0.5  # what comes now may take long
while time.thread_time() < end:
    pass
"""


def said(rest: str, old: str = "", new: str = "") -> list[str]:
    # a program that ends as a real-time thread may be ended by SIGXCPU, when its end takes long
    program = f"{PROGRAM}{rest}priority.__exit__()\n".replace("{room!r}", repr(ROOM))
    program = program.replace(old, new) if old else program
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@needs("root")
def test_a_thread_that_never_pauses_is_real_time_no_more_until_it_pauses():
    try:
        before = os.sched_getscheduler(0), os.sched_getparam(0)
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        os.sched_setscheduler(0, *before)
    except OSError:
        pytest.skip("root may not be a real-time process here")
    found = said(REST)
    assert found == ["True True -10", *["False True -10", "True True"] * 2, "False True"]


OVERWORKED = """
from mozart.agents import priority as module
module.MOST_SHARE = 0.3  # a busy machine may not give it more
def rounds(work_s, pause_s, wanted):
    end = time.monotonic() + 30
    while priority.realtime is not wanted:
        assert time.monotonic() < end
        until = time.thread_time() + work_s
        while time.thread_time() < until:
            pass
        time.sleep(pause_s)
        priority.paused()
    return policy() == (os.SCHED_RR if wanted else os.SCHED_OTHER)
print(priority.realtime, rounds(0.05, 0.001, False), rounds(0.001, 0.05, True))
"""


@needs("root")
def test_a_thread_that_works_nearly_all_the_time_is_not_real_time_however_often_it_pauses():
    if said("print(priority.realtime)\n") != ["True"]:
        pytest.skip("root may not be a real-time process here")
    assert said(OVERWORKED) == ["True True True"]


@needs("root")
def test_who_may_not_goes_on_as_before():
    nobody = "os.setgroups([]); os.setgid(65534); os.setuid(65534)\npriority = Priority()"
    found = said("print(priority.realtime, policy() == os.SCHED_OTHER)\n", "priority = Priority()", nobody)
    assert found == ["False True"]
