"""The network of a live run: a topology made with Mininet and Open vSwitch, or one that is already there.

Division of labour: a `Network` says which devices there are and how to get inside a host; `MininetNetwork` makes one
and takes it down; `GivenNetwork` only reads about one. Rules are the controller's, link rates and loss emulation.py's.

Names are those of topologies/addresses.py. Every bridge has a port for copies of what its agent is to see (s3-mon).
Offloads are off and IPv6 has no addresses anywhere, so that only packets of the run are on the wire.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..agents.host_tagger import TABLE
from ..agents.netns import start_tick
from ..agents.places import read_places
from ..agents.priority import NICE, session_priority, set_session_priority
from ..controller.rules import AGENT_COOKIE_PREFIX, COOKIE_PREFIX, GROUP_PREFIX
from ..errors import LiveError
from ..topologies.addresses import host_mac, interfaces, measure_port
from ..topologies.topology import Topology
from .processes import Recorder
from .things import OVS_CTL, OVS_FOLDER, OVS_ROW, status_of
from .waiting import until

MTU = 9000
START_S = 30.0
ANSWER_S = 60
"""How long Open vSwitch may take to answer on a busy machine; where it does not run, asking fails at once."""
RUN_S = 2.0 * ANSWER_S
"""How long any command may take: longer than those that ask Open vSwitch wait themselves."""
SOCKET_BYTES = 16 << 20
"""What a socket of a port holds while Open vSwitch in user space is at other work; the usual 208 KiB are some fifty
packets, which a burst at one port fills."""
MAX_IDLE_MS = 200
"""How long Open vSwitch in user space keeps a flow that has no packets; 10 s else. Each tag makes it look at all flows
that it keeps, which takes as long as they are many, and the tag waits for that."""
KEPT_BYTES = 256 << 20
"""Free memory at the end of its heap that Open vSwitch in user space keeps."""
OFFLOADS = "tx off rx off tso off gso off gro off"


class Network:
    """Devices that are there: bridges by name, and hosts as namespaces."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.interfaces = interfaces(topology)
        self.host_pids: dict[str, int | None] = {}
        """A process in each host's namespace; None where the host is this namespace."""
        self.at_stop: list[Callable[[], object]] = []
        """What to do before the network is taken down."""

    def devices(self) -> list[dict[str, Any]]:
        """Return what the agents need of each device (agents/agent.py, --devices)."""
        raise NotImplementedError

    def inside(self, host: str) -> list[str]:
        """Return what to put before a command so that it runs in a host's network namespace."""
        pid = self.host_pids[host]
        return [] if pid is None else ["nsenter", f"--net=/proc/{pid}/ns/net"]

    def host_interface(self, host: str) -> str:
        """Return the name of a host's one interface."""
        return next(device["interface"] for device in self.devices() if device["device"] == host)

    can_remake = False
    """Whether a bridge that was deleted is this network's to make again."""

    def remake(self, switch: str) -> None:
        """Make a bridge again, with its ports, as it was made; raises LiveError where that fails."""
        raise NotImplementedError

    def daemon_is_back(self) -> None:
        """Do again what Open vSwitch's daemon forgets when it ends."""

    def ports_opened(self) -> contextlib.AbstractContextManager[None]:
        """Return what is to be entered while Open vSwitch opens ports."""
        return contextlib.nullcontext()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Make what is to be made; returns when all of it is there."""

    def stop(self) -> None:
        """Take down what `start` made, however far it came."""


@dataclass(frozen=True)
class Remote:
    """A controller that runs elsewhere, with what Mininet's switches ask of one."""

    port: int
    name: str = "c0"
    protocol: str = "tcp"

    def IP(self) -> str:
        """Return its address: controllers of a run listen on loopback only."""
        return "127.0.0.1"


