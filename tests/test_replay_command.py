"""`mozart replay` and `mozart.replay` as users call them: names, files, exit statuses, wrong input, Ctrl-C."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import threading
from array import array
from fcntl import ioctl
from pathlib import Path
from termios import FIONREAD
from typing import Any

import mozart
import pytest
from mozart.cli import main
from mozart.errors import SpecError
from mozart.tests.needs import trace as real_trace
from mozart.traces.synth import Synthesizer
from mozart.traces.synth_options import SynthOptions
from mozart.traces.writer import PcapWriter

ROW_NAMES = {
    "task", "mode", "memory_entries", "detection_delay_ms", "selected_flows", "captured_flows", "not_captured_ratio",
    "unreachable_flows", "floor_ratio", "selected_bytes", "captured_bytes", "pre_event_bytes",
    "pre_event_captured_bytes", "volume_error", "selected_collisions", "report_bytes",
}  # fmt: skip

SPEC = """
topology: {name: b4}
traffic: {synthetic: caida-like, duration_s: 2, packets_per_s: 20000, lossy_share: 0.5}
sampling: {probability: 0.05, epoch_s: 1}
tasks:
  - name: lossy-flows
    selector: {event: loss, threshold: 0.02, min_packets: 10, at: source-host}
    monitor: {measure: volume, at: path-switches, memory_entries: 64}
  - name: busy
    selector: {event: elephant, key: src+dst, threshold_mbps: 1, at: ecmp-switch}
    monitor: {measure: volume, at: ecmp-peers, memory_entries: 64}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """Return a task file of two tasks over two seconds of traffic."""
    path = tmp_path / "tasks.yaml"
    path.write_text(SPEC)
    return path


