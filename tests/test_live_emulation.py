"""Links that lose and slow packets, and networks that are not taken down as they should be."""

import subprocess
import sys

import pytest
from mozart.errors import LiveError, SpecError
from mozart.live.clean import clean
from mozart.live.emulation import TABLE, Emulation, Sending, drop_rules, has_qdisc
from mozart.live.network import MininetNetwork
from mozart.live.record import Record, recorded_runs
from mozart.live.waiting import until
from mozart.tests.live_worlds import PORT, Notes, bridges_there, forward, inside, interfaces_there, whole_machine
from mozart.topologies.catalogue import load as load_topology
from mozart.topologies.topology import Link


@pytest.fixture(scope="module")
def machine():
    yield from whole_machine()


@pytest.fixture
def emulated(machine):
    """Three switches, links of 50 Mbit/s and 2 ms, of which s1-s2 and h3-s3 lose packets."""
    topology = load_topology("line", n=3, latency_ms=2, rate_mbps=50)
    with MininetNetwork(topology, PORT, notes := Notes()) as network:
        forward(topology)
        emulation = Emulation(topology, {"s1-s2": 0.2, "h3-s3": 0.1}, network, notes)
        said = emulation.start()
        yield network, emulation, said
    if not emulation.netem:
        assert ("nft", TABLE) in [(kind, name) for kind, name, _, _ in notes.lines]
    listed = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
    assert TABLE not in listed


def test_lost_packets_are_those_that_the_links_dropped(emulated):
    network, emulation, said = emulated
    ping = inside(network, "h1", "ping", "-c", "400", "-i", "0.002", "-W", "1", "10.0.0.3").stdout
    sent, answered = (int(part.split()[0]) for part in ping.splitlines()[-2 if "rtt" in ping else -1].split(",")[:2])
    assert sent == 400
    dropped = emulation.dropped()
    assert set(dropped) == {"s1-s2", "h3-s3"}
    lost = sent - answered
    assert 0.85 * lost <= sum(dropped.values()) <= lost  # a busy machine loses some more
    assert 80 < dropped["s1-s2"] < 200
    assert any("netem" in sentence for sentence in said) != has_qdisc("netem", "delay", "1ms")


def test_rates_are_those_of_the_topology_up_to_a_gigabit(emulated):
    _, _, said = emulated
    if not has_qdisc("htb"):
        pytest.skip("this kernel has no HTB")
    shown = subprocess.run(["tc", "class", "show", "dev", "s2-eth1"], capture_output=True, text=True).stdout
    assert "rate 50Mbit" in shown
    said_of_rates = [sentence for sentence in said if sentence.startswith("the rates")]
    assert said_of_rates == ["the rates of 3 links are not emulated, above 1,000 Mbit/s"]  # those to the hosts


def test_loss_on_a_link_that_is_not_there_is_refused(machine):
    topology = load_topology("line", n=2)
    network = MininetNetwork(topology, PORT, Notes())
    with pytest.raises(SpecError, match="no such link; it has s1-s2, h1-s1, h2-s2"):
        Emulation(topology, {"s1-s9": 0.1}, network, Notes())


def test_rules_that_drop_name_each_interface_and_its_chance():
    text = drop_rules([Sending(Link("s1", "s2", 1, 1), "s1", "s1-eth1", 0.02)])
    assert 'chain s1-eth1 { type filter hook egress device "s1-eth1"' in text
    assert "numgen random mod 1000000 < 20000 counter drop" in text


def test_what_is_left_after_a_crash_goes_by_the_record(machine, tmp_path):
    """A run that is killed in the middle of starting leaves a record that undoes all of it."""
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from mozart.live.network import MininetNetwork\n"
        "from mozart.live.record import Record\n"
        "from mozart.topologies.catalogue import load\n"
        "record = Record.open(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        f"MininetNetwork(load('line', n=3), {PORT}, record).start()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    before = interfaces_there()
    records = tmp_path / "records"
    subprocess.run([sys.executable, "-c", code, str(tmp_path), str(records)], check=False)
    assert "s1" in bridges_there()
    said: list[str] = []
    assert clean(said.append, records=records)
    until(lambda: interfaces_there() == before, "the interfaces to go", 20)
    assert not bridges_there() & {"s1", "s2", "s3"}
    assert recorded_runs(records) == []


def test_nothing_is_left_of_a_start_that_fails_half_way(machine, monkeypatch, tmp_path):
    before = interfaces_there()
    network = MininetNetwork(load_topology("line", n=2), PORT, Notes())
    monkeypatch.setattr(network, "_configure", lambda: (_ for _ in ()).throw(LiveError("on purpose")))
    with pytest.raises(LiveError, match="on purpose"):
        network.start()
    assert interfaces_there() == before
    with Record.open(tmp_path, tmp_path / "records") as record:
        network = MininetNetwork(network.topology, PORT, record)
        with network:
            pass
    assert record.undone == [] and record.problems == []
