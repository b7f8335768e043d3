"""The capture of real TCP with losses in data/: read, written, shown, replayed and split for senders."""

import json
from pathlib import Path

import numpy as np
from mozart.cli import main
from mozart.live.traffic import split
from mozart.replay.run import replay
from mozart.replay.vocabulary import load
from mozart.topologies.catalogue import load as load_topology
from mozart.traces.packets import COLUMNS, concatenate
from mozart.traces.reader import read
from mozart.traces.writer import PcapWriter

DATA = Path(__file__).resolve().parent / "data"
LOSSY = DATA / "lossy.pcap.gz"
COUNTS = json.loads((DATA / "lossy.json").read_text())
LOSSY_PORT, CLEAN_PORT, CONNECTIONS = 8001, 8002, 20
SPEC = {
    "topology": {"name": "b4"},
    "traffic": {"trace": str(LOSSY)},
    "sampling": {"probability": 0.05, "epoch_s": 10},
    "tasks": [
        {
            "name": "lossy",
            "selector": {"event": "loss", "threshold": 0.01, "min_packets": 20, "at": "source-host"},
            "monitor": {"measure": "volume", "at": "path-switches", "memory_entries": 64},
        }
    ],
}


def packets():
    with read(LOSSY) as trace:
        batch = concatenate([batch.copy() for batch in trace])
    return batch, trace.skipped


def retransmissions(batch, port):
    """Count the segments with data whose first byte was sent before in their connection."""
    data = (batch.protocol == 6) & (batch.dst_port == port) & (batch.payload_bytes > 0)
    starts: dict[tuple[int, int], int] = {}
    again = 0
    for i in np.flatnonzero(data):
        connection, start = (int(batch.src[i, 1]), batch.src_port[i]), int(batch.tcp_seq[i])
        again += start < starts.get(connection, start)
        starts[connection] = max(starts.get(connection, 0), start + 1)
    return again


def test_the_reader_counts_what_tshark_counted(capsys):
    batch, skipped = packets()
    assert len(batch) == COUNTS["packets"]
    assert {reason: count for reason, count in skipped.items() if count} == {"not_ip": COUNTS["not_ip"]}
    assert main(["trace", "info", str(LOSSY), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["packets"], found["flows"]) == (COUNTS["packets"], COUNTS["flows"])


def test_each_dropped_packet_is_sent_again_and_only_on_the_port_that_drops():
    batch, _ = packets()
    assert retransmissions(batch, LOSSY_PORT) >= COUNTS["lost"] > 50
    assert retransmissions(batch, CLEAN_PORT) == 0


def test_what_is_written_is_read_again(tmp_path):
    batch, _ = packets()
    with PcapWriter(tmp_path / "again.pcap.gz") as out:
        out.write(batch)
    with read(tmp_path / "again.pcap.gz") as trace:
        again = concatenate([batch.copy() for batch in trace])
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(again, name), getattr(batch, name))


def test_only_connections_that_lose_packets_are_selected_and_mozart_misses_none_of_them():
    batch, _ = packets()
    again = {port: retransmissions(batch, port) for port in (LOSSY_PORT, CLEAN_PORT)}
    rows = {row["mode"]: row for row in replay(SPEC, mode=["none", "mozart"]).rows}
    assert 0 < rows["mozart"]["selected_flows"] <= CONNECTIONS < again[LOSSY_PORT]
    assert rows["mozart"]["captured_flows"] == rows["mozart"]["selected_flows"]
    assert rows["none"]["captured_flows"] <= rows["mozart"]["captured_flows"]


def test_the_files_of_all_hosts_hold_the_capture(tmp_path):
    traffic = split(load(SPEC), load_topology("b4"), tmp_path)
    assert 0 < traffic.total <= COUNTS["packets"] and traffic.cut == 0
    found = 0
    for path in traffic.files.values():
        with read(path) as trace:
            found += sum(len(batch) for batch in trace)
    assert found == traffic.total
