"""The controller with real switches: Ryu, Open vSwitch in user space, hosts in namespaces, a broker of the test's own.

Four switches in a square, a host on each, so that packets from corner to corner have two equal-cost paths.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mozart.bus import topics
from mozart.bus.access import BrokerAccess, write_access
from mozart.bus.config import DeviceConfig
from mozart.bus.messages import pack
from mozart.controller.launcher import main as launcher
from mozart.controller.planned import Plan, load_plan
from mozart.controller.rules import forward_bit, tables_of
from mozart.tests.needs import lacks, need, needs, run_ovs
from mozart.topologies.addresses import host_mac, interfaces, measure_port
from mozart.topologies.topology import Link, Topology

BASE = 1000 + os.getpid() % 6000 * 10
"""Names of this test's own, whoever else has switches on this machine."""
S = [f"s{BASE + i}" for i in range(1, 5)]
H = [f"h{BASE + i}" for i in range(1, 5)]
DEADLINE_S = 90.0
AGENT_COOKIE = 0x6D7B << 48 | 1


NEEDED = ("root", "ip", "ovs", "namespaces", "ping", "ryu", "paho")
pytestmark = needs(*NEEDED)


@pytest.fixture(scope="module", autouse=True)
def switches_run() -> None:
    if not lacks(*NEEDED):
        run_ovs()


def sh(*command: str | int) -> str:
    """Run a command; its output, or an AssertionError with what it said."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def wait_for(what: str, condition: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
    """Wait until a condition holds, and return what it returned."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {deadline_s:g} s for: {what}")


def square() -> Topology:
    """Four switches in a square."""
    a, b, c, d = S
    links = [Link(x, y, 1.0, 100.0) for x, y in ((a, b), (a, c), (b, d), (c, d))]
    links += [Link(h, s, 0.05, 100.0) for h, s in zip(H, S, strict=True)]
    return Topology("square", tuple(H), tuple(S), tuple(links))


TASKS: list[dict[str, Any]] = [
    {
        "name": "losses",
        "selector": {"event": "loss", "at": "ingress-switch"},
        "monitor": {"measure": "volume", "at": "path-switches"},
    },
    {
        "name": "elephants",
        "selector": {"event": "elephant", "threshold_mbps": 1, "at": "ecmp-switch"},
        "monitor": {"measure": "volume", "at": "ecmp-peers"},
    },
]


