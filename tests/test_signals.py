"""Signals that ask for an end: the first in order, a second one as it is meant, the same one twice only once."""

import itertools
import os
import signal
import subprocess
import sys

import pytest
from mozart.signals import Ended, ending_raises, held, stopped_by_signal


@pytest.fixture(autouse=True)
def usual():
    """Let Ctrl-C interrupt, also where these tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_asks_and_a_later_one_interrupts(number, monkeypatch):
    now = itertools.count(100.0, 5.0)
    monkeypatch.setattr("mozart.signals.time.monotonic", lambda: next(now))
    with pytest.raises(KeyboardInterrupt), ending_raises(), stopped_by_signal() as stop:
        os.kill(os.getpid(), number)
        assert stop.is_set() and stop.number == number and stop.status == 128 + number
        os.kill(os.getpid(), number)


def test_timeout_sends_its_signal_twice_and_means_it_once():
    with ending_raises(), stopped_by_signal() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.is_set()


def test_sigterm_undoes_what_a_command_made():
    before = signal.getsignal(signal.SIGTERM)
    undone: list[object] = []
    try:
        with ending_raises():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                undone.append("all")
    except Ended as ended:
        undone.append(ended.number)
    assert undone == ["all", signal.SIGTERM] and signal.getsignal(signal.SIGTERM) == before


def test_a_signal_that_is_ignored_stays_ignored():
    script = (
        "import os, signal\nfrom mozart.signals import *\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with ending_raises(), stopped_by_signal() as stop, held(print):\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n    print(stop.is_set())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "False\n")


def test_what_undoes_a_run_is_not_interrupted():
    said: list[str] = []
    with held(said.append) as came:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
    assert came == [signal.SIGINT, signal.SIGTERM] and len(said) == 1
