"""A run is opened again: its tables as they were, its flows by filters, and live runs whose process was killed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mozart
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from mozart.cli import main
from mozart.controller.plan import make_plan
from mozart.errors import LiveError, SpecError
from mozart.folders import run_folder
from mozart.live.opened import evaluate_killed
from mozart.recordsets import FLOWS
from mozart.replay.flow_list import STATES, list_flows
from mozart.replay.run import replay
from mozart.tests.judged_worlds import (
    SECOND_NS,
    Watching,
    packets_for,
    spec_of,
    write_observations,
    write_reports,
)
from mozart.tests.test_reference import SPEC
from mozart.topologies.catalogue import load as load_topology
from mozart.traces.writer import PcapWriter

OPEN: Any = mozart


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small replay."""
    import yaml

    place = tmp_path_factory.mktemp("open")
    (place / "tasks.yaml").write_text(yaml.safe_dump(SPEC))
    (place / "shown").write_text("")
    arguments = ["replay", str(place / "tasks.yaml"), "--memory", "8,64", "--mode", "none,mozart", "--loss", "s1-s2=5%"]
    assert main([*arguments, "--out", str(place / "run")]) == 0
    return place / "run"


def row(src: str, monitor: str | None, why_not: str | None = None, **more: Any) -> dict[str, Any]:
    """A row of flows: one that a monitor captured unless it is said why not."""
    captured = monitor is not None and why_not is None
    plain = {
        "task": "lossy", "src": src, "dst": "10.0.0.9", "src_port": 7, "dst_port": 9, "protocol": 6, "event": "loss",
        "event_value": 0.5, "selected_ns": 5 * SECOND_NS, "selector": "h1", "selection": 1, "mode": "mozart",
        "memory_entries": 64, "detection_delay_ms": 0.0, "epoch": 0, "monitor": monitor, "captured": captured,
        "why_not": why_not, "capture_mode": "selected" if captured else None, "packets": 2 if captured else None,
        "bytes": 100 if captured else None, "true_packets": 4, "true_bytes": 200, "pre_event_bytes": 50,
    }  # fmt: skip
    return {**dict.fromkeys(FLOWS.names), **plain, **more}


ROWS = [
    row("10.0.0.1", "s1"),
    row("10.0.0.1", "s2", "late", true_bytes=900),
    row("10.0.0.1", "s2", None, epoch=1, bytes=300, true_bytes=400),
    row("10.0.0.2", "s1", selected_ns=4 * SECOND_NS),
    row("10.0.0.2", "s2", "full", selected_ns=4 * SECOND_NS, true_bytes=5000),
    row("10.0.0.3", "s1", "unreachable"),
    row("10.0.0.4", None, "no-monitor"),
    row("10.0.0.2", "s1", "not-sampled", mode="none"),
]


@pytest.fixture
def with_flows(folder: Path, tmp_path: Path) -> Path:
    """The folder with flows of our own making instead of the run's."""
    made = tmp_path / "made"
    shutil.copytree(folder, made)
    pyarrow.parquet.write_table(pa.Table.from_pylist(ROWS, FLOWS.arrow_schema()), made / "flows.parquet")
    return made


