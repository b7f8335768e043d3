"""A whole live run on real parts (B4 in Mininet, Open vSwitch, Ryu, mosquitto, agents, tcpreplay), and parts killed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mozart.agents.epochs import Epochs
from mozart.bus import topics
from mozart.bus.messages import unpack
from mozart.live.clean import clean
from mozart.live.network import MininetNetwork
from mozart.live.processes import Process
from mozart.live.record import DAEMONS, recorded_runs
from mozart.live.run import Options, Run
from mozart.live.waiting import until
from mozart.replay.vocabulary import load
from mozart.tests.live_worlds import bridges_there, bridges_without_controller, interfaces_there, whole_machine

LONG_S = 30.0

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def machine():
    yield from whole_machine()


def spec_of(duration_s, **traffic):
    document = {
        "topology": {"name": "b4"},
        "traffic": {
            "synthetic": "caida-like", "duration_s": duration_s, "packets_per_s": 2000, "lossy_share": 0.5,
            "scanners": 60, "scan_rate_per_s": 10, "syn_floods": 0, "elephants": 60, "elephant_mbps": 2,
            "elephant_s": 10, **traffic,
        },
        "sampling": {"probability": 0.05, "epoch_s": 5},
        "tasks": [
            {
                "name": "lossy-flows",
                "selector": {"event": "loss", "threshold": 0.02, "min_packets": 5, "at": "source-host"},
                "monitor": {"measure": "volume", "at": "path-switches", "memory_entries": 512},
            },
            {
                "name": "scanners",
                "selector": {"event": "port-scan", "ports": [22, 23, 445, 3389], "threshold": 5, "at": "egress-switch"},
                "monitor": {"measure": "distinct-destinations", "key": "src", "at": "ingress-switch"},
            },
            {
                "name": "ecmp-elephants",
                "selector": {
                    "event": "elephant", "key": "src+dst", "threshold_mbps": 1, "window_s": 1, "at": "ecmp-switch",
                },
                "monitor": {"measure": "volume", "at": "ecmp-peers", "memory_entries": 512},
            },
        ],
    }  # fmt: skip
    return load(document)


def headers(run, device):
    return [unpack(path.read_bytes())[0] for path in run.reports(device)]


def away_all_of(plan, told):
    """Epochs of which a device saw nothing, as it says itself: a slow machine takes long to start an agent again."""
    epochs = Epochs.of(plan.devices["s1"])
    gaps = [gap for header in told for gap in header["gaps"]]
    last = max(header["epoch"] for header in told)
    return {n for n in range(last) if any(a <= epochs.begin_ns(n) and epochs.over_ns(n) <= b for a, b in gaps)}


def texts(run):
    return [fault.text for fault in run.faults]


def nothing_left(before):
    """Whether the machine has the bridges, interfaces and namespaces that it had."""
    return (bridges_there(), interfaces_there()) == before


def test_parts_that_are_killed_come_back_and_no_report_is_lost(tmp_path):
    before = bridges_there(), interfaces_there()
    run = Run(spec_of(15.0), Options(mode="mozart"), tmp_path / "run", say=lambda text: None)
    killed: list[int] = []

    def look():
        seen = sum(len(run.reports(device)) for device in run.devices)
        if not killed and seen >= len(run.devices) * 2:  # all have told of their first epoch
            killed.append(run.agents[1].pid)
            run.agents[1].kill()
        elif len(killed) == 1 and run.agents[1].pid != killed[0]:
            rules_before.update(run.operator.ask("rules")["rules"])
            killed.append(run.controller.pid)
            run.controller.kill()
        elif len(killed) == 2 and run.controller.pid != killed[1]:
            killed.append(run.broker.process.pid)
            run.broker.kill()

    rules_before: dict[str, int] = {}
    with run:
        revision = run.plan.revision
        run.play(look)
        assert len(killed) == 3, run.faults
        until(
            lambda: run.operator.status.get(topics.CONTROLLER, {}).get("state") == "running",
            "the controller", LONG_S, run.supervise,
        )  # fmt: skip
        assert run.plan.revision == revision
        run.finish()
        assert run.operator.ask("rules")["rules"] == rules_before
        victims = [device["device"] for device in run.parts[1]]
    notes = "\n".join(texts(run))
    assert "agent 1 ended with status -9; it was started again" in notes
    assert "controller ended with status -9; it was started again" in notes
    assert "mosquitto" in notes or "broker" in notes
    assert not [note for note in texts(run) if "no last report" in note]
    for device in run.devices:
        told = headers(run, device)
        assert sorted(header["sequence"] for header in told) == list(range(len(told))), device
        missing = set(range(max(header["epoch"] for header in told))) - {header["epoch"] for header in told}
        assert missing <= away_all_of(run.plan, told), device
    for device in victims:
        assert any(header["gaps"] for header in headers(run, device)), device
    assert nothing_left(before)


def test_a_link_that_is_cut_gets_traffic_past_it_and_the_moves_are_told(tmp_path):
    run = Run(spec_of(8.0), Options(mode="mozart"), tmp_path / "run", say=lambda text: None)
    with run:
        cut: list[str] = []

        def look():
            if not cut:
                cut.append("s3-s6")
                assert isinstance(run.network, MininetNetwork)
                run.network.set_link("s3", "s6", up=False)

        run.play(look)
        until(lambda: "s3-s6" in run.plan.down, "a plan without the link", LONG_S)
        run.finish()
        crossings = run.plan.switches["s3"]
        assert all("s6" not in crossing.next for crossing in crossings.values())
    assert [each.device for each in run.faults if each.kind == "link-down"] == ["s3-s6"]


def marked_by(marks):
    """Processes that bear one of these in their environment, but for Open vSwitch's, which `clean` stops."""
    found = []
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            name = (path / "comm").read_text().strip() if path.name.isdecimal() else ""
            if name and name not in DAEMONS and set(marks) & set((path / "environ").read_bytes().split(b"\0")):
                found.append(name)
    return found


