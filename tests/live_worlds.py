"""Live networks for tests: this machine for oneself, what was recorded, static forwarding."""

import fcntl
import itertools
import re
import subprocess
from pathlib import Path

from mozart.live.network import ovs_table
from mozart.tests.needs import need, run_ovs
from mozart.topologies.addresses import host_mac, interfaces

PORT = 16699  # where no controller listens: the tests' own rules forward
NETWORK = Path("/sys/class/net")


def interfaces_there():
    """The interfaces of switches here, those of hosts if they are here by mistake."""
    return {path.name for path in NETWORK.iterdir() if re.fullmatch(r"[hs]\d+(-.*)?", path.name)}


def bridges_there():
    return {row["name"] for row in ovs_table("Bridge", "name")}


def bridges_without_controller():
    """The bridges whose controller is not connected; Open vSwitch tells its database of that every five seconds."""
    connected = {row["_uuid"][1] for row in ovs_table("Controller", "_uuid", "is_connected") if row["is_connected"]}
    bridges = ovs_table("Bridge", "name", "controller")
    return {row["name"] for row in bridges if not connected & set(uuids(row["controller"]))}


def uuids(value):
    """Read a column of references: ["uuid", x] or ["set", [["uuid", x], ...]]."""
    return [value[1]] if value[0] == "uuid" else [each[1] for each in value[1]]


def inside(network, host, *command):
    return subprocess.run([*network.inside(host), *command], capture_output=True, text=True)


def whole_machine():
    """Yield while nobody else makes switches and hosts of the usual names; skip where this machine can make none."""
    need("root", "ip", "ovs", "mnexec", "mininet", "tcpreplay", "nft", "ping")
    run_ovs()
    with Path("/tmp/mozart-live.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Notes:
    """What was recorded, and whether it was there at that time."""

    def __init__(self):
        self.lines = []

    def __call__(self, kind, name, **more):
        there = (NETWORK / name).exists() if kind in ("interface", "bridge") else None
        self.lines.append((kind, name, more, there))


def forward(topology):
    """Put static rules along the first path of each pair of hosts."""
    ports = interfaces(topology)
    rules: dict[str, list[str]] = {switch: [] for switch in topology.switches}
    for a in topology.hosts:
        for b in topology.hosts:
            path = topology.paths(a, b)[0]
            for here, following in itertools.pairwise(path[1:]):
                port = ports[here][following].split("eth")[1]
                rules[here].append(f"dl_src={host_mac(a)},dl_dst={host_mac(b)},actions=output:{port}")
    for switch, lines in rules.items():
        command = ["ovs-ofctl", "-O", "OpenFlow13", "add-flows", switch, "-"]
        subprocess.run(command, input="\n".join(lines), text=True, check=True)
