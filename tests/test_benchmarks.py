"""The guide to the benchmarks: what is there is listed and documented, and one can be run by its name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent.parent / "benchmarks"
ALL = [sys.executable, str(HERE / "all.py")]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*ALL, *words], capture_output=True, text=True, check=False)


def test_every_benchmark_is_listed_and_stands_in_the_guide() -> None:
    parts = {"all", "agent_intake", "placement_cp_sat"}
    listed = run("--list")
    names = [line.split(":")[0] for line in listed.stdout.splitlines() if not line.startswith(" ")]
    assert listed.returncode == 0
    assert set(names) == {path.stem for path in HERE.glob("*.py")} - parts
    made = subprocess.run(
        [sys.executable, "-c", "import all; print('\\n'.join(all.table()))"],
        cwd=HERE, env={**os.environ, "PYTHONPATH": str(HERE)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    guide = (HERE / "README.md").read_text()
    assert made.stdout.strip() in guide
    assert all(path.name in guide for path in HERE.iterdir() if path.stem in parts - {"all"} or path.suffix == ".c")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nosuch",), "no benchmark nosuch; there are reader, "),
        (("--", "--runs", "1"), "options behind -- are for one benchmark"),
        (("reader", "quality", "--", "--json"), "options behind -- are for one benchmark"),
    ],
)
def test_a_name_that_is_none_is_refused_before_anything_runs(words: tuple[str, ...], message: str) -> None:
    done = run(*words)
    assert done.returncode == 2 and message in done.stderr and "==" not in done.stdout


def test_one_benchmark_runs_with_options_of_its_own() -> None:
    done = run("reader", "--", "--help")
    assert done.returncode == 0 and "== reader" in done.stdout and "packets of the file that is made" in done.stdout
    assert done.stdout.count("==") == 1
    assert run("reader", "--", "--nosuch").returncode == 1
