"""`mozart place` as users call it: tables, JSON, figures, wrong input, Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mozart.cli import main
from mozart.placement.algorithms import place
from mozart.placement.comparison import Run, student_t, summary
from mozart.placement.figures import draw
from mozart.placement.generated import Instance, instances
from mozart.placement.problem import to_json
from mozart.placement.report import tables
from mozart.placement.result import as_row
from mozart.topologies.catalogue import load

EXAMPLE = str(Path(__file__).resolve().parent.parent / "examples" / "b4.yaml")
GENERATE = ("--generate", "tasks=10", "--algorithm", "greedy")

REFUSED = [
    (("--generate", "tasks=0"), "tasks=0: tasks must be 1 or more"),
    (("--generate", "tasks=5:0"), "tasks=0: tasks must be 1 or more"),
    (("--generate", "tasks=5:"), "tasks='5:' is not a number"),
    (("--generate", "load=0"), "load=0: load must be above 0"),
    (("--generate", "load=nan"), "load=nan: load must be above 0"),
    (("--generate", "seed=-1"), "seed=-1: seed must be 0 or more"),
    (("--generate", "size=3"), "unknown 'size'"),
    ((*GENERATE, "--topo", "nowhere"), "no topology 'nowhere'"),
    ((*GENERATE, "--latency", "nan"), "give bounds in ms"),
    ((*GENERATE, "--time-limit", "0"), "--time-limit must be a number above 0 (s), not 0"),
    ((*GENERATE, "--steps", "0"), "--steps must be a whole number from 1 to "),
    (("--generate", "tasks=100000000"), "tasks=100,000,000: tasks must be at most 200,000"),
    (("--generate", "load=1e300"), "load must be at most 1,000,000"),
    ((*GENERATE, "--repeat", "1000000000"), "--repeat must be a whole number from 1 to 100,000"),
    ((*GENERATE, "--seed", "-1"), "--seed must be a whole number from 0 to 2,147,483,647, not -1"),
    ((*GENERATE, "--jobs", "0"), "--jobs must be a whole number from 1 to 1,024, not 0"),
    ((*GENERATE, "--jobs", "2", "--lost", "s1"), "--keep and --lost are for one problem after another"),
    ((*GENERATE, "--jobs", "2", "--scheduler", "tcp://127.0.0.1:9"), "leave --jobs out"),
    (("--generate", "tasks=5", "--algorithm", "magic", "--jobs", "2"), "--algorithm must be one of "),
    ((EXAMPLE, "--repeat", "2"), "are for problems of --generate"),
    ((EXAMPLE, "--out", "somewhere"), "are for problems of --generate"),
    ((), "place what?"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_wrong_input_is_refused_by_name(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["place", *arguments]) == 2
    said = capsys.readouterr()
    assert message in said.err and "Traceback" not in said.err
    assert not said.out


def test_a_sweep_prints_a_table_for_each_setting(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--generate", "tasks=6:9,load=0.8:1", "--topo", "b4", "--topo", "line,n=3"]
    assert main(["place", *sizes, "--algorithm", "greedy,random", "--repeat", "2", "--latency", "inf,60"]) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = [line for line in lines if "mean of" in line]
    assert heads[0] == "b4, 6 tasks, load 0.8, mean of 2"
    assert heads[-1] == "line,n=3, 9 tasks, load 1, mean of 2"
    assert len(heads) == 8
    assert sum("random" in line for line in lines) == 8 * 2


def test_json_says_of_each_row_which_problem_it_is_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["place", *GENERATE, "--repeat", "3", "--latency", "inf,60", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["seed"], row["max_latency_ms"]) for row in found["rows"]] == [
        (seed, bound) for seed in (1, 2, 3) for bound in (None, 60.0)
    ]
    assert {row["topology"] for row in found["rows"]} == {"b4"}
    free, near = found["means"]
    assert free["placed_share"] == pytest.approx(np.mean([row["placed_share"] for row in found["rows"][::2]]))
    assert near["repeats"] == 3 and near["avg_latency_ms_95"] > 0
    assert len(found["placement"]) == found["rows"][-1]["placed_tasks"]


def test_seeds_in_a_row_are_the_same_problems_whichever_is_first() -> None:
    assert instances(["b4"], "seed=2:3") == instances(["b4"], "seed=2", 2) == instances(["b4"], "", 3)[1:]
    assert instances(["b4", "b4"], "tasks=5:5") == [Instance("b4", 5, 0.9, 1)]


def test_intervals_narrow_with_the_number_of_repeats() -> None:
    found = [student_t(freedom) for freedom in range(1, 200)]
    assert found == sorted(found, reverse=True)
    assert found[29] == pytest.approx(2.042, abs=0.005)
    assert found[119] == pytest.approx(1.980, abs=0.002)


def runs_of(sizes: tuple[int, ...], algorithms: tuple[str, ...] = ("greedy", "random")) -> list[Run]:
    found = []
    for size in sizes:
        instance = Instance("b4", size, 0.9, 1)
        problem = instance.problem(load("b4"))
        for bound in (float("inf"), 80.0):
            for algorithm in algorithms:
                placed = place(problem, algorithm, max_latency_ms=bound)
                found.append(Run(as_row(problem, placed, bound), placed, instance))
    return found


def test_figures_show_the_table_the_map_and_how_algorithms_scale(tmp_path: Path) -> None:
    runs, b4 = runs_of((5, 10)), load("b4")
    last = Instance("b4", 10, 0.9, 1).problem(b4)
    names = {path.name for path in draw(runs, last, b4, tmp_path)}
    assert {"placement_table_b4_5_0.9.png", "placement_table_b4_10_0.9.pdf"} < names
    assert {"placement_scaling.png", "placement_map.png", "placement_map.pdf"} < names
    assert all((tmp_path / name).read_bytes()[:4] in (b"\x89PNG", b"%PDF") for name in names)


def test_the_map_names_every_device_with_what_is_used_and_marks_those_that_are_gone() -> None:
    from mozart.placement.load_map import load_map
    from mozart.placement.result import device_loads

    b4 = load("b4")
    problem = Instance("b4", 30, 0.9, 1).problem(b4).without_device("s5")
    loads = device_loads(problem, place(problem, "greedy"))
    figure = load_map(b4, problem, loads, "a caption")
    words = [text.get_text() for text in figure.axes[0].texts]
    assert {*b4.switches} <= set(words)
    share = loads["h2"]["cpu_percent"] / next(d.cpu_percent for d in problem.devices if d.name == "h2")
    assert f"h2 {100 * share:.0f} %" in words
    assert words.count("gone") == 1
    assert [text.get_text() for text in figure.texts] == ["a caption"]


def test_a_problem_file_without_a_topology_gets_bars(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(to_json(Instance("b4", 8, 0.9, 1).problem(load("b4")))))
    assert main(["place", "--problem", str(path), "--algorithm", "greedy", "--plot", str(tmp_path)]) == 0
    assert (tmp_path / "placement_loads.png").exists()
    assert not (tmp_path / "placement_map.png").exists()
    assert "own bounds" in capsys.readouterr().out


def test_short_latencies_are_told_with_more_digits() -> None:
    runs = [run for run in runs_of((5,)) if run.row["max_latency_ms"] == 80.0]
    row: dict[str, Any] = {**runs[0].row, "avg_latency_ms": 0.1234}
    (_, line, *_) = tables([Run(row, runs[0].placement, runs[0].instance)])
    assert " 0.123 " in line
    assert summary(runs)[0]["relative_share"] is not None


def test_ctrl_c_shows_the_best_so_far() -> None:
    code = """