class Network:
    """Bridges, hosts in namespaces, and the veth pairs between them; `close` undoes all of it."""

    def __init__(self, topology: Topology) -> None:
        self.topology, self.names = topology, interfaces(topology)
        self.undo = contextlib.ExitStack()
        for switch in topology.switches:
            sh("ovs-vsctl", "add-br", switch, "--", "set", "bridge", switch, "datapath_type=netdev",
               "fail_mode=secure", "protocols=OpenFlow13", "--", "add-port", switch, measure_port(switch), "--", "set",
               "interface", measure_port(switch), "type=internal")  # fmt: skip
            self.undo.callback(sh, "ovs-vsctl", "--if-exists", "del-br", switch)
        for host in topology.hosts:
            sh("ip", "netns", "add", host)
            self.undo.callback(sh, "ip", "netns", "del", host)
        for link in topology.links:
            a, b = self.names[link.a][link.b], self.names[link.b][link.a]
            sh("ip", "link", "add", a, "type", "veth", "peer", "name", b)
            self.undo.callback(subprocess.run, ["ip", "link", "del", b], capture_output=True)
            for device, name in ((link.a, a), (link.b, b)):
                if device in topology.hosts:
                    self._host(device, name)
                else:
                    sh("ip", "link", "set", name, "up")
                    sh("ovs-vsctl", "add-port", device, name)

    def _host(self, host: str, name: str) -> None:
        sh("ip", "link", "set", name, "netns", host)
        inside = ("ip", "-n", host)
        sh(*inside, "link", "set", name, "address", host_mac(host))
        sh(*inside, "addr", "add", f"{self.address(host)}/24", "dev", name)
        sh(*inside, "link", "set", name, "up")
        for other in self.topology.hosts:
            if other != host:
                sh(*inside, "neigh", "add", self.address(other), "lladdr", host_mac(other), "dev", name)
        sh("ip", "netns", "exec", host, "ethtool", "-K", name, "tx", "off")

    def address(self, host: str) -> str:
        return f"10.77.0.{self.topology.hosts.index(host) + 1}"

    def connect(self, port: int) -> None:
        for switch in self.topology.switches:
            sh("ovs-vsctl", "set-controller", switch, f"tcp:127.0.0.1:{port}", "--", "set", "controller", switch,
               "max_backoff=1000", "inactivity_probe=5000")  # fmt: skip

    def ports(self, switch: str) -> dict[str, int]:
        """Port numbers by neighbour, and 'mon' the measure port's."""
        named = {**{v: k for k, v in self.names[switch].items()}, measure_port(switch): "mon"}
        shown = sh("ovs-ofctl", "-O", "OpenFlow13", "show", switch)
        return {named[n]: int(p) for p, n in re.findall(r"^ (\d+)\(([^)]+)\)", shown, re.M) if n in named}

    def rules(self, switch: str) -> list[str]:
        """All rules, as text without counters and ages, in order."""
        shown = sh("ovs-ofctl", "-O", "OpenFlow13", "--no-stats", "dump-flows", switch)
        return sorted(line.strip() for line in shown.splitlines() if "actions" in line)

    def ours(self, switch: str) -> list[str]:
        return [rule for rule in self.rules(switch) if rule.startswith("cookie=0x6d7a")]

    def groups(self, switch: str) -> list[str]:
        shown = sh("ovs-ofctl", "-O", "OpenFlow13", "dump-groups", switch)
        return sorted(line.strip() for line in shown.splitlines() if "group_id" in line)

    def ping(self, source: str, destination: str, *more: str) -> bool:
        command = ["ip", "netns", "exec", source, "ping", "-c1", "-W1", *more, self.address(destination)]
        return subprocess.run(command, capture_output=True).returncode == 0

    def close(self) -> None:
        self.undo.close()


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


class Controller:
    """The real controller in a process of its own."""

    def __init__(self, folder: Path, spec: dict[str, Any], *more: str) -> None:
        self.run, self.port, self.more = folder / "run", free_port(), more
        self.request = folder / "request.json"
        self.request.write_text(json.dumps({"spec": spec, "mode": "mozart", "epoch_start_ns": 0}))
        self.log = folder / "controller.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, deadline_s: float = 20.0) -> None:
        command = [sys.executable, "-m", "mozart.controller.launcher", "--run", str(self.run), "--plan-request",
                   str(self.request), "--listen", f"127.0.0.1:{self.port}", "--switch-deadline", str(deadline_s),
                   *self.more]  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def end(self, how: int = signal.SIGTERM) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(10)

    def said(self, text: str) -> int:
        return len(re.findall(text, self.log.read_text()))

    def plan(self) -> Plan:
        return load_plan(self.run / "plan.json")

    def wait_brought(self, revision: int, switches: list[str] = S) -> None:
        def brought() -> bool:
            return all(self.said(rf"{switch} has \d+ rules of plan {revision},") for switch in switches)

        wait_for(f"rules of plan {revision} on {', '.join(switches)}; log: {self.log}", brought)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    made = Network(square())
    yield made
    made.close()


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from mozart.topologies.json_file import to_json

    file = tmp_path_factory.mktemp("topology") / "square.json"
    file.write_text(to_json(square()))
    return {"topology": {"name": str(file)}, "tasks": TASKS}


@pytest.fixture(scope="module")
def controller(
    tmp_path_factory: pytest.TempPathFactory, spec: dict[str, Any], network: Network
) -> Iterator[Controller]:
    """One controller for the tests that take its name, in their order; they leave it with the network whole."""
    made = Controller(tmp_path_factory.mktemp("controller"), spec)
    made.start()
    network.connect(made.port)
    try:
        made.wait_brought(1)
        yield made
    finally:
        made.end()


# Packets


