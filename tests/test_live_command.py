"""`mozart live` as its user has it: JSON and run folder, a real trace, wrong input, Ctrl-C."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mozart.live.waiting import until
from mozart.tests.live_worlds import bridges_there, interfaces_there, whole_machine
from mozart.tests.needs import TRACES, needs

ROOT = Path(__file__).resolve().parent.parent
REAL = TRACES / "auckland_20000125_87s.pcap.gz"
KEYS = {
    "switches", "hosts", "packets_sent", "packets_delivered", "packets_tagged", "rows", "replay_rows", "drops",
    "event_to_tag_ms", "explicit_ms", "rules", "faults", "clean",
}  # fmt: skip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def machine():
    yield from whole_machine()


def mozart(*arguments, **more):
    command = [sys.executable, "-m", "mozart.cli", "live", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **more)


def test_three_tasks_select_and_capture_live_what_the_replay_says(tmp_path):
    out = tmp_path / "run"
    done = mozart(ROOT / "examples" / "b4-live.yaml", "--duration", 10, "--rate", 4000, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) >= KEYS
    assert (found["switches"], found["hosts"], found["left_behind"], found["refused"]) == (12, 12, [], [])
    assert {fault["kind"] for fault in found["faults"]} <= {"overload"}, "a busy machine"
    assert found["clean"] == (not found["faults"])
    assert len(found["rules"]) == 12 and min(found["rules"].values()) > 0
    assert found["packets_tagged"] > 0
    assert found["packets_arrived_tagged"] == 0
    assert 0.9 * found["packets_sent"] < found["packets_delivered"] <= found["packets_sent"]
    live = {row["task"]: row for row in found["rows"]}
    beside = {row["task"]: row for row in found["replay_rows"]}
    assert set(live) == set(beside) == {"lossy-flows", "scanners", "ecmp-elephants"}
    shares = {each["task"]: each["share"] for each in found["selected"]}
    assert beside["lossy-flows"]["selected_flows"] > 20
    assert shares["lossy-flows"] >= 0.95
    difference = live["lossy-flows"]["not_captured_ratio"] - beside["lossy-flows"]["not_captured_ratio"]
    assert abs(difference) < 0.15  # what a machine with other work loses; benchmarks hold it tighter
    names = {path.name for path in out.iterdir()}
    assert names >= {"run.json", "rows.csv", "rows.parquet", "comparison.csv", "live-and-replay.png", "plan.json"}


@needs("traces")
def test_a_real_trace_selects_the_flows_of_its_replay(tmp_path):
    spec = tmp_path / "real.yaml"
    spec.write_text(
        "topology: {name: b4}\nsampling: {probability: 0.05, epoch_s: 60}\n"
        "tasks:\n- name: lossy-flows\n"
        "  selector: {event: loss, threshold: 0.02, min_packets: 20, at: source-host}\n"
        "  monitor: {measure: volume, at: path-switches, memory_entries: 256}\n"
    )
    done = mozart(spec, "--trace", REAL, "--speed", 4, "--out", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (share,) = [each["share"] for each in found["selected"]]
    assert found["replay_rows"][0]["selected_flows"] > 10
    assert share >= 0.95


def test_wrong_input_is_refused_before_anything_is_made(tmp_path):
    before = bridges_there(), interfaces_there()
    spec = tmp_path / "wrong.yaml"
    spec.write_text(
        "topology: {name: line, n: 2}\ntraffic: {synthetic: caida-like, duration_s: 1, packets_per_s: 100}\n"
        "tasks:\n- name: lossy-flows\n  selector: {event: loss, at: [h9]}\n"
        "  monitor: {measure: volume, at: path-switches}\n"
    )
    done = mozart(spec, "--out", tmp_path / "run", "--json")
    said = json.loads(done.stdout) if done.returncode == 0 else {"refused": []}
    assert "h9" in done.stderr or any("h9" in each["reason"] for each in said["refused"])
    assert (bridges_there(), interfaces_there()) == before
    done = mozart(ROOT / "examples" / "b4-live.yaml", "--mode", "fast", "--out", tmp_path / "other")
    assert done.returncode != 0
    assert "--mode must be one of none, tag" in done.stderr
    assert "Traceback" not in done.stderr
    assert (bridges_there(), interfaces_there()) == before


SMALL = (
    "topology: {name: line, n: 2}\nsampling: {probability: 0.05, epoch_s: 1}\n"
    "traffic: {synthetic: caida-like, duration_s: 120, packets_per_s: 500, elephants: 1, syn_floods: 0}\n"
    "tasks:\n- name: lossy-flows\n  selector: {event: loss, threshold: 0.02, min_packets: 5, at: source-host}\n"
    "  monitor: {measure: volume, at: path-switches, memory_entries: 256}\n"
)


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "SIGHUP")]
)
def test_a_signal_ends_a_run_in_order_with_what_there_is(tmp_path, number, name):
    before = bridges_there(), interfaces_there()
    spec, log = tmp_path / "small.yaml", tmp_path / "log"
    spec.write_text(SMALL)
    command = [
        sys.executable,
        "-m",
        "mozart.cli",
        "live",
        str(spec),
        "--out",
        str(tmp_path / "run"),
        "--patience",
        "240",
    ]
    with log.open("w") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink)
    reports = tmp_path / "run" / "reports"

    def check() -> None:
        assert process.poll() is None, log.read_text()

    until(lambda: len(list(reports.glob("*/*.npz"))) >= 20, "five epochs", 240.0, check)
    for _ in range(1 if number == signal.SIGINT else 2):  # as `timeout` does
        process.send_signal(number)
    assert process.wait(180) == 128 + number, log.read_text()
    assert f"stopped early by {name}" in log.read_text()
    assert "lossy-flows" in log.read_text()
    assert (bridges_there(), interfaces_there()) == before
    found = json.loads((tmp_path / "run" / "run.json").read_text())
    assert found["packets_sent"] > 0 and not found["clean"] and not found["left_behind"]
    assert [fault["kind"] for fault in found["faults"]] == ["stopped"]


def test_a_run_without_a_task_that_fits_starts_nothing(tmp_path):
    spec = tmp_path / "large.yaml"
    spec.write_text(
        "topology: {name: line, n: 2}\ntraffic: {synthetic: caida-like, duration_s: 3600, packets_per_s: 100}\n"
        "resources: {switch_memory_entries: 128}\ntasks:\n- name: large\n  selector: {event: loss, at: source-host}\n"
        "  monitor: {measure: volume, at: path-switches, memory_entries: 200}\n"
    )
    done = mozart(spec, "--out", tmp_path / "run")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no task can run on this network" in done.stderr and "refused: large: capacity: memory of s1" in done.stderr
    assert "starting" not in done.stderr and not (tmp_path / "run").exists()
