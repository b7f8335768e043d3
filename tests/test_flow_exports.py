"""Flows exported: read back by nfdump, by scapy, and as Zeek's format says."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from mozart import cli
from mozart.commands.nfcapd import flows_in, write_nfdump
from mozart.errors import SpecError
from mozart.recordsets import FLOWS
from mozart.replay.flow_ipfix import MOST_BYTES, domains_of, ipfix_messages, recorded, write_ipfix
from mozart.replay.flow_zeek import FIELDS, write_zeek
from mozart.tests.needs import needs

S = 1_600_000_000 * 10**9


def row(number: int, **other: Any) -> dict[str, Any]:
    """One row of flows, recorded at s1."""
    return {
        **dict.fromkeys(FLOWS.names),
        "task": "t",
        "src": f"192.0.2.{number % 250 + 1}",
        "dst": "198.51.100.7",
        "src_port": 1000 + number,
        "dst_port": 443,
        "protocol": 6,
        "event": "loss",
        "event_value": 0.5,
        "selected_ns": S,
        "selector": "h1",
        "selection": 1,
        "mode": "recent",
        "memory_entries": 64,
        "detection_delay_ms": 0.0,
        "epoch": 0,
        "monitor": "s1",
        "captured": True,
        "packets": 10 + number,
        "bytes": 1000 + number,
        "first_ns": S + number * 10**6,
        "last_ns": S + number * 10**6 + 5 * 10**8 + 123_000,
        **other,
    }


def tables(*rows: dict[str, Any]) -> list[Any]:
    return [pa.Table.from_pylist(list(rows), FLOWS.arrow_schema())]


SOME = [
    *(row(n) for n in range(120)),
    row(1, monitor="s2", packets=3, bytes=300),
    row(2, src="2001:db8::1", dst="2001:db8::ffff:2", protocol=17, src_port=53),
    row(3, monitor="s2", src="2001:db8::9", dst=None, src_port=None, dst_port=None, protocol=None),
]
LEFT_OUT = row(4, captured=False, why_not="full", packets=None, bytes=None, first_ns=None, last_ns=None)


@needs("nfdump")
def test_nfdump_prints_the_same_flows(tmp_path: Path) -> None:
    path = tmp_path / "flows.nfcapd"
    assert write_nfdump(tables(*SOME, LEFT_OUT), path) == len(SOME) == flows_in(path)
    command = ["nfdump", "-r", str(path), "-q", "-N", "-6", "-o", "fmt:%sa,%da,%sp,%dp,%pr,%pkt,%byt,%tsr,%td"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    found = sorted(tuple(value.strip() for value in line) for line in csv.reader(io.StringIO(said)) if line)
    assert found == sorted(printed(each) for each in SOME)


def printed(each: dict[str, Any]) -> tuple[str, ...]:
    """What nfdump prints of a row; what is not known is 0."""
    zero = "::" if each["src"] and ":" in each["src"] else "0.0.0.0"
    ends = (each["src"] or zero, each["dst"] or zero, str(each["src_port"] or 0), str(each["dst_port"] or 0))
    counts = (str(each["packets"]), str(each["bytes"]))
    first_ms, last_ms = each["first_ns"] // 10**6, each["last_ns"] // 10**6
    times = f"{first_ms / 1000:.3f}", f"{(last_ms - first_ms) / 1000:.3f}"
    return (*ends, str(each["protocol"] or 0), *counts, *times)


@needs("nfdump")
def test_a_collector_that_does_not_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    false = tmp_path / "nfcapd"
    false.write_text("#!/bin/sh\necho no room >&2\nexit 1\n")
    false.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(SpecError, match="nfcapd ended: no room"):
        write_nfdump(tables(row(1)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_nfdump_the_cure_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SpecError, match="nfcapd is not on this machine; install it with: apt-get install nfdump"):
        write_nfdump(tables(row(1)), tmp_path / "out")


def test_an_ipfix_file_is_a_row_of_messages_with_templates(tmp_path: Path) -> None:
    from scapy.layers.netflow import NetflowDataflowsetV9, NetflowFlowsetV9, NetflowHeader, netflowv9_defragment
    from scapy.packet import Packet

    path = tmp_path / "flows.ipfix"
    assert write_ipfix(tables(*SOME, LEFT_OUT), path) == len(SOME)
    rows = recorded(tables(*SOME, LEFT_OUT))
    messages = list(ipfix_messages(rows))
    assert path.read_bytes() == b"".join(messages)
    assert max(map(len, messages)) <= MOST_BYTES
    assert domains_of(rows) == ["s1", "s2"]
    parsed: list[Packet] = [NetflowHeader(message) for message in messages]
    assert {(int.from_bytes(m[:2]), int.from_bytes(m[2:4])) for m in messages} == {(10, len(m)) for m in messages}
    assert [p.getlayer(NetflowFlowsetV9) is not None for p in parsed] == [True] * len(messages)
    counted = [record for p in netflowv9_defragment(parsed) for record in p.getlayer(NetflowDataflowsetV9).records]
    assert sum(int.from_bytes(r.IN_PKTS) if isinstance(r.IN_PKTS, bytes) else r.IN_PKTS for r in counted) == sum(
        each["packets"] for each in SOME
    )


def test_sequence_numbers_count_the_records_of_each_domain() -> None:
    seen: dict[int, list[int]] = {}
    for message in ipfix_messages(recorded(tables(*SOME))):
        domain = int.from_bytes(message[12:16])
        seen.setdefault(domain, []).append(int.from_bytes(message[8:12]))
    assert seen[1][0] == seen[2][0] == 0
    assert seen[1] == sorted(set(seen[1])) and len(seen[1]) > 2
    assert seen[2] == [0, 1]  # of two templates, a message each


def test_conn_log_has_zeeks_header_and_a_line_a_record(tmp_path: Path) -> None:
    path = tmp_path / "conn.log"
    assert write_zeek(tables(*SOME, LEFT_OUT), path) == len(SOME)
    lines = path.read_text().splitlines()
    assert lines[0] == "#separator \\x09"
    assert lines[6].split("\t") == ["#fields", *(name for name, _ in FIELDS)]
    assert lines[7].split("\t") == ["#types", *(kind for _, kind in FIELDS)]
    assert (lines[5], lines[-1]) == ("#open\t2020-09-13-12-26-40", "#close\t2020-09-13-12-26-40")
    data = [dict(zip((name for name, _ in FIELDS), line.split("\t"), strict=True)) for line in lines[8:-1]]
    assert [float(each["ts"]) for each in data] == sorted(float(each["ts"]) for each in data)
    assert sum(int(each["orig_ip_bytes"]) for each in data) == sum(each["bytes"] for each in SOME)
    one = next(each for each in data if each["id.orig_h"] == "2001:db8::1")
    assert (one["proto"], one["id.orig_p"], one["duration"], one["resp_pkts"]) == ("udp", "53", "0.500123", "0")
    none = next(each for each in data if each["id.orig_h"] == "2001:db8::9")
    assert (none["id.resp_h"], none["id.resp_p"], none["proto"]) == ("-", "-", "-")
    both = [each["uid"] for each in data if each["id.orig_p"] == "1001"]
    assert len(both) == 2 and len(set(both)) == 1 and len(both[0]) == 18


@pytest.mark.parametrize("write", [write_ipfix, write_zeek])
def test_no_flows_are_a_file_too(write: Any, tmp_path: Path) -> None:
    assert write(tables(LEFT_OUT), tmp_path / "none") == 0
    assert write([], tmp_path / "none") == 0


def test_open_exports_the_flows_that_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = [*SOME, *(row(n, mode="tag") for n in range(5))]
    run = tmp_path / "run"
    run.mkdir()
    rows = [{"task": "t", "mode": m, "memory_entries": 64, "detection_delay_ms": 0.0} for m in ("recent", "tag")]
    (run / "run.json").write_text(json.dumps({"rows": rows}))
    pa.parquet.write_table(tables(*both)[0], run / "flows.parquet")
    asked = ["open", str(run), "--monitor", "s1", "--export", "zeek", str(tmp_path / "conn.log")]
    assert cli.main(asked) == 2
    assert "2 values of mode, and would stand there 2 times; choose one with --mode: recent, tag" in told(capsys)
    assert cli.main([*asked, "--mode", "tag"]) == 0
    assert "conn.log: 5 records of monitors" in told(capsys)
    assert len((tmp_path / "conn.log").read_text().splitlines()) == 5 + 9
    assert cli.main([*asked, "--mode", "tag"]) == 2  # the file is there already
    assert cli.main(["open", str(run), "--mode", "recent", "--export", "ipfix", str(tmp_path / "flows.ipfix")]) == 0
    assert f"{len(SOME)} records of monitors" in told(capsys)
    assert cli.main(["open", str(run), "--export", "netflow", str(tmp_path / "x")]) == 2
    assert "no such format; there are ipfix, nfdump, zeek" in told(capsys)


def told(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err