class Sniffer:
    """A packet socket on an interface, in a namespace or not; `close` it."""

    def __init__(self, interface: str, namespace: str | None = None) -> None:
        def open_here() -> None:
            if namespace:
                with Path(f"/run/netns/{namespace}").open() as file:
                    assert ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0) == 0
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self.socket.bind((interface, 0))

        thread = threading.Thread(target=open_here)  # only the thread goes over to the namespace
        thread.start()
        thread.join()
        self.socket.settimeout(5)

    def dscp_of_ping(self, source: str, destination: str) -> int:
        """Return the DSCP of the next IPv4 packet between two hosts."""
        wanted = bytes.fromhex((host_mac(destination) + host_mac(source)).replace(":", "") + "0800")
        while True:
            frame = self.socket.recv(2048)
            if frame[:14] == wanted:
                return frame[15] >> 2

    def close(self) -> None:
        self.socket.close()


def dscp_seen(
    network: Network, source: str, destination: str, interface: str, namespace: str | None, *ping: str
) -> int:
    sniffer = Sniffer(interface, namespace)
    try:
        assert network.ping(source, destination, *ping)
        return sniffer.dscp_of_ping(source, destination)
    finally:
        sniffer.close()


def test_every_switch_has_exactly_the_rules_of_the_plan_and_packets_arrive(
    controller: Controller, network: Network
) -> None:
    plan = controller.plan()
    for switch in S:
        tables = tables_of(plan, switch, network.ports(switch))
        assert len(network.rules(switch)) == len(network.ours(switch)) == len(tables.rules) > 20
        assert len(network.groups(switch)) == len(tables.groups) == 1
    assert controller.said("refused") == controller.said("Traceback") == 0
    for source in H:
        for destination in H:
            assert source == destination or network.ping(source, destination)


def test_tags_are_set_seen_and_removed_and_foreign_ones_do_not_come_in(
    controller: Controller, network: Network
) -> None:
    plan = controller.plan()
    source, destination, last = H[0], H[3], S[3]
    table, code = plan.tables["losses"], plan.codes["losses"]
    bit = code.value.bit_length() - 1
    mon, eth0 = measure_port(last), f"{destination}-eth0"
    sh("ip", "link", "set", mon, "up")
    assert dscp_seen(network, source, destination, mon, None) == 0
    assert dscp_seen(network, source, destination, mon, None, "-Q", "0xb8") == 0, "cleaned where it came in"
    metadata = forward_bit(table)
    sh("ovs-ofctl", "-O", "OpenFlow13", "add-flow", S[0],
       f"cookie={AGENT_COOKIE:#x},table={table},priority=100,metadata={metadata}/{metadata},ip "
       f"actions=load:1->NXM_OF_IP_TOS[{2 + bit}],goto_table:100")  # fmt: skip
    assert dscp_seen(network, source, destination, mon, None) == code.value
    assert dscp_seen(network, source, destination, eth0, destination) == 0
    sh("ovs-ofctl", "-O", "OpenFlow13", "del-flows", S[0], f"cookie={AGENT_COOKIE:#x}/-1")


FLOWS = 40
KNOCK = """
import contextlib, socket, sys
for port in range(20000, 20000 + int(sys.argv[2])):
    with socket.socket() as s, contextlib.suppress(ConnectionRefusedError):
        s.bind(("", port))
        s.settimeout(2)
        s.connect((sys.argv[1], 9))
"""
"""Opens connections that are refused: a packet each way for every flow."""


def tcp_flows(sniffer: Sniffer, source: str) -> set[int]:
    """Return the flows, by their port, of which a switch has seen packets that a host sent."""
    begin, found = bytes.fromhex(host_mac(source).replace(":", "") + "0800"), set()
    sniffer.socket.settimeout(0.2)
    with contextlib.suppress(TimeoutError):
        while True:
            frame = sniffer.socket.recv(2048)
            if frame[6:14] == begin and frame[23] == socket.IPPROTO_TCP:
                found.add(max(int.from_bytes(frame[34:36]), int.from_bytes(frame[36:38])))
    return found


