"""What the README shows works: its task file, its selector, its commands."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest
from mozart.cli import build_parser
from mozart.replay.run import replay
from mozart.replay.vocabulary import load
from mozart.selectors.events import EVENTS

README = (Path(__file__).resolve().parent.parent / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def test_the_task_file_loads(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    path = tmp_path / "tasks.yaml"
    path.write_text(text)
    assert [task.name for task in load(path).tasks] == ["lossy-flows", "scanners"]


def test_the_selector_selects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = next(block for block in blocks("python") if "class Bulk" in block)
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    path = tmp_path / "bulk.py"
    path.write_text(code)
    found = importlib.util.spec_from_file_location("mozart.selectors.bulk", path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    monkeypatch.setitem(sys.modules, "mozart.selectors.bulk", module)
    found.loader.exec_module(module)
    monkeypatch.setitem(EVENTS, "bulk", module.Bulk)
    spec = {
        "topology": {"name": "b4"},
        "traffic": {"synthetic": "caida-like", "duration_s": 1, "packets_per_s": 20000},
        "tasks": [
            {
                "name": "big",
                "selector": {"event": "bulk", "limit_bytes": 30000, "at": "source-host"},
                "monitor": {"measure": "volume", "at": "path-switches"},
            }
        ],
    }
    rows = replay(spec, mode=["mozart"]).rows
    assert rows[0]["selected_flows"] > 5
    assert rows[0]["not_captured_ratio"] == 0.0


@pytest.mark.parametrize("line", re.findall(r"^ {4}\.venv/bin/mozart (.*)$", README, re.M))
def test_the_commands_are_understood(line: str) -> None:
    assert callable(build_parser().parse_args(shlex.split(line, comments=True)).run)


def test_pictures_and_links_are_there() -> None:
    root = Path(__file__).resolve().parent.parent
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert "://" in target or (root / target).exists(), target