@pytest.fixture(scope="session")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a synthetic trace of a second."""
    path = tmp_path_factory.mktemp("traces") / "second.pcap"
    with PcapWriter(path) as writer:
        for batch in Synthesizer(SynthOptions(duration_s=1.0, packets_per_s=30000.0, lossy_share=0.5)):
            writer.write(batch)
    return path


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    """Run `mozart replay ... --json` and return what it prints."""
    assert main(["replay", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_json_has_the_documented_names(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, spec, "--memory", "16,64", "--detection-delay-ms", "0,50")
    assert {"packets", "flows", "bytes", "duration_s", "skipped"} <= found["trace"].keys()
    assert {"rows", "located_links", "packets_per_s"} <= found.keys()
    assert all(row.keys() >= ROW_NAMES for row in found["rows"])
    assert len(found["rows"]) == 2 * 5 * 2 * 2  # tasks, modes, sizes, delays
    assert any(row["selected_flows"] for row in found["rows"])


def test_same_seed_gives_the_same_rows_and_another_seed_others(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [run_json(capsys, spec, "--seed", seed)["rows"] for seed in (5, 5, 6)]
    assert json.dumps(rows[0]) == json.dumps(rows[1])
    assert rows[0] != rows[2]


def test_a_seed_given_beside_the_task_file_changes_its_traffic_too(tmp_path: Path) -> None:
    path = tmp_path / "tasks.yaml"
    path.write_text(SPEC.replace("lossy_share: 0.5", "lossy_share: 0.5, seed: 3"))
    package: Any = mozart
    usual, five, six = (package.replay(path, mode="tag", seed=seed).trace for seed in (None, 5, 6))
    assert len({trace["bytes"] for trace in (usual, five, six)}) == 3


def test_a_trace_that_takes_no_time_loads_no_link(spec: Path, tmp_path: Path) -> None:
    with PcapWriter(tmp_path / "one.pcap") as writer:
        writer.write(next(iter(Synthesizer(SynthOptions(duration_s=1.0))))[:1])
    package: Any = mozart
    result = package.replay(spec, trace=tmp_path / "one.pcap", mode="tag")
    assert result.trace["packets"] == 1
    assert set(result.link_mbps.values()) == {0.0}


def test_lists_of_modes_may_have_spaces_and_no_list_may_be_empty(spec: Path) -> None:
    package: Any = mozart
    assert {row["mode"] for row in package.replay(spec, mode=["none", " mozart"]).rows} == {"none", "mozart"}
    for nothing in ("mode", "memory", "detection_delay_ms"):
        with pytest.raises(SpecError, match=r"no (mode|value) is given"):
            package.replay(spec, **{nothing: []})


def test_the_run_folder_has_tables_and_pictures(spec: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    out = tmp_path / "run"
    assert main(["replay", str(spec), "--memory", "16,64,256", "--out", str(out)]) == 0
    run = json.loads((out / "run.json").read_text())
    assert run["spec"]["tasks"][0]["name"] == "lossy-flows"
    assert {"mozart", "packages", "host", "commit"} <= run.keys()
    assert {"numpy", "numba", "llvmlite", "highspy", "PuLP", "pyarrow", "PyYAML"} <= run["packages"].keys()
    assert run["packages"]["highspy"] == importlib.metadata.version("highspy")
    assert pyarrow.parquet.read_table(out / "rows.parquet").to_pylist() == run["rows"]
    assert len((out / "rows.csv").read_text().splitlines()) == 1 + len(run["rows"])
    for name in ("lossy-flows-not-captured", "lossy-flows-pre-event", "lossy-flows-report-bytes", "network"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (out / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_loss_on_a_link_is_located(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, spec, "--loss", "s3-s6=20%", "--mode", "mozart", "--memory", "4096")
    (located,) = (f for f in found["located_links"] if f["task"] == "lossy-flows")
    assert [link["link"] for link in located["links"]] == ["s3-s6"]
    assert located["links"][0]["estimated_loss"] == pytest.approx(0.2, abs=0.05)
    assert located["precision"] == located["recall"] == located["flow_precision"] == 1.0
    assert found["trace"]["dropped_on_links"] > 0


def test_located_links_are_a_table_of_the_run_folder(spec: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    out = tmp_path / "run"
    usual = ["replay", str(spec), "--mode", "tag,mozart", "--memory", "4096", "--out", str(out)]
    assert main([*usual, "--loss", "s3-s6=20%,h1-s1=1%"]) == 0
    rows = pyarrow.parquet.read_table(out / "links.parquet").to_pylist()
    assert [(row["mode"], row["link"], row["judged"]) for row in rows] == [
        (mode, link, judged) for mode in ("tag", "mozart") for link, judged in (("s3-s6", True), ("h1-s1", False))
    ]
    assert len((out / "links.csv").read_text().splitlines()) == 1 + len(rows)
    assert main([*usual, "--force"]) == 0
    assert not (out / "links.csv").exists()


def test_traces_stand_in_for_the_task_files_traffic(
    spec: Path, trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run_json(capsys, spec, "--trace", trace, "--mode", "mozart")
    assert found["trace"]["duration_s"] == pytest.approx(1.0, abs=0.1)
    assert found["trace"]["skipped"]["not_ip"] == 0


def test_a_damaged_trace_is_replayed_up_to_the_damage(
    spec: Path, trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(trace.read_bytes()[:-7])
    whole = run_json(capsys, spec, "--trace", trace, "--mode", "mozart")["trace"]["packets"]
    assert main(["replay", str(spec), "--trace", str(cut), "--mode", "mozart", "--json"]) == 2
    output = capsys.readouterr()
    found = json.loads(output.out)
    assert found["trace"]["packets"] == whole - 1
    assert "cut.pcap" in output.err and "cut.pcap" in found["error"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--mode", "mozrat"], "--mode must be one of none, tag"),
        (["--memory", "many"], "--memory must be a whole number"),
        (["--memory", "0"], "--memory must be a whole number from 1 to"),
        (["--detection-delay-ms", "-1"], "--detection-delay-ms must be a number from 0 to"),
        (["--loss", "s1-s12=1%"], "no such link"),
        (["--loss", "s3-s6"], "LINK=PROBABILITY"),
        (["--loss", "s3-s6=2"], "must be a number from 0 to 1"),
        (["--probability", "2"], "--probability"),
        (["--trace", "nowhere.pcap"], "nowhere.pcap"),
        (["--trace", "nowhere.pcap", "--duration", "3"], "--duration is for synthetic traffic"),
    ],
)
def test_wrong_options_are_refused(
    spec: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(spec), *arguments]) == 2
    assert says in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_named(spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["replay", str(spec), "--mode", "tag", "--out", str(tmp_path / "file" / "run")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_ctrl_c_keeps_what_was_replayed(spec: Path, tmp_path: Path) -> None:
    long = tmp_path / "long.pcap"
    with PcapWriter(long) as writer:
        for batch in Synthesizer(SynthOptions(duration_s=4.0, packets_per_s=200000.0)):
            writer.write(batch)
    command = [sys.executable, "-m", "mozart.cli", "replay", str(spec), "--trace", "-", "--mode", "mozart"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*command, "--out", str(tmp_path / "run")], stdin=pipe, stdout=pipe, stderr=pipe, text=False
    ) as process:
        assert process.stdin is not None
        data = long.read_bytes()
        half = len(data) // 2
        process.stdin.write(data[:half])  # far more than pipe and buffers hold, so the replay has begun
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(data[half:], timeout=240)
    assert process.returncode == 130, errors
    assert b"stopped by Ctrl-C" in errors
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["interrupted"] is True
    assert 0 < run["trace"]["packets"] < writer.packets
    assert b"packets" in output


def test_a_silent_pipe_is_given_up_and_what_came_through_it_is_replayed(spec: Path, tmp_path: Path) -> None:
    trace, pipe, stop = tmp_path / "some.pcap", tmp_path / "pipe", threading.Event()
    with PcapWriter(trace) as writer:
        for batch in Synthesizer(SynthOptions(duration_s=0.1, packets_per_s=5000.0)):
            writer.write(batch)
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDWR)  # which nobody closes while it is read

    def give_some_and_stop() -> None:
        os.write(end, trace.read_bytes())
        waiting = array("i", [1])
        while waiting[0]:
            ioctl(end, FIONREAD, waiting)
        stop.set()

    threading.Thread(target=give_some_and_stop).start()
    package: Any = mozart
    result = package.replay(spec, trace=pipe, mode="mozart", stop=stop)
    os.close(end)
    assert result.interrupted and result.error is None
    assert result.trace["packets"] == writer.packets > 300


def test_notebooks_get_tables(spec: Path) -> None:
    package: Any = mozart  # to the type checker, mozart.replay is the room
    result = package.replay(spec, mode=["none", "mozart"], memory=[32])
    assert result.to_polars().shape[0] == result.to_pandas().shape[0] == len(result.rows) == 4
    assert set(result.to_pandas().columns) >= ROW_NAMES
    assert set(result.to_polars().columns) >= ROW_NAMES


def test_the_function_stays_under_its_name_when_the_room_is_imported(spec: Path) -> None:
    import mozart.replay.run as room

    assert callable(room.replay)
    package: Any = mozart
    assert callable(package.replay)
    with pytest.raises(SpecError, match="no mode"):
        package.replay(spec, mode=["nothing"])


def test_check_says_what_would_run(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(spec)]) == 0
    said = capsys.readouterr().out
    assert "lossy-flows: loss on h1 to h12; volume on s1 to s12; selections travel by tag" in said
    assert "travel by message" in said


@pytest.mark.parametrize(
    ("name", "packets", "selected"),
    [("auckland_20000125_87s.pcap.gz", 31249, True), ("caida_nyc_20180315_0.024s.pcap.gz", 10000, False)],
)
def test_real_traces_replay(
    name: str, packets: int, selected: bool, spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run_json(capsys, spec, "--trace", real_trace(name), "--memory", "256")
    assert found["trace"]["packets"] == packets
    by_mode = {row["mode"]: row for row in found["rows"] if row["task"] == "lossy-flows"}
    if selected:
        assert by_mode["mozart"]["not_captured_ratio"] < by_mode["none"]["not_captured_ratio"]
        assert by_mode["recent"]["pre_event_captured_bytes"] > by_mode["mozart"]["pre_event_captured_bytes"]