def test_flows_spread_over_equal_cost_paths_and_answers_come_back_over_the_same(
    controller: Controller, network: Network
) -> None:
    first, second = S[1], S[2]
    for switch in (first, second):
        sh("ip", "link", "set", measure_port(switch), "up")
    there, back = ([Sniffer(measure_port(switch)) for switch in (first, second)] for _ in range(2))
    sh("ip", "netns", "exec", H[0], sys.executable, "-c", KNOCK, network.address(H[3]), FLOWS)
    seen = [tcp_flows(sniffer, H[0]) for sniffer in there]
    assert not seen[0] & seen[1] and len(seen[0] | seen[1]) == FLOWS
    assert min(map(len, seen)) >= FLOWS // 8
    assert [tcp_flows(sniffer, H[3]) for sniffer in back] == seen
    for sniffer in (*there, *back):
        sniffer.close()


# What comes back


def meddle(network: Network, switch: str) -> list[str]:
    """Do what a careless hand may do while the controller is away; returns the foreign rules, which are to stay."""
    add = ("ovs-ofctl", "-O", "OpenFlow13", "add-flow", switch)
    sh("ovs-ofctl", "-O", "OpenFlow13", "del-flows", switch, "cookie=0x6d7a000000000005/-1")
    sh(*add, "cookie=0x6d7a000000000005,table=101,priority=1000,dl_dst=02:00:00:00:00:77 actions=drop")
    sh(*add, "cookie=0x6d7a000000000003,table=100,priority=0 actions=drop")
    sh("ovs-ofctl", "-O", "OpenFlow13", "add-group", switch, "group_id=1836711937,type=select,bucket=output:1")
    sh("ovs-ofctl", "-O", "OpenFlow13", "add-group", switch, "group_id=7,type=indirect,bucket=output:1")
    sh(*add, f"cookie={AGENT_COOKIE:#x},table=1,priority=100,ip,nw_src=192.0.2.1 actions=goto_table:100")
    sh(*add, "cookie=0x2a,table=0,priority=7,dl_type=0x88cc actions=drop")
    sh(*add, "table=101,priority=3,dl_type=0x88cc actions=drop")
    return [rule for rule in network.rules(switch) if not rule.startswith("cookie=0x6d7a")]


def clean(network: Network, switch: str) -> None:
    for what in (f"cookie={AGENT_COOKIE:#x}/-1", "dl_type=0x88cc"):
        sh("ovs-ofctl", "-O", "OpenFlow13", "del-flows", switch, what)
    sh("ovs-ofctl", "-O", "OpenFlow13", "del-groups", switch, "group_id=7")


def test_a_switch_that_reconnects_has_its_rules_again_and_strays_are_gone(
    controller: Controller, network: Network
) -> None:
    switch = S[1]
    network.connect(controller.port)
    brought = controller.said(f"{switch} has .* rules of plan 1")
    rules, groups = network.ours(switch), network.groups(switch)
    sh("ovs-vsctl", "set-controller", switch, "tcp:127.0.0.1:9")  # without any it would drop all its rules
    wait_for("the end of the connection", lambda: controller.said(f"connection to {switch} has ended"))
    foreign = meddle(network, switch)
    assert network.ours(switch) != rules and len(foreign) == 3
    network.connect(controller.port)
    wait_for("the rules", lambda: controller.said(f"{switch} has .* rules of plan 1") > brought)
    assert network.ours(switch) == rules
    assert network.groups(switch) == sorted([*groups, *(g for g in network.groups(switch) if "group_id=7," in g)])
    assert [rule for rule in network.rules(switch) if not rule.startswith("cookie=0x6d7a")] == foreign
    assert controller.said("Traceback") == 0
    clean(network, switch)


def test_a_controller_that_was_killed_comes_back_to_the_same_rules(controller: Controller, network: Network) -> None:
    before = {switch: network.rules(switch) for switch in S}
    plan = controller.plan()
    controller.end(signal.SIGKILL)
    assert network.ping(H[0], H[3]), "forwarding goes on"
    controller.start()
    wait_for("its return", lambda: all(controller.said(f"{s} has .* rules of plan 1, 0 changed") for s in S))
    assert {switch: network.rules(switch) for switch in S} == before and controller.plan() == plan


