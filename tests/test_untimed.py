"""Packets without a time: said by every command, no rates, no elephants."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mozart.cli import main
from mozart.replay.report import trace_lines
from mozart.replay.run import replay
from mozart.tests.packet_worlds import Pcapng, frames_of


@pytest.fixture
def trace(tmp_path: Path) -> str:
    file = Pcapng().section().interface()
    for frame in frames_of(40):
        file.simple_packet(frame.data)
    (tmp_path / "a.pcapng").write_bytes(file.data)
    return str(tmp_path / "a.pcapng")


def test_trace_info_has_a_warning_and_no_rates(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "info", "--json", trace]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["packets"], report["untimed"], report["packets_per_s"]) == (40, 40, None)
    assert main(["trace", "info", trace]) == 0
    assert "40 packets have no time" in capsys.readouterr().out


def test_convert_says_it(trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "convert", trace, str(tmp_path / "b.pcap")]) == 0
    assert "40 packets have no time" in capsys.readouterr().err


@pytest.mark.parametrize("timed", [False, True])
def test_no_flow_is_an_elephant_without_times(trace: str, timed: bool, tmp_path: Path) -> None:
    if timed:
        file = Pcapng().section().interface(resolution=9)
        for frame in frames_of(40):
            file.packet(frame.data, frame.time_ns)
        Path(trace).write_bytes(file.data)
    selector = {"event": "elephant", "key": "dst", "threshold_mbps": 1e-6, "at": "source-host"}
    task = {"name": "t", "selector": selector, "monitor": {"measure": "volume", "at": "path-switches"}}
    sites = {"map": "prefix", "prefixes": {"h1": ["192.0.2.0/24"], "h2": ["198.51.100.0/24"]}}
    spec = {"topology": {"name": "line", "n": 2}, "traffic": sites, "tasks": [task]}
    result = replay(spec, trace=trace, mode="mozart", flows=False)
    assert (result.selectors["t"]["selections"] > 0) == timed
    assert any("no flow is selected for its rate" in line for line in trace_lines(result)) != timed
