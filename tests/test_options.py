"""Options of the command line: each wrong one has a message of its own in our words, all at once, before any work."""

from __future__ import annotations

import argparse
import json
import socket
from pathlib import Path

import pytest
from mozart.cli import main
from mozart.errors import SpecError
from mozart.fields import Field
from mozart.options import Options

LIVE = str(Path(__file__).resolve().parent.parent / "examples" / "b4-live.yaml")
Captured = pytest.CaptureFixture[str]


def told(capsys: Captured, *words: object) -> list[str]:
    """Run a command that is to be refused and return its message's lines."""
    assert main([str(word) for word in words]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("mozart: ")
    return said.err.removeprefix("mozart: ").splitlines()


def test_values_take_the_place_of_texts_and_defaults_of_nothing() -> None:
    args = argparse.Namespace(rate="5", sizes="4,8,4", seed=None)
    options = Options(args)
    options.read({"--rate": Field(float, above=0), "--seed": Field(int, default=7)})
    options.read({"--sizes": Field(int, default=None)}, several=True)
    options.refuse()
    assert (args.rate, args.sizes, args.seed) == (5.0, [4, 8], 7)


@pytest.mark.parametrize("text", ["", "null", "x", "nan", "inf", "0", "1e400"])
def test_what_is_no_such_number_is_refused(text: str) -> None:
    options = Options(argparse.Namespace(rate=text))
    options.read({"--rate": Field(float, default=None, above=0)})
    with pytest.raises(SpecError, match="--rate must be a number above 0, not "):
        options.refuse()


def test_place_tells_each_wrong_option(capsys: Captured) -> None:
    words = (
        "--time-limit",
        "0",
        "--repeat",
        "0",
        "--move-price",
        "-1",
        "--seed",
        "x",
        "--solver",
        "z",
        "--latency",
        "q",
    )
    lines = told(capsys, "place", "--generate", "tasks=4", *words, "--algorithm", "magic,greedy")
    for option in ("--time-limit", "--repeat", "--move-price", "--seed", "--solver", "--latency", "--algorithm"):
        assert [line for line in lines if line.startswith(option)], option
    assert len(lines) == 7


def test_replay_tells_each_wrong_option_and_the_task_file(tmp_path: Path, capsys: Captured) -> None:
    words = ("--memory", "x", "--mode", "tag,fast", "--seed", "-1", "--duration", "no", "--probability", "2")
    lines = told(capsys, "replay", "none.yaml", *words, "--loss", "s1", "--out", tmp_path / "a" / "b")
    starts = ("--memory", "--mode", "--seed", "--duration", "--probability", "--loss", "--out", "none.yaml")
    assert all(any(line.startswith(start) for line in lines) for start in starts)
    assert "did you mean" not in lines[0] and len(lines) == len(starts)


def test_slice_and_synth_tell_each_wrong_option(tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out.pcap"
    lines = told(
        capsys, "trace", "slice", "x.pcap", out, "--start", "a", "--end", "-1", "--stretch", "0", "--packets", "z"
    )
    assert [line.split()[0] for line in lines] == ["--packets", "--start", "--end", "--stretch", "--packets"]
    lines = told(
        capsys, "trace", "synth", out, "--duration-s", "x", "--seed", "1.5", "--ipv6-share", "2", "--name", "y"
    )
    assert {line.split()[0] for line in lines} == {"--duration-s", "--seed", "--ipv6-share", "--name"}


def test_live_tells_each_wrong_option_before_anything_is_started(tmp_path: Path, capsys: Captured) -> None:
    words = ("--rate", "0", "--speed", "nan", "--duration", "-1", "--agents", "0", "--port", "70000", "--patience", "x")
    more = ("--mode", "fast", "--no-mininet", "none.json", "--trace", "none.pcap", "--out", "")
    lines = told(capsys, "live", LIVE, *words, *more)
    assert {line.split()[0] for line in lines} == {
        *(word for word in (*words, *more[:3]) if word[:2] == "--"),
        "none.pcap:",
        "--out",
    }
    assert len(lines) == 10 and all("Errno" not in line for line in lines)


def test_live_refuses_a_port_in_use_and_devices_that_do_not_fit(tmp_path: Path, capsys: Captured) -> None:
    devices = tmp_path / "devices.json"
    host = {"device": "h1", "kind": "host", "interface": "h1-eth0", "netns_pid": 1}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for content, words in (
            ([host], "lacks s1, s2"),
            ({"device": "h1"}, "JSON list of objects"),
            ([{"device": "h1"}], "h1 lacks kind, interface"),
            ([{**host, "device": "s1", "kind": "switch"}], "management"),
        ):
            devices.write_text(json.dumps(content))
            lines = told(capsys, "live", LIVE, "--port", port, "--no-mininet", devices)
            assert lines[0].startswith(f"--no-mininet {devices}: ") and words in lines[0]
            assert lines[1].startswith(f"--port {port}: in use by ")


def test_live_refuses_what_it_cannot_play(tmp_path: Path, capsys: Captured) -> None:
    quiet = tmp_path / "quiet.yaml"
    quiet.write_text(
        "topology: {name: line}\ntasks:\n- name: a\n  selector: {event: loss, at: source-host}\n"
        "  monitor: {measure: volume, at: path-switches}\n"
    )
    assert told(capsys, "live", quiet)[0].startswith("no traffic: give --trace")
    assert "standard input" in told(capsys, "live", quiet, "--trace", "-")[0]