def test_what_a_switch_refuses_is_said_and_tried_again(controller: Controller, network: Network) -> None:
    switch = S[2]
    before = network.ours(switch)
    sh("ovs-vsctl", "--", "--id=@full", "create", "Flow_Table", "flow_limit=3", "overflow_policy=refuse", "--", "set",
       "Bridge", switch, "flow_tables=101=@full")  # fmt: skip
    try:
        sh("ovs-ofctl", "-O", "OpenFlow13", "del-flows", switch, "table=101")
        brought = controller.said(f"{switch} has connected")
        sh("ovs-vsctl", "set-controller", switch, "tcp:127.0.0.1:9")
        network.connect(controller.port)
        wait_for("its return", lambda: controller.said(f"{switch} has connected") > brought)
        wait_for("its refusal", lambda: controller.said(rf"{switch} refused a OFPFlowMod: .*TABLE_FULL"))
        wait_for("the fault", lambda: controller.said(rf"{switch}: \d+ rules or groups are not as they should be"))
    finally:
        sh("ovs-vsctl", "clear", "Bridge", switch, "flow_tables")
    wait_for("all rules", lambda: network.ours(switch) == before)


def test_what_another_program_does_to_our_rules_is_told_and_put_right(controller: Controller, network: Network) -> None:
    switch = S[1]
    before, groups = network.ours(switch), network.groups(switch)
    ofctl = ("ovs-ofctl", "-O", "OpenFlow13")
    sh(*ofctl, "del-flows", switch, "table=101")
    wait_for("the rules", lambda: network.ours(switch) == before)
    gone = sum("table=101" in rule for rule in before)
    told = rf"{switch}: {gone} flow entries of ours deleted by another program .the switch says: deleted: {gone}.$"
    wait_for("the fault", lambda: controller.said(rf"(?m)^{told}"))
    changed = re.sub(r" actions=.*", " actions=drop", before[0]).replace("cookie=0x6d7a", "cookie=0x6d7a", 1)
    sh(*ofctl, "add-flow", switch, re.sub(r"^\S+, ", "", changed))  # another program's, in the place of ours
    wait_for("the foreign entry", lambda: controller.said(rf"{switch}: a flow entry of another program .cookie 0x0, "))
    assert len(network.ours(switch)) == len(before) - 1, "it is left alone"
    sh(*ofctl, "del-flows", switch, "cookie=0/-1")
    wait_for("the rules", lambda: network.ours(switch) == before)
    sh(*ofctl, "del-groups", switch)
    wait_for("the groups", lambda: network.groups(switch) == groups and network.ours(switch) == before)
    wait_for("the fault", lambda: controller.said(rf"{switch}: .* and 1 group of ours deleted or changed"))
    assert controller.said("over: .* put right") >= 2 and controller.said("Traceback") == 0


def test_a_foreign_rule_that_comes_before_ours_is_named_and_left_alone(
    controller: Controller, network: Network
) -> None:
    switch = S[2]
    sh("ovs-ofctl", "-O", "OpenFlow13", "add-flow", switch, "cookie=0x2a,priority=2000,in_port=1,actions=drop")
    text = f"{switch}: a flow entry of another program .cookie 0x2a, table 0, priority 2000, in_port=1. drops packets"
    wait_for("its name", lambda: controller.said(text))
    assert any("cookie=0x2a" in rule for rule in network.rules(switch))
    sh("ovs-ofctl", "-O", "OpenFlow13", "del-flows", switch, "cookie=0x2a/-1,table=0")  # as the message says
    wait_for("its end", lambda: controller.said(f"over: {text}"))


