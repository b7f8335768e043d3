"""Sweeps: the same rows wherever they run, what is finished is kept, and nothing stays behind."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from mozart.cli import main
from mozart.errors import MozartError, PlacementError
from mozart.placement.comparison import Run, compare
from mozart.placement.generated import instances
from mozart.placement.sweep import FILE, Cell, Sweep, plan, run_cell, sweep
from mozart.placement.workers import in_processes, on_cluster
from mozart.tests.needs import need
from mozart.topologies.catalogue import load

TIMES = ("build_s", "solve_s")
DEADLINE_S = 60.0
LEAVE_S = 5.0
Steps = Generator[Any, None, None]


def small(**given: Any) -> Sweep:
    """Sixteen cells of a moment each: two topologies, two loads, two seeds, two bounds."""
    names = ["line,n=5", "leaf-spine"]
    options = {"time_limit_s": 60.0, **given}
    what = instances(names, "tasks=8,load=0.7:0.9,seed=3", 2)
    return plan(what, {name: load(name) for name in names}, ["greedy"], [math.inf, 2.0], **options)


def here(cells: Any) -> Steps:
    """Runs cells one after another."""
    for cell, network in cells:
        yield run_cell(cell, network)


def told(runs: list[Run]) -> list[Any]:
    """All that runs say but their times."""
    rows = [{k: v for k, v in run.row.items() if k not in TIMES} for run in runs]
    return [
        (run.instance, row, run.placement.tasks, run.placement.partial) for run, row in zip(runs, rows, strict=True)
    ]


def wait_for(what: str, condition: Callable[[], Any]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"waited {DEADLINE_S:g} s for {what}"
        time.sleep(0.05)


def test_a_sweep_is_the_product_of_its_parts_and_no_cell_depends_on_the_others() -> None:
    what = small()
    assert len(what.cells) == len(set(what.cells)) == 2 * 2 * 2 * 2
    fewer = plan(instances(["leaf-spine"], "tasks=8,seed=4"), {"leaf-spine": load("leaf-spine")}, ["greedy"], [2.0],
                 time_limit_s=60.0)  # fmt: skip
    assert set(fewer.cells) <= set(what.cells)
    assert {(cell.instance.seed, cell.seed) for cell in what.cells} == {(3, 3), (4, 4)}
    assert Cell.from_json(json.loads(json.dumps(what.cells[3].to_json()))) == what.cells[3]


def test_processes_give_what_one_after_another_gives() -> None:
    what = small()
    expected, complete = sweep(what, here)
    assert complete and [run.instance for run in expected] == [cell.instance for cell in what.cells]
    assert told(sweep(what, in_processes(2))[0]) == told(expected)
    wait_for("the end of its processes", lambda: not multiprocessing.active_children())
    first = what.cells[0].instance
    (alone,) = compare([first.problem(load(first.topology))], ["greedy"], [math.inf], instances=[first])
    assert told([alone]) == told(expected[:1])


def test_what_is_finished_is_not_run_again(tmp_path: Path) -> None:
    what, ran = small(), []

    def counted(cells: Any) -> Steps:
        ran.append(len(cells))
        yield from here(cells)

    part = Sweep(what.cells[:5], what.networks)
    sweep(part, counted, tmp_path)
    runs, complete = sweep(what, counted, tmp_path)
    again, _ = sweep(what, counted, tmp_path)
    assert (ran, complete) == ([5, 11, 0], True)
    assert told(again) == told(runs) == told(sweep(what, here)[0])
    assert [run.row for run in again] == [run.row for run in runs]
    other_limit = small(time_limit_s=59.0)
    sweep(other_limit, counted, tmp_path)
    assert ran[-1] == 16


def test_a_torn_last_line_is_run_again_and_the_file_is_whole_afterwards(tmp_path: Path) -> None:
    what = small()
    expected = told(sweep(what, here, tmp_path)[0])
    path = tmp_path / FILE
    for cut in (1, 40):
        path.write_bytes(path.read_bytes()[:-cut])
        assert told(sweep(what, here, tmp_path)[0]) == expected
        assert len([json.loads(line) for line in path.read_text().splitlines()]) == 16


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / FILE
    for text in ("not a sweep\nat all", '{"cell": {"seed": 1}}\n{'):
        path.write_text(text)
        with pytest.raises(PlacementError, match=r"cells\.jsonl:1: this is no line of a sweep"):
            sweep(small(), here, tmp_path)
        assert path.read_text() == text
    with pytest.raises(PlacementError, match="cannot be kept in"):
        sweep(small(), here, path / "below")


def test_two_sweeps_do_not_write_to_one_folder(tmp_path: Path) -> None:
    what = small()

    def nested(cells: Any) -> Steps:
        with pytest.raises(PlacementError, match="another sweep is writing"):
            sweep(what, here, tmp_path)
        yield from here(cells)

    assert sweep(what, nested, tmp_path)[1]


def test_ctrl_c_returns_what_is_done(tmp_path: Path) -> None:
    what = small()

    def interrupted(cells: Any) -> Steps:
        for number, line in enumerate(here(cells)):
            if number == 3:
                raise KeyboardInterrupt
            yield line

    runs, complete = sweep(what, interrupted, tmp_path)
    assert (len(runs), complete) == (3, False)
    assert len((tmp_path / FILE).read_text().splitlines()) == 3
    with pytest.raises(KeyboardInterrupt):
        sweep(what, lambda cells: (_ for _ in ()).throw(KeyboardInterrupt), None)


def test_errors_of_a_worker_arrive() -> None:
    what = small()
    old = Cell(**{**{name: getattr(what.cells[0], name) for name in Cell.__slots__}, "version": "0.0"})
    with pytest.raises(PlacementError, match=r"this worker has mozart .* and the sweep is of 0\.0"):
        sweep(Sweep([old], what.networks), in_processes(1))
    wait_for("the end of its processes", lambda: not multiprocessing.active_children())
    with pytest.raises(PlacementError, match="no algorithm 'magic'"):
        plan([], {}, ["magic"], [None], time_limit_s=1.0)


def children_of(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
            if parent == pid:
                found += [int(entry.name), *children_of(int(entry.name))]
    return found


def alive(pids: list[int]) -> list[int]:
    def running(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    return [pid for pid in pids if running(pid)]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A sweep of quick cells, then endless ones, in a process of its own."""
    command = [
        sys.executable, "-m", "mozart.cli", "place", "--generate", "tasks=10:3000,load=0.9", "--algorithm",
        "greedy,bilp", "--time-limit", "600", "--jobs", "2", "--out", str(tmp_path),
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process, command
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the session that was started above, and nothing else
        process.wait()


def finished(folder: Path) -> int:
    path = folder / FILE
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_ctrl_c_of_the_command_keeps_what_is_done_and_leaves_no_process(tmp_path: Path, running: Any) -> None:
    process, _ = running
    wait_for("two cells", lambda: finished(tmp_path) >= 2)
    workers = children_of(process.pid)
    assert len(workers) >= 2
    os.kill(process.pid, signal.SIGINT)
    out, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130, errors
    assert "greedy" in out and "stopped by Ctrl-C" in errors and "Traceback" not in errors
    wait_for("the end of the workers", lambda: not alive(workers))
    assert finished(tmp_path) >= 2


def test_a_killed_sweep_leaves_no_process_and_goes_on(tmp_path: Path, running: Any) -> None:
    process, command = running
    wait_for("two cells", lambda: finished(tmp_path) >= 2)
    workers = children_of(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    wait_for("the end of the workers", lambda: not alive(workers))
    before = (tmp_path / FILE).read_text()
    again = [part.replace("tasks=10:3000", "tasks=10") for part in command[3:]]
    assert main(again) == 0
    assert (tmp_path / FILE).read_text().startswith(before)


def test_a_worker_that_is_killed_is_an_error_that_says_what_to_do(tmp_path: Path, running: Any) -> None:
    process, _ = running
    wait_for("two cells", lambda: finished(tmp_path) >= 2)
    worker = next(p for p in children_of(process.pid) if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes())
    os.kill(worker, signal.SIGKILL)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert "ended from outside" in errors and "Traceback" not in errors


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Dask scheduler and two workers on loopback, each a process of its own."""
    need("dask")
    folder = tmp_path_factory.mktemp("dask")
    place = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    at = ["--host", "127.0.0.1", "--no-dashboard"]
    processes = [subprocess.Popen([*dask, "scheduler", *at, "--port", "0", "--scheduler-file", str(place)], **quiet)]
    try:
        wait_for("the scheduler's file", lambda: place.exists() and place.read_text().strip().endswith("}"))
        address = json.loads(place.read_text())["address"]
        worker = [*dask, "worker", address, *at, "--nthreads", "1", "--no-nanny", "--local-directory", str(folder)]
        processes += [subprocess.Popen(worker, **quiet) for _ in range(2)]
        from distributed import Client

        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=DEADLINE_S)
        yield address
    finally:
        for process in reversed(processes):  # the scheduler last: a worker that ends in order waits for its answer
            process.terminate()
            try:
                process.wait(LEAVE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def test_a_cluster_gives_the_same(cluster: str, tmp_path: Path) -> None:
    what = small()
    runs, complete = sweep(what, on_cluster(cluster), tmp_path)
    assert complete
    assert told(runs) == told(sweep(what, here)[0])
    assert finished(tmp_path) == len(what.cells)


def test_the_command_runs_on_a_cluster(cluster: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["place", "--generate", "tasks=8,load=0.8:0.9", "--repeat", "2", "--algorithm", "greedy,mam", "--json"]
    assert main(arguments) == 0
    expected = json.loads(capsys.readouterr().out)
    assert main([*arguments, "--scheduler", cluster]) == 0
    found = json.loads(capsys.readouterr().out)
    for document in (expected, found):
        for row in (*document["rows"], *document["means"]):
            for name in (*TIMES, "seconds", "seconds_95"):
                row.pop(name, None)
    assert found == expected
    assert len(found["rows"]) == 8 and len(found["means"]) == 4


def test_no_cluster_is_an_error_that_names_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    need("dask")
    monkeypatch.setattr("mozart.placement.workers.CONNECT_S", 0.5)
    with pytest.raises(MozartError, match=r"no Dask scheduler at tcp://127\.0\.0\.1:9"):
        sweep(small(), on_cluster("tcp://127.0.0.1:9"))
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(PlacementError, match=r"pip install 'mozart\[cluster\]'"):
        sweep(small(), on_cluster("tcp://127.0.0.1:9"))