def shown(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main(["open", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    return json.loads(shown(capsys, *arguments, "--json"))


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main(["open", *map(str, arguments)]) == 2
    return capsys.readouterr().err


def test_the_report_is_shown_again_as_it_was(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mozart.replay.report import tables
    from rich.console import Console

    result = replay(SPEC, memory=[8, 64], mode=["none", "mozart"], loss={"s1-s2": 0.05})
    Console(width=170).print(*tables(result), sep="\n", soft_wrap=True)
    was = capsys.readouterr().out.splitlines()
    again = shown(capsys, folder).splitlines()
    assert again[1:] == was[1:]  # the first line has the speed
    assert any(line.startswith("legend") for line in again)


def test_tasks_and_settings_are_chosen(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, folder, "--mode", "mozart", "--memory", "64")
    assert [(row["mode"], row["memory_entries"]) for row in found["rows"]] == [("mozart", 64)]
    assert {link["mode"] for link in found["located_links"]} == {"mozart"}
    assert found["spec"]["tasks"][0]["name"] == "lossy"
    assert "none" not in shown(capsys, folder, "--mode", "mozart").partition("legend")[0]
    assert "the run has no mode tag; there are none, mozart" in refused(capsys, folder, "--mode", "tag")
    assert "the run has no task loss; there are lossy" in refused(capsys, folder, "--task", "loss")
    assert "--memory some: must be numbers" in refused(capsys, folder, "--memory", "some")


def test_rows_and_links_are_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = told(capsys, folder, "--rows", "--mode", "none")
    assert rows == [row for row in json.loads((folder / "run.json").read_text())["rows"] if row["mode"] == "none"]
    links = told(capsys, folder, "--links", "--mode", "mozart")
    assert {"link", "lost_packets", "true_loss"} <= set(links[0])
    assert "packets of selected flows that were lost on the link" in shown(capsys, folder, "--links")
    assert "the rest is of --flows" in refused(capsys, folder, "--links", "--top", "bytes")


def test_flows_are_summed_up_over_monitors_and_epochs() -> None:
    found = list_flows(pa.Table.from_pylist(ROWS, FLOWS.arrow_schema()), {"mode": ["mozart"]})
    lines = {line["src"]: line for line in found.lines.to_pylist()}
    assert [line["src"] for line in found.lines.to_pylist()] == ["10.0.0.2", "10.0.0.1", "10.0.0.3", "10.0.0.4"]
    one, two = lines["10.0.0.1"], lines["10.0.0.2"]
    assert (one["state"], one["monitors"], one["captured_monitors"]) == ("captured", 2, 2)
    assert (one["bytes"], one["true_bytes"], one["why_not"]) == (300, 1300, "")
    assert (two["state"], two["captured_monitors"], two["why_not"], two["true_bytes"]) == ("missed", 1, "full", 5000)
    assert [lines[f"10.0.0.{n}"]["state"] for n in (3, 4)] == ["unreachable", "unreachable"]
    assert (lines["10.0.0.4"]["monitors"], lines["10.0.0.4"]["why_not"]) == (0, "no-monitor")
    assert len(found.rows()) == len(ROWS) - 1
    pieces = pa.concat_tables(pa.Table.from_pylist([row], FLOWS.arrow_schema()) for row in ROWS * 3)
    assert list_flows(pieces, {"mode": ["mozart"]}).lines["why_not"].to_pylist() == found.lines["why_not"].to_pylist()


def test_records_that_nobody_selected_stand_apart(
    with_flows: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = dict.fromkeys(("event", "event_value", "selected_ns", "selector", "selection", "pre_event_bytes"))
    others = [row("10.0.0.1", "s1", epoch=2, bytes=7000, **nobody), row("10.0.0.8", "s2", **nobody)]
    table = pa.Table.from_pylist(ROWS + others, FLOWS.arrow_schema())
    wanted = {"mode": ["mozart"]}
    assert list_flows(table, wanted).rows().equals(list_flows(table.slice(0, len(ROWS)), wanted).rows())
    found = list_flows(table, wanted, top="bytes", all_records=True)
    assert [(line["src"], line["state"], line["bytes"]) for line in found.lines.to_pylist()[:2]] == [
        ("10.0.0.1", "unselected", 7000), ("10.0.0.1", "captured", 300)
    ]  # fmt: skip
    pa.parquet.write_table(table, with_flows / "flows.parquet")
    assert "1 missed, 2 unreachable, 2 unselected" in shown(capsys, with_flows, "--all-records", "--mode", "mozart")
    assert "no records of unselected flows; mozart replay --all-records" in refused(capsys, folder, "--all-records")


def test_as_many_flows_are_captured_and_missed_as_the_rows_say(folder: Path) -> None:
    run = OPEN.open_run(folder, "arrow")
    for row in run.rows.to_pylist():
        wanted = {name: [row[name]] for name in ("task", "mode", "memory_entries")}
        states = list_flows(run.flows, wanted).lines["state"].to_pylist()
        reachable = row["selected_flows"] - row["unreachable_flows"]
        missed = reachable - row["captured_flows"]
        assert [states.count(state) for state in STATES] == [row["captured_flows"], missed, row["unreachable_flows"], 0]
        assert len(states) == row["selected_flows"] > 0


def test_flows_are_filtered_put_in_order_and_cut(with_flows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def sources(*arguments: object) -> list[str]:
        return list(dict.fromkeys(row["src"] for row in told(capsys, with_flows, *arguments)))

    assert sources("--flows", "--not-captured", "--mode", "mozart") == ["10.0.0.2"]
    assert sources("--captured") == ["10.0.0.1"]
    assert sources("--unreachable") == ["10.0.0.3", "10.0.0.4"]
    assert sources("--why", "full,no-monitor") == ["10.0.0.2", "10.0.0.4"]
    assert sources("--monitor", "s2") == ["10.0.0.2", "10.0.0.1"]
    assert sources("--top", "bytes", "--mode", "mozart", "--limit", "1") == ["10.0.0.1"]
    assert sources("--top", "true_bytes", "--mode", "mozart", "--limit", "1") == ["10.0.0.2"]
    assert sources("--src", "10.0.0.3") == ["10.0.0.3"]
    assert [row["epoch"] for row in told(capsys, with_flows, "--src", "10.0.0.1")] == [0, 0, 1]
    assert told(capsys, with_flows, "--src", "10.0.0.8") == []
    assert "no such flow" in shown(capsys, with_flows, "--src", "10.0.0.8")
    for arguments, words in (
        (("--top", "byte"), "no order by 'byte' (did you mean bytes?)"),
        (("--why", "ful"), "no reason 'ful' (did you mean full?)"),
        (("--monitor", "s9"), "the run has no monitor s9; there are s1, s2"),
        (("--limit", "0"), "--limit must be a whole number of at least 1, not 0"),
    ):
        assert words in refused(capsys, with_flows, *arguments)


def test_flows_are_shown_a_line_each_with_a_legend(with_flows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, with_flows, "--flows", "--mode", "mozart")
    assert "4 lines, each a flow: 1 captured, 1 missed, 2 unreachable; mode mozart, memory entries 64" in text
    assert "10.0.0.2:7 > 10.0.0.9:9 TCP" in text
    assert "its table had no room for all selected flows" in text
    both = shown(capsys, with_flows, "--flows", "--limit", "2")
    assert "the first 2 of 5 lines" in both


def test_a_run_is_opened_in_python(with_flows: Path) -> None:
    run = OPEN.open_run(with_flows)
    assert run.rows.shape == (4, 19)
    assert run.flows.height == len(ROWS)
    assert run.links["link"].cast(str).to_list()
    assert run.info["trace"]["packets"] > 0
    assert "replay" in repr(run)
    pandas = OPEN.open_run(with_flows, frames="pandas")
    assert list(pandas.flows.columns) == list(FLOWS.names)
    assert pandas.rows["selected_flows"].sum() > 0
    with pytest.raises(SpecError, match="no kind of table 'numpy'; there are polars, pandas, arrow"):
        OPEN.open_run(with_flows, frames="numpy")


def test_what_is_no_run_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no such folder" in refused(capsys, tmp_path / "nowhere")
    assert "holds no run: neither run.json nor plan.json is there" in refused(capsys, tmp_path)
    (tmp_path / "run.json").write_text('{"rows": [')
    assert "is damaged" in refused(capsys, tmp_path)
    (tmp_path / "run.json").write_text("{}")
    assert "is not of a run" in refused(capsys, tmp_path)
    (tmp_path / "run.json").write_text('{"rows": []}')
    assert "lacks 'placement'" in refused(capsys, tmp_path)
    assert OPEN.open_run(tmp_path, "arrow").links.num_rows == 0
    assert "has no flows.parquet: an older mozart made this run" in refused(capsys, tmp_path, "--flows")


# live runs


def live_world(folder: Path, epochs: int | None = None) -> SimpleNamespace:
    """A live run as the folder that it leaves when its process is killed after some epochs; all of them: at its end."""
    spec, topology = spec_of(), load_topology("b4")
    batch = packets_for(topology)
    start_ns = int(batch.time_ns[0]) - SECOND_NS // 3
    with PcapWriter(folder / "before.pcap") as writer:
        writer.write(batch)
    with pytest.MonkeyPatch.context() as monkeypatch:
        watching = Watching(monkeypatch)
        replay(spec, trace=folder / "before.pcap", mode=["mozart"], epoch_start_ns=start_ns)
    plan = make_plan(spec, epoch_start_ns=start_ns, mode="mozart")
    (folder / "plan.json").write_text(plan.to_json())
    (folder / "reports").mkdir()
    routes = next(iter(watching.tasks.values())).routes
    write_observations(folder / "observations", routes, np.concatenate(watching.routes), topology, batch)
    epochs = max(len(each) for each in watching.records.values()) if epochs is None else epochs
    write_reports(folder / "reports", plan, watching, epochs, batch)
    return SimpleNamespace(spec=spec, plan=plan, batch=batch, start_ns=start_ns, folder=folder)


def test_a_killed_live_run_is_judged_as_far_as_it_was_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = live_world(tmp_path, epochs=2)
    until = int(np.searchsorted(world.batch.time_ns, world.start_ns + 4 * SECOND_NS))
    with PcapWriter(tmp_path / "until.pcap") as writer:
        writer.write(world.batch[:until])
    expected = replay(world.spec, trace=tmp_path / "until.pcap", mode=["mozart"], epoch_start_ns=world.start_ns)
    text = " ".join(shown(capsys, tmp_path).split())
    assert f"{until:,} packets sent" in text
    assert "flow entries by switch, packets dropped on purpose, faults, and what senders say are not known" in text
    assert "the run is judged up to 4.0 s" in text
    info = json.loads((tmp_path / "run.json").read_text())
    assert info["clean"] is False
    for mine, row in zip(info["rows"], expected.rows, strict=True):
        assert row["selected_flows"] > 0
        assert {**mine, "volume_error": None} == {**row, "volume_error": None, "overloaded": False}
    assert all(abs(row["difference"]) < 1e-12 for row in info["comparison"] if row["live"] is not None)
    assert (tmp_path / "rows.parquet").exists()
    again = OPEN.open_run(tmp_path)  # it is not evaluated once more
    assert set(again.rows["source"].cast(str)) == {"live", "replay"}
    one = told(capsys, tmp_path, "--task", "scanners")
    assert {row["task"] for row in (*one["rows"], *one["replay_rows"], *one["comparison"])} == {"scanners"}
    assert shown(capsys, tmp_path).split() == text.split()


def test_a_live_run_killed_in_its_first_epoch_has_the_replay_of_what_was_sent(tmp_path: Path) -> None:
    world = live_world(tmp_path, epochs=0)
    found = evaluate_killed(tmp_path)
    assert found.evaluation.packets["sent"] == len(world.batch)
    assert found.evaluation.rows == []
    assert found.replay_rows[0]["selected_flows"] > 0
    assert any("killed within its first epoch (2 s)" in note for note in found.evaluation.notes)


def test_a_live_run_that_measured_nothing_or_still_runs_is_refused(tmp_path: Path) -> None:
    plan = make_plan(spec_of(), epoch_start_ns=SECOND_NS, mode="mozart")
    with run_folder(tmp_path / "run") as place:
        (place / "plan.json").write_text(plan.to_json())
        with pytest.raises(SpecError, match="another run is writing there now"):
            OPEN.open_run(place)
    with pytest.raises(LiveError, match="killed before it had measured anything"):
        OPEN.open_run(tmp_path / "run")
