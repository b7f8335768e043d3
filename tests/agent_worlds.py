"""Small real networks for the tests of the agents: two namespaces joined by a veth pair or a bridge, undone at the end.

Names carry the process's number, so test runs side by side do not meet. Offloads are off: what is sent is what arrives.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from mozart.agents.device import Device
from mozart.agents.link import Refused, Told
from mozart.agents.netns import network_of
from mozart.agents.selecting import Notice
from mozart.bus.config import Code, DeviceConfig, MonitorConfig, SelectorConfig
from mozart.tests.needs import needs, run_ovs
from mozart.tests.packet_worlds import LINKS, Frame, pcap
from mozart.traces.keys import seeded_secret
from numpy.typing import NDArray

needs_root = needs("root", "ip")
WORLDS = itertools.count()
"""A number for each world of this process, which stands in its names."""
OVS_RUN = Path("/var/run/openvswitch")
needs_ovs, needs_nft, needs_tcpreplay = needs("ovs"), needs("nft"), needs("tcpreplay")


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
def namespace(name: str, interface: str, mtu: int = 1500) -> Iterator[Side]:
    """A namespace with one end of a veth pair, which the caller has made and named."""
    inside = ("ip", "netns", "exec", name)
    with ExitStack() as undo:
        undo.callback(subprocess.run, ["ip", "netns", "del", name], capture_output=True)
        run("ip", "netns", "add", name)
        run(*inside, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        run("ip", "link", "set", interface, "netns", name)
        run("ip", "-n", name, "link", "set", interface, "mtu", str(mtu), "up")
        offloads_off(interface, *inside)
        sleeper = subprocess.Popen([*inside, "sleep", "600"])
        undo.callback(sleeper.wait)
        undo.callback(sleeper.kill)
        entered = Path(f"/proc/{sleeper.pid}/ns/net"), Path(f"/run/netns/{name}")
        until(lambda: entered[0].stat().st_ino == entered[1].stat().st_ino, f"a process in namespace {name}")
        yield Side(name, interface, sleeper.pid)


def offloads_off(interface: str, *inside: str) -> None:
    """What is sent is what arrives, as far as the kernel lets itself be told."""
    with suppress(AssertionError):
        run(*inside, "ethtool", "-K", interface, "tx", "off", "gso", "off", "tso", "off", "gro", "off")


def no_ipv6(interface: str) -> None:
    """Let an interface of our own namespace send nothing by itself."""
    switch = Path(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6")
    until(switch.exists, f"interface {interface}")
    switch.write_text("1")


def own_name(rest: str) -> str:
    """A name that no test run beside this one has; at most 15 characters, as interfaces have."""
    return f"mz{os.getpid() % 100000:05}{rest}"


@contextmanager
def veth_pair(mtu: int = 1500) -> Iterator[tuple[Side, Side]]:
    """Two namespaces, joined by a veth pair."""
    number = next(WORLDS)
    a, b = own_name(f"{number}a"), own_name(f"{number}b")
    run("ip", "link", "add", f"{a}0", "type", "veth", "peer", "name", f"{b}0")
    with ExitStack() as undo:
        undo.callback(subprocess.run, ["ip", "link", "del", f"{a}0"], capture_output=True)
        yield undo.enter_context(namespace(a, f"{a}0", mtu)), undo.enter_context(namespace(b, f"{b}0", mtu))


@dataclass(frozen=True)
class Bridge:
    """An Open vSwitch bridge in user space with two hosts, and a port for copies."""

    name: str
    monitor: str
    left: Side
    right: Side

    @property
    def management(self) -> str:
        """Path of its management socket."""
        return str(OVS_RUN / f"{self.name}.mgmt")

    def rules(self, *rules: str) -> None:
        """Add flow entries."""
        for rule in rules:
            run("ovs-ofctl", "-O", "OpenFlow13", "add-flow", self.name, rule)

    def flows(self, what: str = "") -> list[str]:
        """The flow entries, those that match `what`."""
        said = run("ovs-ofctl", "-O", "OpenFlow13", "dump-flows", self.name, *([what] if what else []))
        return [line.strip() for line in said.splitlines() if "cookie" in line]


@contextmanager
def bridge(tables: tuple[int, ...] = (1,)) -> Iterator[Bridge]:
    """A bridge between two namespaces: all packets go through the tag tables, are copied, and cross.

    From left to right the metadata says for each table that packets are tagged there (bit 3k), from right to left that
    they are tagged for flows that they answer (bit 3k + 1).
    """
    run_ovs()
    number = next(WORLDS)
    name = own_name(f"{number}br")
    ends = {side: (own_name(f"{number}{side}"), own_name(f"{number}{side}0")) for side in "ab"}
    with ExitStack() as undo:
        undo.callback(subprocess.run, ["ovs-vsctl", "--if-exists", "del-br", name], capture_output=True)
        kind = ("--", "set", "bridge", name, "datapath_type=netdev", "fail_mode=secure")
        run("ovs-vsctl", "add-br", name, *kind)
        sides: list[Side] = []
        for side, (netns, interface) in ends.items():
            outer = own_name(f"{number}x{side}")
            undo.callback(subprocess.run, ["ip", "link", "del", outer], capture_output=True)
            run("ip", "link", "add", outer, "type", "veth", "peer", "name", interface)
            no_ipv6(outer)
            run("ip", "link", "set", outer, "up")
            offloads_off(outer)
            run(
                "ovs-vsctl",
                "add-port",
                name,
                outer,
                "--",
                "set",
                "interface",
                outer,
                f"ofport_request={len(sides) + 1}",
            )
            sides.append(undo.enter_context(namespace(netns, interface)))
        monitor = own_name(f"{number}mn")
        run(
            "ovs-vsctl",
            "add-port",
            name,
            monitor,
            "--",
            "set",
            "interface",
            monitor,
            "type=internal",
            "ofport_request=3",
        )
        no_ipv6(monitor)
        run("ip", "link", "set", monitor, "up")
        made = Bridge(name, monitor, *sides)
        forward, reverse = (sum(1 << 3 * (t - 1) + bit for t in tables) | 1 << 62 for bit in (0, 1))
        made.rules(
            f"table=0,in_port=1,actions=write_metadata:{forward:#x},goto_table:{tables[0]}",
            f"table=0,in_port=2,actions=write_metadata:{reverse:#x},goto_table:{tables[0]}",
            *(f"table={t},priority=0,actions=goto_table:{n}" for t, n in zip(tables, (*tables[1:], 100), strict=True)),
            "table=100,actions=output:3,goto_table:101",
            "table=101,in_port=1,actions=output:2",
            "table=101,in_port=2,actions=output:1",
        )
        yield made


@dataclass
class MemoryLink:
    """A device's bus that keeps in memory what is said, and is told what is heard."""

    last: tuple[int, int] = (-1, 0)
    unusable: int = 0
    incoming: list[DeviceConfig | Told | Refused] = field(default_factory=list)
    reports: list[tuple[dict[str, Any], dict[str, NDArray[Any]]]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    said: list[dict[str, Any]] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)

    def heard(self) -> list[DeviceConfig | Told | Refused]:
        found, self.incoming = self.incoming, []
        return found

    def malformed(self) -> int:
        return self.unusable

    def losses(self) -> Mapping[str, int]:
        return self.lost

    def faults(self) -> list[str]:
        return self.troubles

    def last_report(self) -> tuple[int, int]:
        return self.last

    def report(self, header: Mapping[str, Any], columns: Mapping[str, NDArray[Any]]) -> None:
        self.reports.append((dict(header), dict(columns)))
        self.last = header["sequence"], header["end_ns"]

    def notify(self, notice: Notice) -> None:
        self.notices.append(notice)

    def stats(self, values: Mapping[str, Any]) -> None:
        self.said.append(dict(values))

    def status(self, values: Mapping[str, Any]) -> None:
        self.states.append(dict(values))

    def total(self, counter: str) -> int:
        """A counter, over all reports."""
        return sum(header["counters"][counter] for header, _ in self.reports)

    def column(self, name: str) -> NDArray[Any]:
        """A column, over all reports."""
        return np.concatenate([columns[name] for _, columns in self.reports if name in columns])