def test_a_link_that_goes_down_is_gone_round_until_it_is_back(controller: Controller, network: Network) -> None:
    first, second = network.names[S[0]][S[1]], f"{S[0]}-{S[1]}"
    try:
        sh("ip", "link", "set", first, "down")
        controller.wait_brought(2)
        plan = controller.plan()
        assert plan.down == {second} and plan.revision == 2
        moved = {move["module"] for move in plan.moves}
        assert {f"selector-{S[1]}", f"monitor-{S[2]}"} <= moved, "no equal-cost set has two members any more"
        assert controller.said("moved: elephants") == len(plan.moves) and controller.said(f"link {second} is down")
        for switch in S:
            assert len(network.ours(switch)) == len(tables_of(plan, switch, network.ports(switch)).rules)
        for source, destination in ((H[0], H[1]), (H[1], H[2]), (H[0], H[3])):
            assert network.ping(source, destination)
    finally:
        sh("ip", "link", "set", first, "up")
    controller.wait_brought(3)
    again = controller.plan()
    assert not again.down and len(again.placement["elephants"]) == 8
    assert again.codes["losses"] == plan.codes["losses"]


def test_each_flap_of_a_link_is_told_once(controller: Controller, network: Network) -> None:
    port, link = network.names[S[2]][S[3]], f"{S[2]}-{S[3]}"
    revision = controller.plan().revision
    for number in (1, 2, 3):
        sh("ip", "link", "set", port, "down")
        wait_for("its fault", lambda: controller.said(rf"(?m)^link {link} is down$") == number)  # noqa: B023
        sh("ip", "link", "set", port, "up")
        wait_for("its end", lambda: controller.said(f"over: link {link} is down; it is up again") == number)  # noqa: B023
    wait_for("a plan with it", lambda: not controller.plan().down)
    assert controller.plan().revision >= revision


def test_a_switch_that_is_missing_is_named_and_the_others_forward(
    tmp_path: Path, spec: dict[str, Any], network: Network
) -> None:
    from mozart.topologies.json_file import to_json

    whole, absent = square(), f"s{BASE + 9}"
    more = Topology("more", whole.hosts, (*whole.switches, absent), (*whole.links, Link(S[3], absent, 1.0, 100.0)))
    file = tmp_path / "more.json"
    file.write_text(to_json(more))
    controller = Controller(tmp_path, {**spec, "topology": {"name": str(file)}})
    controller.start(deadline_s=2.0)
    try:
        network.connect(controller.port)
        controller.wait_brought(1)
        wait_for("its name", lambda: controller.said(f"after 2 s not connected: .*{absent}. The others forward"))
        assert network.ping(H[0], H[3])
        assert controller.said(f"{S[3]} has no port yet to {absent}") == 0, "no path leads there"
    finally:
        controller.end()


# The bus


class Broker:
    """A mosquitto of the test's own, on loopback, that takes any password."""

    def __init__(self, folder: Path) -> None:
        self.port, self.folder = free_port(), folder
        config = folder / "mosquitto.conf"
        config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        binary = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self.process = subprocess.Popen(
            [binary, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        self.file = folder / "broker.json"
        write_access(self.file, BrokerAccess("127.0.0.1", self.port, {"controller": "secret"}))
        wait_for("the broker", self._answers)

    def _answers(self) -> bool:
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", self.port)) == 0

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)


class Operator:
    """Somebody on the bus: hears everything, and asks."""

    def __init__(self, broker: Broker) -> None:
        import paho.mqtt.client as mqtt

        self.heard: dict[str, bytes] = {}
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"operator-{uuid.uuid4().hex[:8]}")
        self.client.on_message = lambda client, data, message: self.heard.update(
            {message.topic: bytes(message.payload)}
        )
        self.client.connect("127.0.0.1", broker.port)
        self.client.subscribe("mozart/#", qos=1)
        self.client.loop_start()

    def say(self, topic: str, payload: bytes | str) -> None:
        self.client.publish(topic, payload, qos=1).wait_for_publish(10)

    def ask(self, **message: Any) -> dict[str, Any]:
        number = uuid.uuid4().hex
        self.say(topics.request(topics.OPERATOR), json.dumps({"version": 1, "id": number, **message}))

        def reply() -> dict[str, Any] | None:
            found = json.loads(self.heard.get(topics.reply(topics.OPERATOR), b"{}"))
            return found if found.get("id") == number else None

        return dict(wait_for(f"the reply to {message}", reply))

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture()
def bus(tmp_path: Path) -> Iterator[tuple[Broker, Operator]]:
    need("mosquitto")
    broker = Broker(tmp_path)
    operator = Operator(broker)
    yield broker, operator
    operator.close()
    broker.close()


