"""Live tests run alone where tests share workers: no other test runs while one of them does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from mozart.tests.two_at_once import in_order, is_live

ROOT = Path(__file__).resolve().parent.parent
NOTED = """
    import json, os, time
    from pathlib import Path
    import pytest
    {why}

    @pytest.mark.parametrize("number", range({tests}))
    def test_one(number):
        begin = time.monotonic()
        end = begin + 0.02
        while time.monotonic() < end:
            pass
        worker = os.environ["PYTEST_XDIST_WORKER"]
        note = dict(live={live}, file=__file__, worker=worker, begin=begin, end=time.monotonic())
        Path(os.environ["NOTES"], f"{{time.monotonic_ns()}}-{{os.getpid()}}").write_text(json.dumps(note))
"""


def test_files_that_make_networks_are_told_from_others() -> None:
    live = {path.stem for path in (ROOT / "tests").glob("test_*.py") if is_live(path)}
    assert {"test_live_run", "test_agent_process", "test_controller_live", "test_bus_broker", "test_record"} <= live
    assert not live & {"test_tasks", "test_lossy", "test_place_command", "test_replay_oracle", "test_calibration"}


def test_the_largest_file_comes_first() -> None:
    names = ["tests/test_tasks.py::a", "tests/test_lossy.py::a", "tests/test_record.py::a", "tests/test_lossy.py::b"]
    assert in_order(names, ROOT) == ({2}, [[1, 3], [0]])


def test_live_tests_run_on_one_worker_and_before_all_others(tmp_path: Path) -> None:
    clone, notes = tmp_path / "clone", tmp_path / "notes"
    (clone / "tests").mkdir(parents=True)
    notes.mkdir()
    for name in ("__init__.py", "_version.py", "setup.cfg", "tests/conftest.py"):
        shutil.copy(ROOT / name, clone / name)
    why = "from mozart.tests import live_worlds  # live_worlds import"
    for name, tests, alone in (("a", 3, False), ("b", 4, True), ("c", 5, False), ("d", 1, True), ("e", 1, False)):
        text = NOTED.format(why=why if alone else "", tests=tests, live=alone).replace("\n    ", "\n")
        (clone / "tests" / f"test_{name}.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider"]
    environment = {"PATH": "/usr/bin:/bin", "NOTES": str(notes)}
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and "14 passed" in done.stdout.splitlines()[-1], done.stdout + done.stderr
    found = [json.loads(path.read_text()) for path in notes.iterdir()]
    live = [note for note in found if note["live"]]
    others = [note for note in found if not note["live"]]
    assert len({note["worker"] for note in live}) == 1 and len({note["worker"] for note in others}) == 2
    assert max(note["end"] for note in live) <= min(note["begin"] for note in others)
    whole = [{note["worker"] for note in others if note["file"] == file} for file in {note["file"] for note in others}]
    assert sum(len(workers) > 1 for workers in whole) <= 1  # the two that were sent along may be of a larger file
