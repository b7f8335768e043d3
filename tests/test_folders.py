"""Folders that results go to: one run each, refused before any work, and no folder made by a mistyped path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mozart.cli import main
from mozart.errors import SpecError
from mozart.folders import LIVE, REPLAY, SWEEP, check_folder, make_folder, results_in, run_folder
from mozart.replay.report import write_run
from mozart.replay.run import replay

MOZART = [sys.executable, "-c", "import sys; from mozart.cli import main; sys.exit(main())"]
SPEC = """
topology: {name: line}
traffic: {synthetic: caida-like, duration_s: 0.2, packets_per_s: 4000, lossy_share: 0.9}
tasks:
  - name: lossy
    selector: {event: loss, threshold: 0.01, min_packets: 2, at: source-host}
    monitor: {measure: volume, at: path-switches, memory_entries: 64}
"""
ONE_TASK = "tasks=4,load=0.5"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.yaml"
    path.write_text(SPEC)
    return path


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def writers(spec: Path, out: object) -> list[tuple[object, ...]]:
    """Every command that writes results, each into `out`."""
    return [
        ("replay", spec, "--out", out),
        ("live", spec, "--out", out),
        ("place", "--generate", ONE_TASK, "--out", out),
        ("place", "--generate", ONE_TASK, "--plot", out),
        ("topology", "line", "--plot", out),
        ("trace", "info", "no.pcap", "--plot", out),
        ("trace", "convert", "no.pcap", out),
        ("trace", "slice", "no.pcap", out),
        ("trace", "synth", out),
    ]


NAMES = [" ".join(map(str, words[:2])) for words in writers(Path("tasks.yaml"), "x")]


@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_an_empty_name_is_refused(
    spec: Path, number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(spec.parent)
    before = sorted(spec.parent.rglob("*"))
    assert run(*writers(spec, "")[number]) == 2
    assert "empty" in capsys.readouterr().err
    assert sorted(spec.parent.rglob("*")) == before


@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_a_mistyped_path_makes_no_folders(spec: Path, number: int, capsys: pytest.CaptureFixture[str]) -> None:
    top = spec.parent / "mistyped"
    assert run(*writers(spec, top / "path" / "out.pcap")[number]) == 2
    told = capsys.readouterr()
    assert f"there is no folder {top / 'path'}" in told.err and told.out == ""
    assert not top.exists()


@pytest.mark.parametrize("mark", [REPLAY, LIVE, SWEEP])
def test_the_folder_of_another_run_is_refused(
    spec: Path, tmp_path: Path, mark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = make_folder(tmp_path / "run")
    (out / mark).write_text("{}\n")
    for words in writers(spec, out)[:3]:
        if (words[0], mark) != ("place", SWEEP):  # a sweep goes on in its own folder
            assert run(*words) == 2
            assert "already; name another folder" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == [mark]


def test_force_replaces_a_run_and_nothing_else(spec: Path, tmp_path: Path) -> None:
    out = make_folder(tmp_path / "run")
    (out / LIVE).write_text("{}")
    (out / "reports" / "s1").mkdir(parents=True)
    (out / "notes.txt").write_text("mine")
    assert run("replay", spec, "--mode", "tag", "--out", out, "--force") == 0
    assert (out / "notes.txt").exists() and (out / REPLAY).exists()
    assert not (out / LIVE).exists() and not (out / "reports").exists()
    assert json.loads((out / REPLAY).read_text())["rows"]


def test_force_knows_every_file_that_a_replay_writes(spec: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = replay(spec, memory=[16, 64], mode=["mozart", "none"], loss={"s2-s3": 0.2})
    written = write_run(result, out)
    known = {REPLAY, *results_in(out)}
    assert {path.name for path in written} <= known
    assert {path.name for path in out.iterdir()} <= known


def test_two_runs_at_once_do_not_share_a_folder(spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with run_folder(tmp_path / "run") as place:
        assert run("replay", spec, "--out", place) == 2
        assert "another run is writing there now" in capsys.readouterr().err
        assert run("replay", spec, "--out", place, "--force") == 2
    assert not place.exists()


def test_a_run_that_was_killed_leaves_no_lock(spec: Path, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from mozart.folders import run_folder\n"
        "with run_folder(sys.argv[1]): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], check=False).returncode == -9
    with run_folder(tmp_path / "run") as place:
        assert place.is_dir()


def test_figures_are_not_replaced_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "b4.png"
    picture.write_text("mine")
    assert run("topology", "b4", "--plot", picture) == 2
    assert "give --force" in capsys.readouterr().err
    assert picture.read_text() == "mine"
    assert run("topology", "b4", "--plot", picture, "--force") == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    trace = tmp_path / "t.pcap"
    assert run("trace", "synth", trace, "--duration-s", "0.1", "--packets-per-s", "2000") == 0
    assert run("trace", "info", trace, "--plot", tmp_path / "figures") == 0
    assert run("trace", "info", trace, "--plot", tmp_path / "figures") == 2
    assert "flow-lengths.png and 5 more exist" in capsys.readouterr().err
    assert run("trace", "info", trace, "--plot", tmp_path / "figures", "--force") == 0


def test_a_sweep_goes_on_in_its_folder_and_draws_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder(tmp_path / "sweep")
    (folder / "placement_map.png").write_text("of the sweep until now")
    words = ("place", "--generate", ONE_TASK, "--algorithm", "greedy", "--plot", folder)
    assert run(*words) == 2
    assert "placement_map.png exists; give --force" in capsys.readouterr().err
    (folder / SWEEP).touch()
    assert run(*words, "--out", folder, "--jobs", "1") == 0
    assert (folder / "placement_map.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / SWEEP).read_text()


def test_force_without_a_name_to_replace_is_refused(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("replay", spec), ("live", spec), ("topology", "b4"), ("trace", "info", "x"), ("place", spec)):
        assert run(*words, "--force") == 2
        assert "--force replaces what" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_others_is_refused() -> None:
    with pytest.raises(SpecError, match="not yours to write to"):
        check_folder("/proc/1/run")
