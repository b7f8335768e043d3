"""A Mininet network as the live run uses it: what is there, what is recorded, and that nothing stays."""

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from mozart.errors import LiveError
from mozart.live.network import KEPT_BYTES, MTU, SOCKET_BYTES, GivenNetwork, MininetNetwork, datapath, ovs_table
from mozart.live.traffic import Players, Traffic, sent_figures, sites_of, split
from mozart.live.waiting import until
from mozart.replay.vocabulary import load
from mozart.tests.live_worlds import (
    PORT,
    Notes,
    bridges_there,
    bridges_without_controller,
    forward,
    inside,
    interfaces_there,
    whole_machine,
)
from mozart.topologies.catalogue import load as load_topology
from mozart.traces.reader import read


@pytest.fixture(scope="module")
def machine():
    yield from whole_machine()


@pytest.fixture(scope="module")
def notes():
    return Notes()


@pytest.fixture(scope="module")
def line(machine, notes):
    topology = load_topology("line", n=3)
    before = interfaces_there()
    with MininetNetwork(topology, PORT, notes) as network:
        forward(topology)
        yield network
    assert interfaces_there() == before
    assert not bridges_there() & set(topology.switches)
    for kind, _, more, _ in notes.lines:
        if kind == "process":
            assert not Path(f"/proc/{more['pid']}").exists()


def received(network, host):
    """Packets that a host's interface has received."""
    said = inside(network, host, "cat", f"/sys/class/net/{network.host_interface(host)}/statistics/rx_packets").stdout
    if not said:  # /sys shows the interfaces of the namespace that mounted it
        rows = inside(network, host, "ip", "-j", "-s", "link", "show", network.host_interface(host)).stdout
        return json.loads(rows)[0]["stats64"]["rx"]["packets"]
    return int(said)


def test_devices_are_what_agents_are_told(line):
    devices = {device["device"]: device for device in line.devices()}
    assert list(devices) == ["s1", "s2", "s3", "h1", "h2", "h3"]
    assert devices["s2"] == {
        "device": "s2", "kind": "switch", "interface": "s2-mon", "netns_pid": None, "bridge": "s2",
        "management": "/var/run/openvswitch/s2.mgmt",
    }  # fmt: skip
    assert devices["h3"] | {"netns_pid": 0, "netns_start": 0} == {
        "device": "h3", "kind": "host", "interface": "h3-eth0", "netns_pid": 0, "netns_start": 0,
    }  # fmt: skip
    assert Path(devices["s2"]["management"]).is_socket()