HOSTS = ("h1", "h2", "h3", "h4")
ALL_PAIRS = tuple(f"{a}>{b}" for a in HOSTS for b in HOSTS if a != b)


def selector(task: str = "lossy", **changes: Any) -> SelectorConfig:
    """A selector of lossy flows between all sites: three packets, one of them sent again."""
    parameters = {"threshold": 0.3, "min_packets": 3}
    given = SelectorConfig(
        task, "loss", "five-tuple", 30.0, 0.0, 4096, parameters, ALL_PAIRS, Code(1, 1), tags_forward=True, table=1
    )  # fmt: skip
    return replace(given, **changes)


def monitor(task: str = "lossy", **changes: Any) -> MonitorConfig:
    """A monitor of the volume of flows between all sites, that stands behind the selector."""
    spans = dict.fromkeys(ALL_PAIRS, 2)
    given = MonitorConfig(task, "volume", "five-tuple", 4096, {}, ALL_PAIRS, ALL_PAIRS, span=spans, code=Code(1, 1))
    return replace(given, **changes)


def configuration(device: str = "h1", **changes: Any) -> DeviceConfig:
    """The configuration of a device, from now on, in one long epoch."""
    given = DeviceConfig(
        device, 1, time.time_ns(), 600 * 10**9, "mozart", 0.0, 1, "hash", HOSTS, flow_secret=seeded_secret(1)
    )
    return replace(given, **changes)


def rounds(device: Device, condition: Callable[[], object], what: str, within_s: float = 10.0) -> None:
    """Let a device work until a condition holds."""

    def worked() -> object:
        device.work(time.time_ns())
        return condition()

    until(worked, what, within_s)


def tcp(flow: int, seq: int, payload: int = 10, dscp: int = 0) -> bytes:
    """An Ethernet frame with a TCP segment of a numbered flow."""
    total = 40 + payload
    addresses = bytes((10, 1, flow >> 8 & 255, flow & 255, 192, 0, 2, 1))
    ip = struct.pack(">BBHHHBBH", 0x45, dscp << 2, total, 1, 0, 64, 6, 0) + addresses
    header = struct.pack(">HHIIBBHHH", 1000 + flow % 50000, 80, seq & 0xFFFFFFFF, 0, 0x50, 16, 1000, 0, 0)
    return LINKS["ethernet"][1](ip + header + bytes(payload))


def lossy_flows(path: Path, flows: int, every_ns: int, packets: int, gap_ns: int) -> None:
    """Write a trace of flows that begin one after the other, complete the loss event and go on sending."""
    frames = []
    for flow in range(flows):
        for i in range(packets):
            sequence = 1000 + 10 * (i - (i == 2))  # the third packet is sent again
            frames.append(Frame(flow * every_ns + i * gap_ns, tcp(flow, sequence)))
    path.write_bytes(pcap(sorted(frames, key=lambda f: f.time_ns)))