import sys
from mozart.placement import bilp
solve = bilp.solve
def begun(*arguments, **options):
    print("begun", file=sys.stderr, flush=True)
    return solve(*arguments, **options)
bilp.solve = begun
from mozart.cli import main
sys.exit(main(["place", "--generate", "tasks=2000", "--algorithm", "bilp", "--time-limit", "600"]))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert process.stderr.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "bilp" in out and "stopped by Ctrl-C" in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--generate", "tasks=0"], "tasks must be 1 or more"),
        (["--problem", "EMPTY"], "the problem has no tasks"),
        ([EXAMPLE, "--explain", "nothing"], "--explain nothing: the problem has no such task"),
    ],
)
def test_what_cannot_be_placed_or_explained_is_refused_first(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty.json"
    empty.write_text('{"devices": [], "latency_ms": [], "tasks": []}')
    assert main(["place", *(str(empty) if part == "EMPTY" else part for part in arguments)]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.out == ""


def test_a_task_with_many_modules_is_explained_in_few_short_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tasks.yaml"
    path.write_text(CROWDED)
    explain = ["place", str(path), "--explain", "lossy", "--explain", "scanners"]
    assert main(explain) == 0
    told = capsys.readouterr().out
    assert "scanners: runs\n  selector on s1 to s12\n  monitor on s1 to s12\n" in told
    assert "lossy: capacity: memory of s1 to s12," in told
    assert "it would run with 548 more entries of memory on each of s1 to s12" in told
    assert max(map(len, told.splitlines())) <= 120
    assert main([*explain, "--json"]) == 0
    lossy, scanners = json.loads(capsys.readouterr().out)["explained"]
    assert (lossy["runs"], len(lossy["together"])) == (False, 12)
    assert lossy["together"][0] == {"device": "s1", "resource": "memory_entries", "more": 548.0}
    assert scanners["runs"] and scanners["modules"]["monitor-s3"] == "s3"


CROWDED = """
topology: {name: b4}
traffic: {synthetic: caida-like, duration_s: 0.5, packets_per_s: 2000}
resources: {switch_memory_entries: 1500}
tasks:
  - name: lossy
    selector: {event: loss, at: source-host}
    monitor: {measure: volume, at: path-switches, memory_entries: 1024}
  - name: scanners
    selector: {event: syn-flood, at: egress-switch}
    monitor: {measure: volume, at: ingress-switch, memory_entries: 1024}
"""