def started(pid):
    """When a process started, in the clock ticks of the kernel."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def test_open_vswitch_in_user_space_keeps_its_memory_where_it_was_started_here(line):
    pid = int(Path("/var/run/openvswitch/ovs-vswitchd.pid").read_text())
    if datapath() == "kernel" or started(pid) < started(os.getpid()):
        pytest.skip("Open vSwitch forwards in the kernel, or ran before the tests")
    assert f"MALLOC_TRIM_THRESHOLD_={KEPT_BYTES}" in Path(f"/proc/{pid}/environ").read_text().split("\0")


def test_interfaces_are_plain_and_in_the_order_of_the_links(line):
    opened = {row["name"]: row["ofport"] for row in ovs_table("Interface", "name", "ofport")}
    assert {name: opened[name] for name in ("s2-eth1", "s2-eth2", "s2-eth3")} == {
        "s2-eth1": 1, "s2-eth2": 2, "s2-eth3": 3,
    }  # fmt: skip
    (host,) = json.loads(inside(line, "h2", "ip", "-j", "address", "show", "h2-eth0").stdout)
    assert (host["address"], host["mtu"]) == ("02:00:00:00:00:02", MTU)
    assert [a["local"] for a in host["addr_info"]] == ["10.0.0.2"]  # and no IPv6
    for name in ("s1-eth1", "s3-eth2", "s2-mon"):
        (port,) = json.loads(subprocess.run(["ip", "-j", "address", "show", name], capture_output=True).stdout)
        assert port["addr_info"] == []
        assert (port["mtu"], "UP" in port["flags"]) == (MTU, True)
    offloads = inside(line, "h1", "ethtool", "-k", "h1-eth0").stdout
    for feature in ("tx-checksumming", "tcp-segmentation-offload", "generic-receive-offload"):
        assert f"{feature}: off" in offloads


def test_hosts_reach_each_other_and_switches_wait_for_their_controller(line):
    assert " 0% packet loss" in inside(line, "h1", "ping", "-c", "3", "-i", "0.01", "10.0.0.3").stdout
    assert bridges_without_controller() == {"s1", "s2", "s3"}


def test_a_link_can_be_cut_and_mended(line):
    line.set_link("s2", "s3", up=False)
    try:
        assert "100% packet loss" in inside(line, "h1", "ping", "-c", "1", "-W", "1", "10.0.0.3").stdout
    finally:
        line.set_link("s2", "s3", up=True)
    until(lambda: " 0% packet" in inside(line, "h1", "ping", "-c", "1", "-W", "1", "10.0.0.3").stdout, "a reply", 10)


def test_all_is_recorded_before_it_is_made(line, notes):
    by_kind: dict[str, list[str]] = {}
    for kind, name, _, there in notes.lines:
        by_kind.setdefault(kind, []).append(name)
        assert not there
    assert by_kind["bridge"] == ["s1", "s2", "s3"]
    ports = {f"s{i}-eth{j}" for i, n in ((1, 2), (2, 3), (3, 2)) for j in range(1, n + 1)}
    assert set(by_kind["interface"]) == ports
    assert sum(name.startswith("host ") for name in by_kind["process"]) == 3


def test_ports_hold_a_burst_and_the_default_of_the_machine_is_as_it_was(line, notes):
    if line.datapath == "kernel":
        pytest.skip("Open vSwitch forwards in the kernel here: its ports have no sockets")
    if not os.access("/proc/sys/net/core/rmem_default", os.W_OK):
        pytest.skip("only the first network namespace of a machine may set its default, not a container")
    settings = [(name, more) for kind, name, more, _ in notes.lines if kind == "setting"]
    default = int(Path("/proc/sys/net/core/rmem_default").read_text())
    assert settings == [("net.core.rmem_default", {"before": default, "ours": SOCKET_BYTES})]
    sockets = subprocess.run(["ss", "-0", "-a", "-n", "-m"], capture_output=True, text=True, check=True).stdout
    sizes = re.findall(r"[*]:s2-eth1 .*?skmem:\(r\d+,rb(\d+)", sockets, re.DOTALL)
    assert sizes and {int(size) for size in sizes} == {SOCKET_BYTES}


def test_a_second_network_of_the_same_names_is_refused_and_touches_nothing(line):
    notes = Notes()
    with pytest.raises(LiveError, match=r"s1, s2, s3, s1-eth1.*there already"):
        MininetNetwork(line.topology, PORT, notes).start()
    assert notes.lines == []
    assert " 0% packet loss" in inside(line, "h1", "ping", "-c", "1", "10.0.0.3").stdout


def test_every_packet_of_the_traffic_arrives_at_its_host(line, tmp_path):
    traffic = {"synthetic": "caida-like", "duration_s": 2, "packets_per_s": 600, "syn_floods": 0, "elephants": 0}
    task = {
        "name": "all",
        "selector": {"event": "elephant", "at": "ingress-switch"},
        "monitor": {"measure": "volume", "at": "path-switches"},
    }
    spec = load({"topology": {"name": "line", "n": 3}, "traffic": traffic, "tasks": [task]})
    parts = split(spec, line.topology, tmp_path)
    expected = np.zeros(3, np.int64)
    for file in parts.files.values():
        with read(file) as trace:
            for batch in trace:
                expected += np.bincount(sites_of(spec, line.topology).hosts_of(batch)[1], minlength=3)
    before = [received(line, host) for host in line.topology.hosts]
    players = Players(line, parts, tmp_path / "logs", Notes())
    players.start()
    played = players.wait(60)
    assert sent_figures(played)["packets"] == parts.total == expected.sum()
    assert sent_figures(played)["failed"] == 0

    def arrived():
        return [received(line, host) - old for host, old in zip(line.topology.hosts, before, strict=True)]

    until(lambda: arrived() == expected.tolist(), f"{expected} packets", 10)


def test_a_sender_that_fails_says_why(line, tmp_path):
    players = Players(line, Traffic({"h1": tmp_path / "none.pcap"}, {"h1": 1}, 1.0, 1.0), tmp_path, Notes())
    players.start()
    with pytest.raises(LiveError, match=r"(?s)tcpreplay of h1 ended with status.*none.pcap"):
        players.wait(30)


def test_a_given_network_is_read_from_its_file_and_left_alone(line, tmp_path):
    path = tmp_path / "devices.json"
    path.write_text(json.dumps(line.devices()))
    notes = Notes()
    with GivenNetwork(line.topology, path, notes) as given:
        assert given.devices() == line.devices()
        assert given.host_pids == line.host_pids
        assert given.inside("h2") == line.inside("h2")
        recorded = [(kind, name, more.get("pid")) for kind, name, more, _ in notes.lines]
        tables = [("nft", "mozart", pid) for pid in line.host_pids.values()]
        assert recorded == [*(("rules", switch, None) for switch in ("s1", "s2", "s3")), *tables]
    assert " 0% packet loss" in inside(line, "h1", "ping", "-c", "1", "10.0.0.3").stdout
    path.write_text(json.dumps([d for d in line.devices() if d["device"] not in ("s2", "h1")]))
    with pytest.raises(LiveError, match=r"lacks s2"):
        GivenNetwork(line.topology, path, notes)
    renamed = [{**d, "bridge": "nowhere"} if d["device"] == "s2" else d for d in line.devices()]
    path.write_text(json.dumps(renamed))
    with pytest.raises(LiveError, match=r"has no bridge for s2"):
        GivenNetwork(line.topology, path, notes)
    for wrong in ("[", "[1]", '[{"device": "s1", "kind": "switch"}]', "{}"):
        path.write_text(wrong)
        with pytest.raises(LiveError, match=r"devices.json"):
            GivenNetwork(line.topology, path, notes)


def test_open_vswitch_that_does_not_run_is_an_error_that_says_how_to_start_it(machine, monkeypatch):
    monkeypatch.setenv("OVS_RUNDIR", "/nonexistent")
    monkeypatch.setenv("OVS_DBDIR", "/nonexistent")
    with pytest.raises(LiveError, match=r"start it with .*ovs-ctl start"):
        ovs_table("Bridge", "name")
