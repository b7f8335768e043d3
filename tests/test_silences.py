"""Parts of a trace that lie hours or years apart, and slices with nothing in them, do not pass without a word."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mozart.cli import main
from mozart.live.traffic import left_out, split
from mozart.replay.vocabulary import load
from mozart.topologies.catalogue import load as load_topology
from mozart.traces.packets import PacketBatch, address_words
from mozart.traces.silences import Silences, duration, silence_line
from mozart.traces.writer import PcapWriter

SECOND_NS = 10**9
Y2000, Y2018 = 948_758_400, 1_521_115_200
SAID = "no packet for 18.1 years, from 2000-01-25 00:00:09.000000 UTC to 2018-03-15 12:00:00.000000 UTC"
Captured = pytest.CaptureFixture[str]
TASK = {
    "name": "all",
    "selector": {"event": "elephant", "at": "ingress-switch", "threshold_mbps": 1},
    "monitor": {"measure": "volume", "at": "path-switches"},
}


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def trace(path: Path, start_s: int, step_s: int = 1) -> Path:
    """Ten packets between two hosts, a step apart."""
    ends = {"src": [address_words("192.0.2.1")] * 10, "dst": [address_words("198.51.100.7")] * 10}
    times = [(start_s + step_s * i) * SECOND_NS for i in range(10)]
    with PcapWriter(path) as writer:
        writer.write(PacketBatch.of(time_ns=times, protocol=[17] * 10, ip_bytes=[100] * 10, **ends))
    return path


@pytest.fixture
def apart(tmp_path: Path) -> tuple[Path, Path]:
    return trace(tmp_path / "2000.pcap", Y2000), trace(tmp_path / "2018.pcap", Y2018)


def test_the_longest_silence_is_found_within_and_between_batches() -> None:
    silences = Silences()
    for times in ([0, 1], [], [4000, 4001, 20_000], [20_001], [30_000]):
        silences.see(np.array(times, np.int64) * SECOND_NS)
    assert silences.to_dict() == {
        "count": 3, "longest_from_ns": 4001 * SECOND_NS, "longest_to_ns": 20_000 * SECOND_NS,
    }  # fmt: skip
    assert "no packet for 4.4 hours" in silence_line(silences.to_dict())
    assert "and 2 more such silences" in silence_line(silences.to_dict())


def test_an_hour_is_no_long_silence_and_times_may_be_as_far_apart_as_they_can() -> None:
    silences = Silences()
    silences.see(np.array([0, 3600 * SECOND_NS], np.int64))
    assert silence_line(silences.to_dict()) == ""
    silences.see(np.array([2**63 - 1], np.int64))
    assert silences.count == 1
    far = Silences()
    far.see(np.array([-(2**63) + 1, 2**63 - 1], np.int64))
    assert far.longest[1] - far.longest[0] == 2**64 - 2
    assert duration(90) == "90.0 seconds" and duration(86400 * 40) == "40.0 days"


def test_info_convert_and_slice_say_that_files_are_years_apart(
    apart: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    assert run("trace", "info", *apart) == 0
    assert SAID in capsys.readouterr().out
    assert run("trace", "info", *apart, "--json") == 0
    assert json.loads(capsys.readouterr().out)["silences"]["count"] == 1
    assert run("trace", "convert", *apart, tmp_path / "both.parquet") == 0
    assert SAID in capsys.readouterr().err
    assert run("trace", "slice", *apart, tmp_path / "all.pcap") == 0
    assert SAID in capsys.readouterr().err
    assert run("trace", "slice", *apart, tmp_path / "one.pcap", "--packets", ":5") == 0
    assert "no packet for" not in capsys.readouterr().err


def test_a_replay_and_a_live_run_say_so_too(apart: tuple[Path, Path], tmp_path: Path, capsys: Captured) -> None:
    document = {"topology": {"name": "line", "n": 2}, "tasks": [TASK]}
    spec = tmp_path / "tasks.yaml"
    spec.write_text(json.dumps(document))
    assert run("replay", spec, "--mode", "tag", "--trace", *apart) == 0
    assert SAID in capsys.readouterr().out
    prefixes = {"h1": ["192.0.2.0/24"], "h2": ["198.51.100.0/24"]}
    traffic = {"trace": list(map(str, apart)), "map": "prefix", "prefixes": prefixes}
    played = load({**document, "traffic": traffic})
    assert any(SAID in line for line in left_out(split(played, load_topology("line", n=2), tmp_path / "t").to_dict()))


@pytest.mark.parametrize("words", [("--start", "3600"), ("--packets", "10:"), ("--start", "10", "--end", "20")])
def test_a_slice_behind_the_end_is_refused_with_the_times(
    tmp_path: Path, words: tuple[str, ...], capsys: Captured
) -> None:
    out = tmp_path / "out.pcap"
    assert run("trace", "slice", trace(tmp_path / "in.pcap", Y2000), out, *words) == 2
    said = capsys.readouterr().err
    assert "behind the end of the trace: it has 10 packets, from 2000-01-25 00:00:00.000000 UTC to" in said
    assert not out.exists()


def test_a_slice_of_a_silence_is_an_empty_trace_and_said(tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out.pcap"
    whole = trace(tmp_path / "in.pcap", Y2000, step_s=10)
    assert run("trace", "slice", whole, out, "--start", "1", "--end", "9") == 0
    assert "no packet of the trace is in this slice" in capsys.readouterr().err
    assert out.exists()
