"""Hosts that somebody else made: what a killed run's agents made in their namespaces is cleaned, and nothing else."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from mozart.live.clean import clean
from mozart.live.record import FILE, Record, recorded_runs
from mozart.live.waiting import until
from mozart.tests.needs import needs

pytestmark = needs("root", "ip", "nft", "namespaces")
DEADLINE_S = 30.0
RUN = """
import sys
from pathlib import Path
from mozart.agents.host_tagger import HostTagger
from mozart.live import network
from mozart.live.record import Record
from mozart.tests.agent_worlds import selector
from mozart.topologies.catalogue import load

file, base = map(Path, sys.argv[1:])
network.ovs_table = lambda *columns: [{"name": "s1"}, {"name": "s2"}]
record = Record.open(Path("results"), base)
given = network.GivenNetwork(load("line", n=2), file, record)
given.start()
for device in given.devices():
    if device["kind"] == "host":
        HostTagger(device["device"], device["interface"], device["netns_pid"]).configure([selector()])
print("ready", flush=True)
sys.stdin.read()
"""
"""A run as far as it concerns hosts: the network that was given, and its agents' tables. Switches are made believe."""


@dataclasses.dataclass
class Host:
    """A namespace that an operator made, with an interface."""

    interface: str
    process: subprocess.Popen[bytes]

    def run(self, *command: str) -> str:
        """Run a command inside."""
        inside = ["nsenter", f"--net=/proc/{self.process.pid}/ns/net"]
        return subprocess.run([*inside, *command], capture_output=True, text=True, check=True).stdout

    def tables(self) -> list[str]:
        """The tables of nftables inside."""
        return sorted(self.run("nft", "list", "tables").splitlines())


@pytest.fixture
def hosts():
    made = []
    here = Path("/proc/self/ns/net").readlink()
    for name in ("h1", "h2"):
        process = subprocess.Popen(["unshare", "--net", "sleep", "600"])
        made.append(Host(f"{name}-eth0", process))
        until(lambda: Path(f"/proc/{made[-1].process.pid}/ns/net").readlink() != here, "the namespace", DEADLINE_S)
        made[-1].run("ip", "link", "add", f"{name}-eth0", "type", "veth", "peer", "name", "other")
        made[-1].run("nft", "add", "table", "netdev", "theirs")
        made[-1].run("nft", "add", "table", "inet", "mozart")
    yield made
    for host in made:
        host.process.kill()
        host.process.wait()


@pytest.fixture
def devices(hosts, tmp_path):
    """The file of devices, with two switches that nobody looks at."""
    file = tmp_path / "devices.json"
    switches = [
        {"device": s, "kind": "switch", "interface": f"{s}-mon", "netns_pid": None, "bridge": s, "management": "none"}
        for s in ("s1", "s2")
    ]
    ours = [
        {"device": f"h{i}", "kind": "host", "interface": host.interface, "netns_pid": host.process.pid}
        for i, host in enumerate(hosts, 1)
    ]
    file.write_text(json.dumps(switches + ours))
    return file


def killed(devices, base):
    """Let a run begin, and kill it with signal 9 when its tables are there."""
    command = [sys.executable, "-c", RUN, str(devices), str(base)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None and owner.stdout.readline() == "ready\n"
        owner.kill()


def test_after_kill_9_our_tables_go_and_those_of_others_in_the_same_namespace_stay(hosts, devices, tmp_path):
    theirs = ["table inet mozart", "table netdev theirs"]
    killed(devices, tmp_path / "records")
    for host in hosts:
        assert host.tables() == sorted([*theirs, "table netdev mozart"])
        assert "hook egress" in host.run("nft", "list", "table", "netdev", "mozart")
    said: list[str] = []
    assert clean(said.append, records=tmp_path / "records")
    for host in hosts:
        assert host.tables() == theirs and host.process.poll() is None
        assert f"  nft mozart (in the namespace of process {host.process.pid})" in said
    assert recorded_runs(tmp_path / "records") == []


def test_a_table_that_an_operator_made_before_the_run_stays(hosts, devices, tmp_path):
    hosts[0].run("nft", "add", "table", "netdev", "mozart")
    killed(devices, tmp_path / "records")
    assert clean(lambda line: None, records=tmp_path / "records")
    assert "table netdev mozart" in hosts[0].tables()
    assert "table netdev mozart" not in hosts[1].tables()


def test_a_run_under_way_keeps_its_own_table_and_not_those_of_another_host(hosts, devices, tmp_path):
    killed(devices, tmp_path / "records")
    with Record.open(tmp_path, tmp_path / "records") as record:
        record("nft", "mozart", family="netdev", pid=hosts[1].process.pid)
        path = record.path / FILE
        path.write_text(path.read_text().replace(', "existed": true', ""))  # as if it had been first
        assert clean(lambda line: None, records=tmp_path / "records")
        assert "table netdev mozart" not in hosts[0].tables()
        assert "table netdev mozart" in hosts[1].tables()
    assert "table netdev mozart" not in hosts[1].tables()


def test_tables_are_gone_when_the_run_has_ended_in_order(hosts, devices, tmp_path):
    script = RUN.replace('print("ready", flush=True)\nsys.stdin.read()', "record.close()")
    command = [sys.executable, "-c", script, str(devices), str(tmp_path / "records")]
    subprocess.run(command, check=True, timeout=120)
    assert all("table netdev mozart" not in host.tables() for host in hosts)
