"""What a live run needs of a machine: what is there, what is missing, and the command that brings it.

All questions to the machine go through a `Machine`, so that any machine can be described in a test.
"""

from __future__ import annotations

import ctypes.util
import importlib.metadata
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import LiveError
from .ports import holder
from .record import Recorded, recorded_runs

OK, NOTE, MISSING = "ok", "note", "missing"
"""There; not there, and a run goes without; not there, and no run starts."""
SETUP = "sudo scripts/setup live"
PATHS = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin"

PACKAGES = ("paho-mqtt", "ryu", "eventlet", "mininet")
PROGRAMS = (
    # program, Debian's package, how it says its version
    ("ovs-vsctl", "openvswitch-switch", "--version"),
    ("ovs-vswitchd", "openvswitch-switch", "--version"),
    ("mnexec", "mininet", "-v"),
    ("mosquitto", "mosquitto", "-h"),
    ("tcpreplay", "tcpreplay", "--version"),
    ("nft", "nftables", "--version"),
    ("ip", "iproute2", "-V"),
    ("tc", "iproute2", "-V"),
    ("ethtool", "ethtool", "--version"),
    ("sysctl", "procps", "--version"),
    ("nsenter", "util-linux", "--version"),
)
PORTS = ((6653, "controllers"), (1883, "brokers"))
"""The ports by custom; a run takes free ones, so it only matters to know who else is there."""
CONTROL = "/usr/share/openvswitch/scripts/ovs-ctl"
VETH = "ip link add v0 type veth peer name v1 && "
CAPABILITIES = (
    # what, command in a fresh namespace, whether a run needs it, what it means that it is missing
    ("netem", "tc qdisc add dev v0 root netem delay 1ms", False,
     "delays of links are not emulated here, loss is by nftables; kernels of Debian and Ubuntu have it"),
    ("HTB", "tc qdisc add dev v0 root htb", False, "rates of links are not emulated here"),
    ("nftables at egress",
     "nft 'add table netdev x; add chain netdev x e { type filter hook egress device v0 priority 0; }'", True,
     "hosts cannot tag; Linux has it from 5.16 on"),
)  # fmt: skip
TPACKET_V3, PACKET_VERSION, SOL_PACKET, ETH_P_ALL = 2, 10, 263, 3
UNKNOWN = "only root can find out"
"""Found where a user asks what the machine tells root alone."""
ROOTS_RECORDS = Path("/run/mozart")
BRIDGE_NAMES = re.compile(r"s[1-9]\d*")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for."""

    name: str
    state: str
    found: str
    cure: str = ""
    """The command that brings it, or what else to do."""


class Machine:
    """This machine, asked in few ways."""

    def root(self) -> bool:
        """Whether this process may do everything."""
        return os.geteuid() == 0

    def package(self, name: str) -> str | None:
        """Return the version of a Python package."""
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return None

    def program(self, name: str) -> str | None:
        """Return the path of a program."""
        return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), PATHS]))

    def run(self, *command: str) -> tuple[int, str]:
        """Run a command; return its status and what it said."""
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=20, stdin=subprocess.DEVNULL,
                env={**os.environ, "PATH": os.pathsep.join([os.environ.get("PATH", ""), PATHS])},
            )  # fmt: skip
        except FileNotFoundError:
            return 127, f"{command[0]} is not installed"
        except subprocess.TimeoutExpired:
            return 124, f"{command[0]} does not answer"
        return done.returncode, (done.stdout + done.stderr).strip()

    def process(self, name: str) -> bool:
        """Whether a process of this name runs, of any user."""
        for path in Path("/proc").iterdir():
            try:
                if path.name.isdecimal() and (path / "comm").read_text().strip() == name:
                    return True
            except OSError:  # it has ended
                continue
        return False

    def library(self, name: str) -> str | None:
        """Return the name of a shared library."""
        return ctypes.util.find_library(name)

    def exists(self, path: str) -> bool:
        """Whether a path is there."""
        return Path(path).exists()

    def holder(self, port: int) -> str | None:
        """Say who listens on a port."""
        return holder(port)

    def captures(self) -> bool:
        """Whether packets can be captured with a ring: AF_PACKET, TPACKET_V3."""
        try:
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as trial:
                trial.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
        except OSError:
            return False
        return True

    def runs(self) -> list[Recorded]:
        """Return the records of runs."""
        return recorded_runs()


def examine(machine: Machine | None = None) -> list[Finding]:
    """Look for everything that a live run needs; the order is that of the table.

    A cure is a whole command, with sudo only for a user who needs it.
    """
    machine = machine or Machine()
    found = _examine(machine)
    if machine.root():
        found = [replace(finding, cure=finding.cure.replace("sudo ", "")) for finding in found]
    return found


def _examine(machine: Machine) -> list[Finding]:
    return [
        _root(machine),
        Finding("Linux", OK, f"{platform.release()}, {os.cpu_count()} processors"),
        *_packages(machine),
        *_programs(machine),
        _library(machine),
        _open_vswitch(machine),
        _datapath(machine),
        *_capabilities(machine),
        _capture(machine),
        *_ports(machine),
        *_names(machine),
        _left_overs(machine),
    ]


def ours() -> str:
    """Return how the user called this program: sudo's path may lack it."""
    return sys.argv[0] if Path(sys.argv[0]).name == "mozart" else "mozart"


def ready(findings: list[Finding]) -> bool:
    """Whether a run can start."""
    return not any(finding.state == MISSING for finding in findings)


