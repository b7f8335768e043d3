"""Every `mozart` command of the documents, run as a process with --json: standard output is JSON and nothing else."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MOZART = [sys.executable, "-c", "import sys; from mozart.cli import main; sys.exit(main())"]

QUICK = {
    "place": ["--time-limit", "0.2", "--repeat", "1"],
    "replay": ["--mode", "recent"],
    "trace": [],
    "topology": [],
    "check": [],
    "doctor": [],
}
"""Options that make an example quick where it is not; the last of two equal options counts. Of several sizes and loads
one is taken."""

TASKS = """
topology: {name: b4}
traffic: {synthetic: caida-like, duration_s: 0.2, packets_per_s: 2000}
tasks:
  - name: scanners
    selector: {event: port-scan, threshold: 5, at: source-host}
    monitor: {measure: distinct-destinations, at: path-switches}
"""


def examples() -> list[str]:
    """Return the command lines of all pages that can print JSON here, without `mozart`, each once."""
    found = []
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        for line in re.findall(r"^ {4}(?:\.venv/bin/)?mozart (.*)$", text, re.M):
            words = shlex.split(line.split(" > ")[0], comments=True)
            if words[0] in QUICK and words[:2] not in (["trace", "synth"], ["trace", "slice"], ["trace", "convert"]):
                found.append(shlex.join(words))
    return list(dict.fromkeys(found))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder that has every file that the examples name."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "tasks.yaml").write_text(TASKS)
    (folder / "examples").mkdir()
    for name in ("b4.yaml", "b4-live.yaml"):
        text = (ROOT / "examples" / name).read_text()
        (folder / "examples" / name).write_text(re.sub(r"duration_s: *[\d.]+", "duration_s: 0.2", text))
    small = ["trace", "synth", "--duration-s", "0.2", "--packets-per-s", "1000"]
    subprocess.run([*MOZART, *small, "backbone.pcap.gz"], cwd=folder, check=True, capture_output=True, timeout=240)
    for name in ("minutes-1.pcap.gz", "auckland.pcap.gz"):
        (folder / name).write_bytes((folder / "backbone.pcap.gz").read_bytes())
    problem = [sys.executable, "-c", PROBLEM]
    subprocess.run(problem, cwd=folder, check=True, timeout=240)
    return folder


PROBLEM = """
import json, pathlib
from mozart.placement.generated import Instance
from mozart.placement.problem import to_json
from mozart.topologies.catalogue import load
problem = Instance("b4", 20, 0.9, 1).problem(load("b4"))
text = json.dumps(to_json(problem))
for name in ("problem.json", "later.json"):
    pathlib.Path(name).write_text(text)
pathlib.Path("placement.json").write_text("{}")
"""


Ended = subprocess.CompletedProcess[bytes]


def run(number: int, line: str, folder: Path) -> tuple[Ended, Ended]:
    """Run an example with --json into `python -m json.tool`; return how both ended."""
    words = [
        re.sub(r"(tasks|load)=([\d.]+)[\d:.]*", lambda m: f"{m[1]}={m[2][:3]}", word) for word in shlex.split(line)
    ]
    options = QUICK[words[0]] if words[0] != "place" or "--generate" in words else QUICK["place"][:2]
    for option in {"--out", "--plot"} & set(words):  # a folder for each: one that holds a run is refused
        place = words.index(option) + 1
        words[place] = f"{number}-{words[place]}"
    more = [] if "--json" in words else ["--json"]
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    made = subprocess.run(
        [*MOZART, *words, *options, *more], cwd=folder, capture_output=True, timeout=300, env=environment
    )
    read = subprocess.run([sys.executable, "-m", "json.tool"], input=made.stdout, capture_output=True, timeout=60)
    return made, read


def test_every_example_prints_json_alone(folder: Path) -> None:
    lines = examples()
    assert {line.split()[0] for line in lines} >= {"place", "replay", "trace", "topology", "doctor"}
    with ThreadPoolExecutor(2) as pool:
        ended = dict(zip(lines, pool.map(lambda line: run(lines.index(line), line, folder), lines), strict=True))
    wrong = {
        line: (made.returncode, made.stdout[:200], made.stderr[-300:], read.stderr)
        for line, (made, read) in ended.items()
        if read.returncode or made.returncode not in ((0, 1) if line.startswith("doctor") else (0,))
    }
    assert not wrong