def report_of(device: str, epoch: int, sequence: int) -> bytes:
    """A report without modules."""
    header = {
        "version": 1, "device": device, "revision": 1, "epoch": epoch, "sequence": sequence, "start_ns": 0, "end_ns": 1,
        "final": False, "gaps": [], "taken": [], "faults": [], "counters": {}, "cpu_s": 0.0, "memory_bytes": 0,
        "tasks": {},
    }  # fmt: skip
    return pack(header, {})


def test_on_the_bus(tmp_path: Path, spec: dict[str, Any], network: Network, bus: tuple[Broker, Operator]) -> None:
    broker, operator = bus
    controller = Controller(tmp_path, spec, "--broker", str(broker.file))
    controller.start()
    network.connect(controller.port)
    try:
        controller.wait_brought(1)
        wait_for("configurations", lambda: all(topics.config(d) in operator.heard for d in (*S, *H)))
        for device, config in controller.plan().devices.items():
            assert DeviceConfig.from_json(operator.heard[topics.config(device)]) == config
        _tasks_come_and_go(controller, operator, network)
        _reports_are_kept(controller, operator)
        controller.end()
        status = topics.status(topics.CONTROLLER)
        wait_for("the last word", lambda: json.loads(operator.heard[status])["state"] == "stopped")
    finally:
        controller.end()


def _tasks_come_and_go(controller: Controller, operator: Operator, network: Network) -> None:
    assert [t["name"] for t in operator.ask(op="list")["tasks"]] == ["losses", "elephants"]
    third = {**TASKS[0], "name": "third", "selector": {"event": "loss", "at": [S[2]]}}
    added = operator.ask(op="add", tasks=[third])
    assert added["ok"] and added["revision"] == 2 and added["moves"] == []
    controller.wait_brought(2)
    wait_for("its configuration", lambda: b"third" in operator.heard[topics.config(S[2])])
    refused = operator.ask(op="add", tasks=[{**third, "name": "fourth", "selector": {"event": "loss", "at": ["s9"]}}])
    assert not refused["ok"] and "fourth" in refused["error"] and "no device s9" in refused["error"]
    wrong = operator.ask(op="add", tasks=[{**third, "name": "fifth", "colour": 1}])
    assert not wrong["ok"] and "colour" in wrong["error"]
    for question, text in (
        ({"op": "remove", "tasks": ["sixth"]}, "no task 'sixth'; there are losses"),
        ({"op": "paint"}, "no operation 'paint'; there are list, add"),
        ({"op": "time", "end_ns": "soon"}, "end_ns: must be a whole number"),
    ):
        answer = operator.ask(**question)
        assert not answer["ok"] and text in answer["error"]
    assert operator.ask(op="remove", tasks=["losses", "elephants", "third"])["tasks"] == []
    controller.wait_brought(3)
    for switch in S:
        assert not any("ip_dscp" in rule for rule in network.ours(switch))
    assert operator.ask(op="time", epoch_start_ns=5, end_ns=99)["revision"] == 4
    wait_for("the time", lambda: DeviceConfig.from_json(operator.heard[topics.config(H[0])]).end_ns == 99)
    rules = operator.ask(op="rules")
    assert rules["rules"] == {switch: len(network.ours(switch)) for switch in S} and rules["missing"] == []