class MininetNetwork(Network):
    """A topology as a Mininet network.

    `record(kind, name, **more)` is called for everything just before it is made (processes: just after). Where a
    bridge or interface of that name exists, starting raises LiveError and touches nothing.
    """

    def __init__(self, topology: Topology, controller_port: int, record: Recorder, patience_s: float = START_S) -> None:
        super().__init__(topology)
        self.patience_s = patience_s
        """How long Open vSwitch may take to have all ports, and to be rid of them."""
        self.controller = Remote(controller_port)
        self.record = record
        self.datapath = datapath()
        self._nodes: dict[str, Any] = {}

    def devices(self) -> list[dict[str, Any]]:
        """Return what the agents need of each device."""
        made: list[dict[str, Any]] = []
        for switch in self.topology.switches:
            sockets = str(OVS_FOLDER / f"{switch}.mgmt")
            made.append(
                {"device": switch, "kind": "switch", "interface": measure_port(switch), "netns_pid": None}
                | {"bridge": switch, "management": sockets}
            )
        for host in self.topology.hosts:
            interface = next(iter(self.interfaces[host].values()))
            pid = self.host_pids[host]
            made.append({"device": host, "kind": "host", "interface": interface, "netns_pid": pid})
            made[-1]["netns_start"] = None if pid is None else start_tick(pid)
        return made

    def start(self) -> None:
        """Make hosts, links and switches, and wait until Open vSwitch has all ports."""
        self._refuse_existing()
        try:
            with self.ports_opened():
                self._make()
                until(self._ports_there, "the ports of the switches", self.patience_s)
            self._forget_soon()
            self._let_go_first()
            self._configure()
        except BaseException:
            self.stop()
            raise

    @contextlib.contextmanager
    def ports_opened(self) -> Iterator[None]:
        """Let sockets that are opened meanwhile have `SOCKET_BYTES`: Open vSwitch in user space takes the default.

        Where this process may not set that default, sockets are as they are.
        """
        default = Path("/proc/sys/net/core/rmem_default")
        before = int(default.read_text())
        if self.datapath == "kernel" or before >= SOCKET_BYTES or not os.access(default, os.W_OK):
            yield
            return
        self.record("setting", "net.core.rmem_default", before=before, ours=SOCKET_BYTES)
        default.write_text(str(SOCKET_BYTES))
        try:
            yield
        finally:
            default.write_text(str(before))

    def _forget_soon(self) -> None:
        """Let Open vSwitch in user space keep flows for `MAX_IDLE_MS` until the end, where nobody has said how long."""
        if self.datapath == "kernel" or vsctl("--if-exists", "get", *OVS_ROW, "other_config:max-idle").strip():
            return
        self.record("ovs-setting", "max-idle", ours=MAX_IDLE_MS)
        self.at_stop.append(self._forget_as_before)
        vsctl("set", *OVS_ROW, f"other_config:max-idle={MAX_IDLE_MS}")

    @staticmethod
    def _forget_as_before() -> None:
        with contextlib.suppress(LiveError):  # the record says so, if it is there still
            vsctl("remove", *OVS_ROW, "other_config", "max-idle", wait=False)

    def _let_go_first(self) -> None:
        """Let Open vSwitch go before other work, as agents do, until the end: its nice value is for its session.

        Where this process may not, or the kernel does not share processors out among sessions, it stays as it is.
        """
        with contextlib.suppress(OSError, ValueError):
            number = int((OVS_FOLDER / "ovs-vswitchd.pid").read_text())
            before = session_priority(number)
            if before <= NICE:
                return
            start = start_tick(number)
            self.record("session", "ovs-vswitchd", pid=number, before=before, ours=NICE)
            set_session_priority(number, NICE)
            self.at_stop.append(lambda: self._let_go_as_before(number, start, before))

    @staticmethod
    def _let_go_as_before(number: int, start: int | None, before: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            if start is not None and start_tick(number) == start and session_priority(number) == NICE:
                set_session_priority(number, before)

    def _refuse_existing(self) -> None:
        bridges = {row["name"] for row in ovs_table("Bridge", "name")}
        taken = sorted(bridges & set(self.topology.switches))
        taken += [name for name in self._root_interfaces() if _exists(name)]
        if taken:
            raise LiveError(
                f"{', '.join(taken[:8])}{' ...' if len(taken) > 8 else ''}: there already, of another run or program; "
                "`mozart clean` removes what a run of mozart left behind"
            )

    def _root_interfaces(self) -> list[str]:
        """Return the names of all interfaces that stand beside this process: ports and measure ports of switches."""
        ports = [name for switch in self.topology.switches for name in self.interfaces[switch].values()]
        return ports + [measure_port(switch) for switch in self.topology.switches]

    def _make(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Mininet compares versions with distutils
            self._make_with_mininet()
        self._add_measure_ports(self.topology.switches)

    def _make_with_mininet(self) -> None:
        from mininet.link import Link
        from mininet.log import lg
        from mininet.net import Mininet
        from mininet.node import Host, OVSSwitch

        lg.setLogLevel("critical")
        Mininet.inited = True  # or it would raise limits of the whole machine, for good
        net = Mininet(controller=None, link=Link, host=Host, build=False)
        for host in self.topology.hosts:
            self._nodes[host] = net.addHost(host, ip=None, mac=None)
            self.host_pids[host] = self._nodes[host].pid
            self.record("process", f"host {host}", pid=self._nodes[host].pid)
        for switch in self.topology.switches:
            self.record("bridge", switch)
            self._nodes[switch] = net.addSwitch(
                switch, cls=OVSSwitch, datapath="kernel" if self.datapath == "kernel" else "user",
                failMode="secure", protocols="OpenFlow13", batch=True,
            )  # fmt: skip
            self.record("process", f"shell of {switch}", pid=self._nodes[switch].pid)
        for link in self.topology.links:
            macs = {f"addr{i}": host_mac(d) for i, d in enumerate((link.a, link.b), 1) if d in self.host_pids}
            for end, other in ((link.a, link.b), (link.b, link.a)):
                if end not in self.host_pids:
                    self.record("interface", self.interfaces[end][other])
            net.addLink(link.a, link.b, **macs)
        for switch in self.topology.switches:
            self._nodes[switch].start([self.controller])
        OVSSwitch.batchStartup([self._nodes[switch] for switch in self.topology.switches], run=_run_shell)

    can_remake = True

    def remake(self, switch: str) -> None:
        """Make a bridge again, with its ports and its controller; its links are still there."""
        with self.ports_opened():
            _run_shell("ovs-vsctl " + " ".join(command.strip() for command in self._nodes[switch].commands), shell=True)
            self._add_measure_ports([switch])
            until(self._ports_there, f"the ports of {switch}", self.patience_s)
        self._sh([], _plain(measure_port(switch)))

    def daemon_is_back(self) -> None:
        """Let the new daemon go first, and make the measure ports, which went with the old one, as they were."""
        self._let_go_first()
        with contextlib.suppress(LiveError):
            until(self._ports_there, "the ports of the switches", self.patience_s)
            self._sh([], [line for switch in self.topology.switches for line in _plain(measure_port(switch))])

    def _add_measure_ports(self, switches: Sequence[str]) -> None:
        arguments = []
        for switch in switches:
            name = measure_port(switch)
            arguments += ["--", "add-port", switch, name, "--", "set", "Interface", name, "type=internal"]
            arguments += [f"mtu_request={MTU}"]
        vsctl(*arguments[1:])

    def _ports_there(self) -> bool:
        opened = {row["name"]: row["ofport"] for row in ovs_table("Interface", "name", "ofport")}
        ports = self._root_interfaces()
        sockets = (OVS_FOLDER / f"{switch}.mgmt" for switch in self.topology.switches)
        return all(isinstance(opened.get(p), int) and opened[p] > 0 for p in ports) and all(s.exists() for s in sockets)

    def _configure(self) -> None:
        """Turn off offloads and IPv6, raise MTUs, and give hosts their addresses and those of the others."""
        self._sh([], [line for name in self._root_interfaces() for line in _plain(name)])
        for host in self.topology.hosts:
            name = next(iter(self.interfaces[host].values()))
            others = [
                f"ip neighbor replace {address} lladdr {host_mac(other)} dev {name} nud permanent"
                for other, address in self.topology.addresses.items()
                if other != host
            ]
            lines = ["sysctl -qw net.ipv4.ip_forward=0", "ip link set lo up", *_plain(name)]
            lines += [f"ip address add {self.topology.addresses[host]}/8 dev {name}", *others]
            self._sh(self.inside(host), lines)

    def _sh(self, inside: Sequence[str], lines: Sequence[str]) -> None:
        run([*inside, "sh", "-ec", "\n".join(lines)])

    def set_link(self, a: str, b: str, up: bool) -> None:
        """Take the link between two devices down, or up again, as pulling its cable would."""
        end, other = (a, b) if a not in self.host_pids else (b, a)
        run(["ip", "link", "set", self.interfaces[end][other], "up" if up else "down"])

    def stop(self) -> None:
        """Remove bridges and links, end the hosts, and wait until all that is gone."""
        while self.at_stop:
            self.at_stop.pop()()
        if not self._nodes:
            return
        switches = [name for name in self.topology.switches if name in self._nodes]
        if switches:
            orders = [word for name in switches for word in ("--", "--if-exists", "del-br", name)]
            vsctl(*orders[1:], wait=ovs_runs())
        for name in self._root_interfaces():
            if _exists(name):
                status_of("ip", "link", "delete", name)  # the other end may be quicker
        for node in self._nodes.values():
            node.terminate()
        self._nodes.clear()
        until(lambda: not any(map(_exists, self._root_interfaces())), "the interfaces to go", self.patience_s)


class GivenNetwork(Network):
    """A network that somebody else made, from a file of devices as the agents read it; it is not taken down.

    What will be made in it, flow entries in its bridges and a table of nftables in each host's namespace, is recorded
    when it is started. Raises
    LiveError where the file is not such a list, or lacks a switch of the topology, or names a bridge that is not there.
    A host that it does not name sends nothing and has no agent.
    """

    def __init__(self, topology: Topology, devices_file: str | Path, record: Recorder) -> None:
        super().__init__(topology)
        self.record = record
        self._devices = devices_for(topology, devices_file)
        named = {device["device"]: device for device in self._devices}
        bridges = {row["name"] for row in ovs_table("Bridge", "name")}
        absent = [d["device"] for d in self._devices if d["kind"] == "switch" and d["bridge"] not in bridges]
        if absent:
            raise LiveError(f"{devices_file}: Open vSwitch has no bridge for {', '.join(absent)}")
        self._bridges = {name: device.get("bridge", name) for name, device in named.items()}
        self.host_pids = {d["device"]: d["netns_pid"] for d in self._devices if d["kind"] == "host"}
        for device in self._devices:
            if device["netns_pid"] is not None:
                device.setdefault("netns_start", start_tick(device["netns_pid"]))
        self._starts = {d["device"]: d.get("netns_start") for d in self._devices}
        gone = [name for name, pid in self.host_pids.items() if pid is not None and self._starts[name] is None]
        if gone:
            raise LiveError(f"{devices_file}: no process, and so no namespace, of {', '.join(gone)}")

    def start(self) -> None:
        """Record the rules that switches get, and the tables that agents make at hosts; what is there is not ours."""
        for switch in self.topology.switches:
            cookies = [COOKIE_PREFIX, AGENT_COOKIE_PREFIX]
            self.record("rules", self._bridges[switch], cookies=cookies, groups=GROUP_PREFIX)
        family, _, name = TABLE.partition(" ")
        for pid in dict.fromkeys(self.host_pids.values()):
            self.record("nft", name, family=family, pid=pid)

    def inside(self, host: str) -> list[str]:
        """Return what to put before a command; raises LiveError where the host's process is not the one it was."""
        pid = self.host_pids[host]
        if pid is not None and start_tick(pid) != self._starts[host]:
            raise LiveError(f"{host}: the process {pid} that had its namespace has ended")
        return super().inside(host)

    def devices(self) -> list[dict[str, Any]]:
        """Return the devices as the file has them, with when the processes of their namespaces began."""
        return self._devices


def devices_for(topology: Topology, path: str | Path) -> list[dict[str, Any]]:
    """Return the devices of a file that has all switches of a topology; raises LiveError for one that does not fit."""
    devices = read_devices(path)
    named = [device["device"] for device in devices]
    missing = [switch for switch in topology.switches if switch not in named]
    strange = [name for name in named if name not in topology.index]
    if missing or strange:
        what = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"names {', '.join(strange)}"] * bool(strange)
        raise LiveError(f"{path}: {' and '.join(what)}; it must fit the topology {topology.name}")
    return devices


def read_devices(path: str | Path) -> list[dict[str, Any]]:
    """Return the devices of a file, as the agents take them; raises LiveError, naming what is wrong with it."""
    read_places(path)
    devices: list[dict[str, Any]] = json.loads(Path(path).read_text())
    for device in devices:
        wanted = {"interface", "netns_pid", *(("bridge", "management") if device["kind"] == "switch" else ())}
        if lacking := sorted(wanted - set(device)):
            raise LiveError(f"{path}: {device['device']} lacks {', '.join(lacking)}")
    return devices


# what Open vSwitch and the machine say


def datapath() -> str:
    """Return 'kernel' where Open vSwitch forwards in the kernel, else 'user'."""
    return "kernel" if Path("/sys/module/openvswitch").exists() else "user"


def ovs_runs() -> bool:
    """Say whether Open vSwitch's daemon answers."""
    return status_of("ovs-appctl", f"--timeout={ANSWER_S}", "version") == 0


def start_ovs() -> None:
    """Start Open vSwitch's daemons, which go on when this process ends; raises LiveError where they do not start.

    In user space they keep the memory that they have had (glibc's M_TRIM_THRESHOLD). At every look at a port Open
    vSwitch takes room for 32 packets and gives it back, at the end of its heap; and the C library would then have the
    kernel take that memory away and bring it again, which was 44 % of the work of the thread that forwards. Core dumps
    are what this process allows: by itself ovs-ctl would have a daemon that crashes leave 60 MB in the root folder.
    """
    OVS_FOLDER.mkdir(parents=True, exist_ok=True)
    keep = {} if datapath() == "kernel" else {"MALLOC_TRIM_THRESHOLD_": str(KEPT_BYTES)}
    run([OVS_CTL, "start", "--system-id=random", "--no-force-corefiles"], environment=keep)
    until(ovs_runs, "Open vSwitch to start", START_S)


def vsctl(*arguments: str, wait: bool = True) -> str:
    """Run ovs-vsctl; without `wait` it does not wait for the daemon to have done it."""
    return run(["ovs-vsctl", f"--timeout={ANSWER_S}", *([] if wait else ["--no-wait"]), *arguments])


def ovs_table(table: str, *columns: str) -> list[dict[str, Any]]:
    """Return rows of Open vSwitch's database; raises LiveError, saying how to start it, where it does not run."""
    try:
        text = run(
            ["ovs-vsctl", f"--timeout={ANSWER_S}", "--format=json", f"--columns={','.join(columns)}", "list", table]
        )
    except LiveError as error:
        raise LiveError(f"Open vSwitch does not answer; start it with `{OVS_CTL} start` ({error})") from None
    answer = json.loads(text)
    return [dict(zip(answer["headings"], row, strict=True)) for row in answer["data"]]


def run(arguments: Sequence[str], text: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and return its output; raises LiveError with what it said where it failed.

    `environment` is for the command beside what this process has.
    """
    try:
        done = subprocess.run(
            arguments, input=text, capture_output=True, text=True, timeout=RUN_S,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise LiveError(f"{' '.join(arguments)[:200]} has not ended within {RUN_S:g} s") from None
    except FileNotFoundError:
        raise LiveError(f"{arguments[0]} is not installed; `mozart doctor` says what is missing") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise LiveError(f"{' '.join(arguments)[:200]} failed with status {done.returncode}: {said[-500:]}")
    return done.stdout


def _run_shell(command: str, shell: bool) -> None:
    """Run the one command line that Mininet makes for all switches."""
    run(["sh", "-c", command.replace("ovs-vsctl", f"ovs-vsctl --timeout={ANSWER_S}", 1)])


def _plain(name: str) -> list[str]:
    """Return shell lines that make an interface carry frames as they are, and nothing of its own."""
    return [
        f"sysctl -qw net.ipv6.conf.{name}.disable_ipv6=1",
        f"ip link set {name} mtu {MTU} up",
        f"ethtool -K {name} {OFFLOADS} >/dev/null 2>&1 || true",  # taps have some of them fixed
    ]


def _exists(interface: str) -> bool:
    return Path("/sys/class/net", interface).exists()
