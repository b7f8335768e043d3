"""Small real networks for the tests of the agents: two namespaces and a veth pair, undone at the end.

Names carry the process's number, so test runs side by side do not meet. Offloads are off: what is sent is what arrives.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from mozart.agents.netns import network_of

needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("ip") is None,
    reason="needs root and iproute2: makes network namespaces",
)
needs_ethtool = pytest.mark.skipif(shutil.which("ethtool") is None, reason="needs ethtool")


def run(*command: str) -> str:
    """Run a command to its end; its output. Fails with what the command said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr or done.stdout}"
    return done.stdout


def until(condition: Callable[[], object], what: str, within_s: float = 10.0) -> None:
    """Wait until a condition holds; fail, saying what was waited for, after a deadline."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, f"waited {within_s} s for {what}"
        time.sleep(0.002)


@dataclass(frozen=True)
class Side:
    """One end of the pair: a namespace with one interface."""

    netns: str
    interface: str
    pid: int
    """A process that lives in the namespace."""

    def run(self, *command: str) -> str:
        """Run a command inside."""
        return run("ip", "netns", "exec", self.netns, *command)

    def send(self, frames: list[bytes]) -> None:
        """Send frames from inside, as they are."""
        with network_of(self.pid), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
            out.bind((self.interface, 0))
            for frame in frames:
                out.send(frame)

    def replay(self, trace: Path, *options: str) -> str:
        """Send a trace with tcpreplay; its output."""
        return self.run("tcpreplay", "-i", self.interface, *options, str(trace))


@contextmanager
def veth_pair(mtu: int = 1500) -> Iterator[tuple[Side, Side]]:
    """Two namespaces, joined by a veth pair."""
    names = [f"mzt{os.getpid() % 100000}{end}" for end in "ab"]
    interfaces = [f"{name}0" for name in names]
    sleepers: list[subprocess.Popen[bytes]] = []
    try:
        for name in names:
            run("ip", "netns", "add", name)
        ends = "type", "veth", "peer", "name", interfaces[1], "netns", names[1]
        run("ip", "-n", names[0], "link", "add", interfaces[0], *ends)
        for name, interface in zip(names, interfaces, strict=True):
            inside = ("ip", "netns", "exec", name)
            run(*inside, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
            run("ip", "-n", name, "link", "set", interface, "mtu", str(mtu), "up")
            with suppress(AssertionError):  # not all kernels let all of them be changed
                run(*inside, "ethtool", "-K", interface, "tx", "off", "gso", "off", "tso", "off", "gro", "off")
            sleepers.append(subprocess.Popen([*inside, "sleep", "600"]))
        for name, sleeper in zip(names, sleepers, strict=True):
            entered = Path(f"/proc/{sleeper.pid}/ns/net"), Path(f"/run/netns/{name}")
            until(lambda e=entered: e[0].stat().st_ino == e[1].stat().st_ino, f"a process in namespace {name}")
        a, b = (
            Side(name, interface, sleeper.pid)
            for name, interface, sleeper in zip(names, interfaces, sleepers, strict=True)
        )
        yield a, b
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