def _reports_are_kept(controller: Controller, operator: Operator) -> None:
    folder = controller.run / "reports"
    operator.say(topics.report(S[0]), report_of(S[0], 0, 1))
    operator.say(topics.report(S[0]), b"no report")
    operator.say(topics.report(S[0]), report_of(S[1], 0, 1))
    operator.say(topics.request("x"), b"no json")
    wait_for("a report", lambda: (folder / S[0] / "0-1.npz").exists())
    assert operator.ask(op="rules")["messages_malformed"] == 3
    controller.end(signal.SIGKILL)
    status = topics.status(topics.CONTROLLER)
    wait_for("its will", lambda: json.loads(operator.heard[status])["state"] == "lost")
    for sequence in range(2, 30):
        operator.say(topics.report(H[0]), report_of(H[0], 1, sequence))
    controller.start()
    wait_for("all reports", lambda: len(list((folder / H[0]).glob("1-*.npz"))) == 28)
    operator.say(topics.report(H[0]), report_of(H[0], 1, 2))
    assert operator.ask(op="rules")["reports"] == 28, "what has come before is not written again"


# Beside other applications


def test_beside_another_application(tmp_path: Path) -> None:
    """Ryu's learning switch serves hosts that mozart does not know, on the same switches."""
    from mozart.topologies.json_file import to_json

    a, b, known = f"s{BASE + 5}", f"s{BASE + 6}", (f"h{BASE + 5}", f"h{BASE + 6}")
    links = (Link(a, b, 1.0, 100.0), Link(known[0], a, 0.1, 100.0), Link(known[1], b, 0.1, 100.0))
    topology = Topology("two", known, (a, b), links)
    file = tmp_path / "two.json"
    file.write_text(to_json(topology))
    network = Network(topology)
    controller = Controller(
        tmp_path, {"topology": {"name": str(file)}, "tasks": TASKS[:1]}, "--app", "ryu.app.simple_switch_13"
    )
    try:
        guests = [_guest(network, switch, number) for number, switch in enumerate((a, b))]
        controller.start()
        network.connect(controller.port)
        controller.wait_brought(1, [a, b])
        assert network.ping(*known) and network.ping(known[1], known[0])

        def guests_meet() -> bool:
            command = ["ip", "netns", "exec", guests[0], "ping", "-c1", "-W1", "10.78.0.2"]
            return subprocess.run(command, capture_output=True).returncode == 0

        wait_for("an answer from one guest to the other", guests_meet)
        for switch in (a, b):
            tables = tables_of(controller.plan(), switch, network.ports(switch))
            assert len(network.ours(switch)) == len(tables.rules)
            others = [rule for rule in network.rules(switch) if not rule.startswith("cookie=0x6d7a")]
            assert any("CONTROLLER" in rule for rule in others) and len(others) >= 3
    finally:
        controller.end()
        network.close()


def _guest(network: Network, switch: str, number: int) -> str:
    """Attach a host to a switch that no topology knows; returns its namespace."""
    name = f"g{BASE}-{number}"
    sh("ip", "netns", "add", name)
    network.undo.callback(sh, "ip", "netns", "del", name)
    sh("ip", "link", "add", f"{name}s", "type", "veth", "peer", "name", "eth0", "netns", name)
    sh("ip", "link", "set", f"{name}s", "up")
    sh("ovs-vsctl", "add-port", switch, f"{name}s")
    sh("ip", "-n", name, "addr", "add", f"10.78.0.{number + 1}/24", "dev", "eth0")
    sh("ip", "-n", name, "link", "set", "eth0", "up")
    sh("ip", "netns", "exec", name, "ethtool", "-K", "eth0", "tx", "off")
    return name


# Starting


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--listen", "0.0.0.0:6653"], 2, "listens on loopback only"),
        (["--listen", "6653"], 2, "write it as 127.0.0.1:6653"),
    ],
)
def test_what_the_launcher_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    assert launcher(["--run", str(tmp_path), *arguments]) == code
    assert message in capsys.readouterr().err


def test_a_port_in_use_and_a_wrong_request_end_the_launcher(
    tmp_path: Path, spec: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert launcher(["--run", str(tmp_path), "--listen", f"127.0.0.1:{port}"]) == 1
        assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err
    controller = Controller(tmp_path, {**spec, "topology": {"name": "b5"}})
    controller.start()
    assert controller.process is not None and controller.process.wait(30) == 2
    assert controller.said("must be one of b4") and not controller.said("Traceback")
