"""How commands behave where their user's world is not as it should be: wrong input, closed pipes, narrow terminals."""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import mozart.commands.check
import pytest
from mozart.cli import main
from mozart.commands.tasks import ranges, show
from mozart.replay.figures import capture, past, reports
from mozart.replay.report import tables
from mozart.replay.run import replay
from rich.console import Console

MOZART = [sys.executable, "-c", "import sys; from mozart.cli import main; sys.exit(main())"]
SPEC = """
topology: {name: line}
traffic: {synthetic: caida-like, duration_s: 0.5, packets_per_s: 4000, lossy_share: 0.9}
tasks:
  - name: lossy
    selector: {event: loss, threshold: 0.01, min_packets: 2, at: source-host}
    monitor: {measure: volume, at: path-switches, memory_entries: 64}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """Return a task file of one task over half a second of traffic."""
    path = tmp_path / "tasks.yaml"
    path.write_text(SPEC)
    return path


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize("name", ["empty.pcap", "text.pcap", "folder"])
def test_a_trace_without_a_packet_is_no_result(
    spec: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.pcap").touch()
    (tmp_path / "text.pcap").write_text("these are words\n")
    (tmp_path / "folder").mkdir()
    assert run("replay", spec, "--trace", tmp_path / name, "--out", tmp_path / "run") == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert name in told.err
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_cannot_be_is_refused_before_the_replay(
    spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in (spec, spec / "run"):
        assert run("replay", spec, "--out", place) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert "cannot be written there" in told.err
    assert run("replay", spec, "--out", tmp_path / "new" / "run") == 2
    assert f"there is no folder {tmp_path / 'new'}" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--seed", "-1"),
        ("--seed", "x"),
        ("--seed", str(2**64)),
        ("--memory", str(10**11)),
        ("--memory", "64,,128"),
        ("--detection-delay-ms", "1e300"),
        ("--detection-delay-ms", "nan"),
        ("--probability", "-1"),
    ],
    ids=" ".join,
)
def test_numbers_out_of_range_are_refused(
    spec: Path, options: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("replay", spec, *options) == 2
    assert f"mozart: {options[0]} must be a " in capsys.readouterr().err


def test_every_detection_delay_is_shown(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("replay", spec, "--detection-delay-ms", "0,20", "--mode", "none,mozart") == 0
    shown = capsys.readouterr().out
    assert "detection delay 0 ms" in shown
    assert "detection delay 20 ms" in shown
    assert shown.count("not captured, %") >= 2  # a table each, and its legend


def test_a_run_folder_holds_the_figures_of_one_run(spec: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run("replay", spec, "--memory", "16,64", "--out", out) == 0
    assert (out / "lossy-not-captured.png").exists()
    (out / "notes.png").touch()
    (out / "mine-not-captured.png").touch()
    assert run("replay", spec, "--memory", "64", "--out", out) == 2
    assert (out / "lossy-not-captured.png").exists()
    assert run("replay", spec, "--memory", "64", "--out", out, "--force") == 0
    assert not (out / "lossy-not-captured.png").exists()
    left = {path.name for path in out.iterdir()}
    assert {"run.json", "network.png", "notes.png", "mine-not-captured.png"} <= left


def test_a_run_folder_stays_where_nobody_reads_standard_output(spec: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*MOZART, "replay", spec, "--mode", "tag", "--out", out], stdout=full, timeout=240)
    assert done.returncode == 1
    assert json.loads((out / "run.json").read_text())["rows"]


def test_a_run_that_cannot_be_written_is_shown(spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run" / "rows.csv").mkdir(parents=True)
    assert run("replay", spec, "--mode", "tag", "--out", tmp_path / "run") == 1
    shown = capsys.readouterr()
    assert "not captured, %" in shown.out
    assert "the run cannot be written there" in shown.err
    assert "None" not in shown.err


def test_many_memory_sizes_fit_a_terminal(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = [2**i for i in range(4, 16)]
    shown = replay(spec, memory=sizes)
    Console(width=60).print(*tables(shown))
    text = capsys.readouterr().out
    assert "…" not in text
    assert all(f" {size:,} " in text for size in sizes)
    assert max(map(len, text.splitlines())) <= 60


def test_modes_that_locate_the_same_loss_stand_in_one_line(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("replay", spec, "--loss", "s2-s3=20%", "--mode", "tag,mozart", "--memory", "4096") == 0
    shown = capsys.readouterr().out
    assert shown.count("loss located") == 1
    assert "loss located by tag, mozart: s2-s3 " in shown


def test_loss_is_not_located_where_nothing_was_selected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quiet = tmp_path / "quiet.yaml"
    quiet.write_text(SPEC.replace("min_packets: 2", "min_packets: 1000000"))
    assert run("replay", quiet, "--loss", "s2-s3=20%", "--mode", "mozart") == 0
    shown = capsys.readouterr().out
    assert "no flow selected" in shown
    assert "located" not in shown


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_closed_stream_does_not_end_a_replay(spec: Path, tmp_path: Path, closed: int) -> None:
    command = [*MOZART, "replay", str(spec), "--mode", "mozart", "--out", str(tmp_path / "run")]
    done = subprocess.run(
        ["sh", "-c", f'"$@" {closed}{"<" if closed == 0 else ">"}&-', "sh", *command],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["rows"]


def test_an_encoding_without_a_character_does_not_end_a_command(tmp_path: Path) -> None:
    document = {
        "switches": ["s1", "s2"],
        "links": [{"a": "s1", "b": "s2", "latency_ms": 1, "rate_mbps": 10}],
        "sites": {"s1": "Zürich"},
    }
    (tmp_path / "two.json").write_text(json.dumps(document))
    done = subprocess.run(
        [*MOZART, "topology", str(tmp_path / "two.json")],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "Z?rich" in done.stdout


def test_want_of_memory_is_a_message(
    spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error in (MemoryError("745 GiB"), OSError(errno.ENOMEM, "745 GiB")):

        def no_memory(args: Any, error: Exception = error) -> NoReturn:
            raise error

        monkeypatch.setattr(mozart.commands.check, "run", no_memory)
        assert run("check", spec) == 1
        assert re.search(r"not enough memory \(.*745 GiB\)", capsys.readouterr().err)


def test_a_narrow_terminal_cuts_no_figure_off(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "t.pcap"
    assert run("trace", "synth", trace, "--duration-s", "0.2", "--packets-per-s", "5000") == 0
    monkeypatch.setenv("COLUMNS", "40")
    assert run("trace", "info", trace) == 0
    assert "…" not in capsys.readouterr().out


def test_info_on_a_capture_without_packets_shows_no_empty_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "none.pcap"
    trace.write_bytes(bytes.fromhex("d4c3b2a1020004000000000000000000ffff000065000000"))
    assert run("trace", "info", trace) == 0
    shown = capsys.readouterr().out
    assert "packets" in shown
    assert "protocol" not in shown


def test_a_topology_without_links_between_switches_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.json").write_text('{"switches": ["s1"], "links": []}')
    assert run("topology", tmp_path / "one.json") == 0
    assert "links between switches 0" in capsys.readouterr().out


def test_a_picture_that_cannot_be_drawn_is_told_before_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("topology", "b4", "--plot", tmp_path / "b4.gif") == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("option", ["--start", "--end"])
def test_a_slice_beyond_all_time_is_refused(tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("trace", "slice", tmp_path / "a.pcap", tmp_path / "b.pcap", option, "1e300") == 2
    assert f"{option} must be a number from 0 to 1,000,000,000 (s), not 1e+300" in capsys.readouterr().err


def test_devices_are_named_as_ranges() -> None:
    assert ranges(["s10", "s2", "s1", "h3", "s3", "s9", "h4", "s3"]) == "h3, h4, s1 to s3, s9, s10"
    assert ranges([]) == ""


def test_modules_that_moved_are_told_but_not_those_of_a_task_that_was_removed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    task = {
        "name": "loss", "event": "loss", "measure": "volume", "runs": True, "reason": None,
        "modules": {"monitor-s1": "s1"}, "channels": ["tag"],
    }  # fmt: skip
    moves = [
        {"revision": 2, "task": name, "module": "monitor", "source": source, "to": to}
        for name, source, to in (("loss", "s1", "s2"), ("loss", None, "s3"), ("loss", "s4", None), ("gone", "s5", None))
    ]
    show({"tasks": [task], "moves": moves})
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "moved: loss monitor: s1 -> s2",
        "new: loss monitor on s3",
        "stopped: loss monitor on s4",
    ]


def test_no_line_of_a_figure_hides_another(spec: Path) -> None:
    rows = replay(spec, memory=[16, 64], mode=["none", "two-mode", "mozart"]).rows
    (axes,) = capture(rows).axes
    widths = {line.get_label(): line.get_linewidth() for line in axes.lines}
    assert widths["none"] > widths["two-mode"] > widths["mozart"]


def row(**values: Any) -> dict[str, Any]:
    """A row of a replay with what a figure draws."""
    usual = {"mode": "mozart", "memory_entries": 64, "detection_delay_ms": 0.0, "report_bytes": 800_000}
    usual |= {"task": "lossy", "selected_flows": 50, "unreachable_flows": 0}
    return {**usual, "not_captured_ratio": 0.5, "floor_ratio": 0.1, **values}


@pytest.mark.parametrize("larger", [801_000, 1_100_000, 60_000_000, 60_000_000_000])
def test_the_sizes_of_reports_have_numbers_whatever_they_are(larger: int) -> None:
    figure = reports([row(), row(memory_entries=128, report_bytes=larger)])
    figure.canvas.draw()
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    labels = [text for text in axes.get_yticklabels() if text.get_text() and low <= text.get_position()[1] <= high]
    assert len(labels) >= 2


def test_numbers_of_memory_sizes_do_not_touch() -> None:
    figure = capture([row(memory_entries=n) for n in (1, 2, 3, 8, 10, 16, 20, 33, 64, 100, 128, 256, 1000)])
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].get_xticklabels() if text.get_text()]
    assert len(boxes) >= 6
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))


def test_detection_delays_are_the_only_ticks() -> None:
    delays = (0.0, 50.0, 1000.0)
    figure = past(
        [row(detection_delay_ms=d, pre_event_bytes=2, pre_event_captured_bytes=1) for d in delays],
        "detection_delay_ms",
    )
    (axes,) = figure.axes
    assert (*axes.get_xticks(), *axes.get_xticks(minor=True)) == delays


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["check", ""], "spec ''"),
        (["replay", ""], "spec ''"),
        (["place", "--generate", ""], "--generate ''"),
        (["place", "--generate", "tasks=5", "--keep", ""], "--keep ''"),
        (["place", "--generate", "tasks=5", "--scheduler", ""], "--scheduler ''"),
        (["trace", "info", ""], "file ''"),
        (["topology", ""], "topology ''"),
    ],
)
def test_an_empty_argument_is_refused_by_its_name(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert f"{named}: the name or value is empty" in capsys.readouterr().err