def test_kill_9_in_the_middle_leaves_nothing_after_clean(tmp_path):
    before = bridges_there(), interfaces_there()
    script = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[2])\n"
        "from mozart.tests.test_live_run import spec_of\n"
        "from mozart.live.run import Options, Run\n"
        "run = Run(spec_of(60.0), Options(), pathlib.Path(sys.argv[1]))\n"
        "with run:\n    print('up', flush=True)\n    run.play()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "run"), str(Path(__file__).parent)]
    log = tmp_path / "log"
    victim = Process("a run", command, log, lambda *_, **__: 0)
    until(lambda: "\nup" in log.read_text(), "the run to be up", 90.0, victim.check)
    victim.popen.send_signal(signal.SIGKILL)
    victim.popen.wait()
    assert not nothing_left(before)
    marks = [f"MOZART_RUN={run.id}".encode() for run in recorded_runs()]
    until(lambda: not marked_by(marks), "agents, broker and controller to end by themselves", LONG_S)
    clean(lambda text: None, None, False)
    assert nothing_left(before)
    mine = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True).stdout
    assert mine == ""


def test_open_vswitch_that_crashes_has_its_rules_back_and_measures_on(tmp_path):
    run = Run(spec_of(20.0), Options(mode="mozart"), tmp_path / "run", say=lambda text: None)
    crashed: list[float] = []
    back: list[float] = []

    def rules():
        return run.operator.status.get(topics.CONTROLLER, {}).get("rules", {})

    def look():
        now = time.monotonic()
        if not crashed and all(len(run.reports(device)) >= 2 for device in run.devices):
            before.update(run.operator.ask("rules")["rules"])
            crashed.append(now)
            os.kill(int(Path("/var/run/openvswitch/ovs-vswitchd.pid").read_text()), signal.SIGSEGV)
        elif crashed and not back and not bridges_without_controller() and now > crashed[0] + 1:
            back.append(now)

    before: dict[str, int] = {}
    with run:
        run.play(look)
        assert back, run.faults
        assert run.operator.ask("rules")["rules"] == before
        run.finish()
        last = {device: headers(run, device)[-1] for device in run.topology.switches}
    assert sum(header["counters"]["packets"] for header in last.values()) > 0
    assert not [note for note in texts(run) if "no last report" in note]


def test_ten_runs_leave_nothing_behind(tmp_path):
    before = bridges_there(), interfaces_there()
    spec = load(
        {
            "topology": {"name": "line", "n": 2},
            "traffic": {"synthetic": "caida-like", "duration_s": 0.2, "packets_per_s": 500, "syn_floods": 0},
            "tasks": [
                {
                    "name": "lossy-flows",
                    "selector": {"event": "loss", "threshold": 0.02, "min_packets": 5, "at": "source-host"},
                    "monitor": {"measure": "volume", "at": "path-switches", "memory_entries": 64},
                }
            ],
        }
    )
    for number in range(10):
        with Run(spec, Options(), tmp_path / f"run-{number}", say=lambda text: None) as run:
            assert not nothing_left(before)
        assert nothing_left(before)
        assert not run.record.problems
    mine = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True).stdout
    assert mine == ""
