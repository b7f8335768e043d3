"""Flows as a file of nfdump: IPFIX messages are sent to nfdump's own collector on this machine, which writes the file.

nfdump's file format is its own, and changes with its versions; nfcapd, which belongs to it, writes the right one.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..errors import SpecError
from ..replay.flow_ipfix import ipfix_messages, recorded

HOST = "127.0.0.1"
DEADLINE_S = 20.0
AHEAD_BYTES = 1 << 16
"""After so much sent it is waited until the collector has read it: a datagram that finds no room is lost."""
LOOK_S = 0.01


def write_nfdump(tables: Iterable[Any], path: Path) -> int:
    """Write what monitors recorded of flows as a file that nfdump reads; returns how many flows it has.

    Raises SpecError where nfdump is not installed, or where its collector did not take all of them.
    """
    for program in ("nfcapd", "nfdump"):
        if shutil.which(program) is None:
            raise SpecError(f"{program} is not on this machine; install it with: apt-get install nfdump")
    rows = recorded(tables)
    with tempfile.TemporaryDirectory(prefix="mozart-nfcapd-") as place:
        port = _free_port()
        _collect(rows, Path(place), port)
        files = sorted(Path(place).glob("nfcapd.*"))
        found = sum(flows_in(file) for file in files)
        if found != len(rows) or len(files) != 1:
            raise SpecError(f"{path}: nfcapd took {found:,} of {len(rows):,} flows in {len(files)} files; try again")
        shutil.copyfile(files[0], path)
    return len(rows)


def _collect(rows: Any, place: Path, port: int) -> None:
    """Run a collector, send it the messages, and end it, so that it writes its file."""
    command = ["nfcapd", "-b", HOST, "-p", str(port), "-w", str(place), "-t", "3600", "-B", "4000000"]
    log = place / "log"
    with log.open("wb") as output:
        collector = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            _wait(lambda: _listens(port), collector, log)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sent = 0
                for message in ipfix_messages(rows):
                    sender.sendto(message, (HOST, port))
                    sent += len(message)
                    if sent > AHEAD_BYTES:
                        _wait(lambda: not _queued(port), collector, log)
                        sent = 0
            _wait(lambda: not _queued(port), collector, log)
        finally:
            collector.terminate()
            try:
                collector.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                collector.kill()
                collector.wait()


def flows_in(file: Path) -> int:
    """Return how many flows a file of nfdump has, as nfdump says."""
    said = subprocess.run(["nfdump", "-I", "-r", str(file)], capture_output=True, text=True, timeout=60)
    found = re.search(r"^Flows:\s*(\d+)", said.stdout, re.MULTILINE)
    if found is None:
        raise SpecError(f"nfdump cannot read what nfcapd wrote: {(said.stderr or said.stdout).strip()}")
    return int(found.group(1))


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _wait(what: Callable[[], bool], collector: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for something that the collector does; raises SpecError where it ended, or the deadline is over."""
    deadline = time.monotonic() + DEADLINE_S
    while not what():
        if collector.poll() is not None:
            raise SpecError(f"nfcapd ended: {log.read_text(errors='replace').strip()}")
        if time.monotonic() > deadline:
            raise SpecError(f"nfcapd did not take its messages within {DEADLINE_S:g} s")
        time.sleep(LOOK_S)


def _listens(port: int) -> bool:
    return _entry(port) is not None


def _queued(port: int) -> int:
    """Return how many bytes wait at the collector's socket."""
    entry = _entry(port)
    return 0 if entry is None else int(entry.split()[4].split(":")[1], 16)


def _entry(port: int) -> str | None:
    """Return the kernel's line about the UDP socket on a port; None where there is none."""
    wanted = f":{port:04X}"
    lines = Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]
    return next((line for line in lines if line.split()[1].endswith(wanted)), None)
