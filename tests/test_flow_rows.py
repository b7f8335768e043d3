"""The flows of a replay: in memory and in files, with addresses of both kinds, and their sums for random task files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mozart import cli
from mozart.errors import SpecError
from mozart.recordsets import FLOWS
from mozart.replay import flows as flows_module
from mozart.replay.flows import Flows, FlowWriter
from mozart.replay.report import write_flows
from mozart.tests.test_replay_oracle import B4, LEAVES, LINE, assert_equal, random_packets, replayed, task, world
from mozart.traces.packets import PacketBatch, address_words
from mozart.traces.writer import PcapWriter

LOSSY: dict[str, Any] = {"threshold": 0.05, "min_packets": 5, "hold_s": 2}
TASKS = [
    task("loss", "source-host", "path-switches", **LOSSY),
    task("port-scan", "egress-switch", "ingress-switch", "distinct-destinations", threshold=4, window_s=3),
]
WORLD = world(TASKS, B4, sampling={"probability": 0.2, "epoch_s": 5})


@pytest.fixture
def some(monkeypatch: pytest.MonkeyPatch) -> Flows:
    found = replayed(monkeypatch, WORLD, random_packets(3, 900)).flows
    assert len(found) > 100
    return found


def test_a_file_has_the_rows_of_the_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    batch = random_packets(3, 900)
    kept = replayed(monkeypatch, WORLD, batch).flows
    path = tmp_path / "flows.parquet"
    written = replayed(monkeypatch, WORLD, batch, size=50, flows=path).flows
    assert written.to_arrow().to_pylist() == kept.to_arrow().to_pylist()
    assert (written.path, len(written)) == (path, len(kept))
    assert pa.parquet.read_schema(path).metadata[b"recordset"] == b"flows"
    assert list(tmp_path.iterdir()) == [path]
    group = pa.parquet.read_metadata(path).row_group(0)
    assert {group.column(i).path_in_schema for i in range(group.num_columns) if group.column(i).is_stats_set} == set(
        flows_module.STATISTICS
    )


def test_rows_are_written_as_epochs_end_and_not_kept(
    some: Flows, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(flows_module, "GROUP_ROWS", 40)
    path = tmp_path / "flows.parquet"
    with FlowWriter(path) as writer:
        for table in some:
            writer.add(table)
            assert sum(len(waiting) for waiting in writer.tables) < 40
            assert not path.exists()
    assert writer.flows.to_arrow().to_pylist() == some.to_arrow().to_pylist()
    assert pa.parquet.read_metadata(path).num_row_groups > 1


def test_a_replay_that_fails_leaves_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(packets: int, seconds: float) -> None:
        raise RuntimeError("stop")

    monkeypatch.setattr(flows_module, "GROUP_ROWS", 1)
    with pytest.raises(RuntimeError, match="stop"):
        replayed(monkeypatch, WORLD, random_packets(3, 900), flows=tmp_path / "flows.parquet", progress=fails)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "none" / "flows.parquet"
    with pytest.raises(SpecError, match=rf"{path}: the flows cannot be written there: .*No such file"):
        replayed(monkeypatch, WORLD, random_packets(3, 900), flows=path)


def test_no_flows_are_made_where_nobody_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    result = replayed(monkeypatch, WORLD, random_packets(3, 900), flows=False)
    assert len(result.flows) == 0
    assert result.flows.to_arrow().schema == FLOWS.arrow_schema()
    assert result.rows[0]["selected_flows"] > 0


def test_records_of_unselected_flows_come_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = random_packets(3, 900)
    plain = replayed(monkeypatch, WORLD, batch)
    every = replayed(monkeypatch, WORLD, batch, size=70, all_records=True)
    rows = list(every.flows.rows())
    assert [row for row in rows if row["event"] is not None] == list(plain.flows.rows())
    assert every.rows == plain.rows
    assert {row["mode"] for row in rows if row["event"] is None} == {"none", "two-mode", "mozart", "recent"}
    with pytest.raises(SpecError, match="all_records needs flows"):
        replayed(monkeypatch, WORLD, batch, flows=False, all_records=True)


def test_csv_and_frames_have_the_same_rows(some: Flows, tmp_path: Path) -> None:
    table = pa.csv.read_csv(some.write_csv(tmp_path / "flows.csv"))
    assert table.column_names == list(FLOWS.names)
    assert table["true_bytes"].to_pylist() == [row["true_bytes"] for row in some.rows()]
    assert table["src"].to_pylist() == [row["src"] or "" for row in some.rows()]
    frame = some.to_polars()
    assert frame.filter(polars.col("captured"))["packets"].sum() == sum(row["packets"] or 0 for row in some.rows())
    assert some.to_pandas()["task"].value_counts().to_dict() == dict(frame["task"].value_counts().iter_rows())


def test_many_rows_are_csv_on_request_only(some: Flows, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("mozart.replay.report.CSV_ROWS", len(some) - 1)
    (tmp_path / "flows.csv").write_text("of an earlier run")
    assert write_flows(some, tmp_path) == [tmp_path / "flows.parquet"]
    assert not (tmp_path / "flows.csv").exists()
    assert write_flows(some, tmp_path, as_csv=True) == [tmp_path / "flows.parquet", tmp_path / "flows.csv"]


def test_the_run_folder_of_the_command_has_the_flows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with PcapWriter(tmp_path / "packets.pcap") as writer:
        writer.write(random_packets(3, 900))
    (tmp_path / "tasks.yaml").write_text(
        "topology: {name: line, n: 4}\ntraffic: {trace: packets.pcap}\ntasks:\n- name: lossy\n"
        "  selector: {event: loss, threshold: 0.05, min_packets: 5, at: source-host}\n"
        "  monitor: {measure: volume, at: path-switches}\n"
    )
    run = tmp_path / "run"
    assert cli.main(["replay", str(tmp_path / "tasks.yaml"), "--mode", "recent", "--out", str(run)]) == 0
    rows = pa.parquet.read_table(run / "rows.parquet").to_pylist()
    found = Flows(path=run / "flows.parquet")
    assert len({(row["src"], row["dst"], row["src_port"]) for row in found.rows()}) == rows[0]["selected_flows"] > 0
    assert len(pa.csv.read_csv(run / "flows.csv")) == len(found)
    assert "flows.parquet" in capsys.readouterr().err
    assert cli.main(["replay", str(tmp_path / "tasks.yaml"), "--flows-csv"]) == 2
    assert "--flows-csv is for the run folder; give --out" in capsys.readouterr().err
    assert cli.main(["replay", str(tmp_path / "tasks.yaml"), "--all-records"]) == 2
    assert "--all-records is for the run folder; give --out" in capsys.readouterr().err
    assert cli.main(["replay", str(tmp_path / "tasks.yaml"), "--all-records", "--out", str(tmp_path / "all")]) == 0
    everyone = list(Flows(path=tmp_path / "all" / "flows.parquet").rows())
    assert {row["captured"] for row in everyone if row["event"] is None} == {True}


def test_flows_of_ipv6_have_their_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 40
    rng = np.random.default_rng(1)
    hosts = np.array([address_words(f"2001:db8::{i:x}") for i in range(1, 5)], np.uint64)
    end = rng.integers(0, 4, (n, 2))
    batch = PacketBatch.of(
        time_ns=np.arange(n) * 10**8, src=hosts[end[:, 0]], dst=hosts[end[:, 1]], dst_port=rng.choice([22, 23], n),
        src_port=np.full(n, 1234), protocol=np.full(n, 6), tcp_flags=np.full(n, 2), ip_bytes=np.full(n, 60),
    )  # fmt: skip
    spec = world([task("port-scan", "ingress-switch", "path-switches", threshold=2)], LINE)
    result = replayed(monkeypatch, spec, batch)
    assert_equal(spec, batch, result)
    found = {(row["src"], row["dst"], row["src_port"]) for row in result.flows.rows()}
    assert found and {src[:10] for src, _, _ in found} == {"2001:db8::"}
    assert {other for _, *other_parts in found for other in other_parts} == {None}


EVENTS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "loss": st.fixed_dictionaries({"threshold": st.sampled_from([0.02, 0.2]), "min_packets": st.integers(1, 8)}),
    "port-scan": st.fixed_dictionaries({"threshold": st.integers(1, 5), "window_s": st.sampled_from([0.5, 5])}),
    "elephant": st.fixed_dictionaries({"threshold_mbps": st.sampled_from([0.002, 0.01])}),
    "syn-flood": st.fixed_dictionaries({"threshold": st.integers(1, 4)}),
}
KEYS = {  # by event
    "loss": ["five-tuple"],
    "port-scan": ["src"],
    "elephant": ["five-tuple", "src+dst", "dst"],
    "syn-flood": ["dst"],
}
PLACES = ("source-host", "ingress-switch", "egress-switch")


@st.composite
def tasks(draw: st.DrawFn) -> dict[str, Any]:
    """Draw one task."""
    event = draw(st.sampled_from(sorted(EVENTS)))
    parameters: dict[str, Any] = {**draw(EVENTS[event]), "key": draw(st.sampled_from(KEYS[event]))}
    parameters["hold_s"] = draw(st.sampled_from([0.3, 2, 30]))
    return task(event, draw(st.sampled_from(PLACES)), draw(st.sampled_from([*PLACES, "path-switches"])), **parameters)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    some=st.lists(tasks(), min_size=1, max_size=2),
    topology=st.sampled_from([LINE, LEAVES]),
    seed=st.integers(0, 2**32),
    epoch_s=st.sampled_from([1, 7]),
    options=st.fixed_dictionaries(
        {
            "memory": st.sampled_from([[4], [64, 9]]),
            "detection_delay_ms": st.sampled_from([[0], [0.5, 700]]),
            "all_records": st.booleans(),
        }
    ),
    drops=st.booleans(),
)
def test_random_tasks_have_the_flows_of_the_oracle(
    some: Any, topology: Any, seed: int, epoch_s: float, options: Any, drops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows equal the plain twin's, and their sums are those that the report says."""
    loss = {"loss": {"h1-s1": 0.1} if topology is LINE else {"l1-s1": 0.1}} if drops and topology is LINE else {}
    spec = world(some, topology, sampling={"probability": 0.3, "epoch_s": epoch_s}, seed=seed % 1000, **loss)
    batch = random_packets(seed, 250, duration_s=9)
    assert_equal(spec, batch, replayed(monkeypatch, spec, batch, **options), **options)