def _root(machine: Machine) -> Finding:
    if machine.root():
        return Finding("root", OK, "yes")
    return Finding("root", MISSING, "no: only root makes switches and namespaces", f"sudo {ours()} doctor")


def _packages(machine: Machine) -> Iterator[Finding]:
    for name in PACKAGES:
        version = machine.package(name)
        if version is None:
            yield Finding(f"Python: {name}", MISSING, "not installed", SETUP)
        elif name == "paho-mqtt" and int(version.split(".")[0]) < 2:
            yield Finding(f"Python: {name}", MISSING, f"{version}, older than 2", SETUP)
        else:
            yield Finding(f"Python: {name}", OK, version)


def _programs(machine: Machine) -> Iterator[Finding]:
    for name, package, option in PROGRAMS:
        path = machine.program(name)
        if path is None:
            yield Finding(name, MISSING, "not installed", f"sudo apt-get install {package}, or {SETUP}")
        else:
            _, said = machine.run(path, option)
            version = re.search(r"\d+(\.\d+)+", said)
            yield Finding(name, OK, version[0] if version else path)


def _library(machine: Machine) -> Finding:
    found = machine.library("nftables")
    if found:
        return Finding("libnftables", OK, found)
    return Finding("libnftables", MISSING, "not installed", f"sudo apt-get install nftables, or {SETUP}")


def _open_vswitch(machine: Machine) -> Finding:
    if machine.run("ovs-appctl", "--timeout=5", "version")[0] == 0:
        return Finding("Open vSwitch", OK, "runs")
    if machine.process("ovs-vswitchd"):
        if machine.root():
            return Finding("Open vSwitch", MISSING, "runs and does not answer", f"sudo {CONTROL} restart")
        return Finding("Open vSwitch", OK, f"runs; whether it answers, {UNKNOWN}")
    start = f"sudo {CONTROL} start"
    return Finding("Open vSwitch", NOTE, "does not run; a live run starts it, and stops it at its end", start)


def _datapath(machine: Machine) -> Finding:
    if machine.exists("/sys/module/openvswitch"):
        return Finding("datapath", OK, "kernel")
    modprobe = machine.program("modprobe")
    if modprobe is None:
        found = "user space: modprobe, which would load the module openvswitch, is not installed"
        return Finding("datapath", NOTE, found, "sudo apt-get install kmod")
    if machine.run(modprobe, "-n", "openvswitch")[0] == 0:
        return Finding("datapath", OK, "kernel, as soon as its module is loaded", "sudo modprobe openvswitch")
    return Finding(
        "datapath",
        NOTE,
        "user space: this kernel has no module openvswitch; some 20,000 packets/s",
        "a kernel of Debian or Ubuntu has it",
    )


def _capabilities(machine: Machine) -> Iterator[Finding]:
    for name, command, needed, meaning in CAPABILITIES:
        if not machine.root():
            yield Finding(name, NOTE, UNKNOWN)
            continue
        status, said = machine.run("unshare", "--net", "sh", "-c", VETH + command)
        if status == 0:
            yield Finding(name, OK, "yes")
        else:
            why = said.splitlines()[0] if said else f"status {status}"
            yield Finding(name, MISSING if needed else NOTE, f"no ({why})", meaning)


def _capture(machine: Machine) -> Finding:
    if not machine.root():
        return Finding("capture ring", NOTE, UNKNOWN)
    if machine.captures():
        return Finding("capture ring", OK, "AF_PACKET, TPACKET_V3")
    return Finding("capture ring", MISSING, "no AF_PACKET sockets with TPACKET_V3", "a kernel with CONFIG_PACKET")


def _ports(machine: Machine) -> Iterator[Finding]:
    for port, whose in PORTS:
        who = machine.holder(port)
        if who:
            yield Finding(f"port {port}", NOTE, f"in use by {who}; a run takes other ports than that of {whose}")
        else:
            yield Finding(f"port {port}", OK, "free")


def _names(machine: Machine) -> Iterator[Finding]:
    status, said = machine.run("ovs-vsctl", "--timeout=5", "list-br")
    if status:
        if machine.process("ovsdb-server"):  # else nobody has a bridge
            why = (said or f"status {status}").splitlines()[0]
            yield Finding("bridges", NOTE, f"Open vSwitch does not say: {why}" if machine.root() else UNKNOWN)
        return
    taken = [name for name in said.split() if BRIDGE_NAMES.fullmatch(name)]
    if taken:
        names = ", ".join(taken[:8]) + (" ..." if len(taken) > 8 else "")
        yield Finding("bridges", NOTE, f"there already: {names}", "a network with switches of these names is refused")


def _left_overs(machine: Machine) -> Finding:
    try:
        runs = machine.runs()
    except LiveError as error:
        return Finding("earlier runs", MISSING, str(error), "see there")
    dead = [run for run in runs if not run.running]
    if dead:
        names = ", ".join(f"{run.id} ({len(run.things)} things)" for run in dead)
        return Finding("earlier runs", MISSING, f"left something behind: {names}", f"sudo {ours()} clean")
    alive = ", ".join(f"{run.id} in {run.folder}" for run in runs)
    if alive:
        return Finding("earlier runs", NOTE, f"under way: {alive}")
    if not machine.root() and machine.exists(str(ROOTS_RECORDS)):
        return Finding("earlier runs", NOTE, f"none of yours; of root's, {UNKNOWN}")
    return Finding("earlier runs", OK, "none left")
