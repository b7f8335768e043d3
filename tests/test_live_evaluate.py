"""A run is judged as a replay is: a network that behaves as the replay's gives the replay's rows, to the last byte."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mozart.agents.observed import Observed
from mozart.agents.reports import selector_columns
from mozart.bus.messages import pack
from mozart.controller.faults import Fault
from mozart.controller.plan import make_plan
from mozart.controller.planned import Crossing
from mozart.errors import LiveError
from mozart.live import compare
from mozart.live.evaluate import Evaluator, read_reports, spec_as_planned
from mozart.live.observations import NOT_SENT, Observations, names_of
from mozart.live.report import LiveResult, tables, write_run
from mozart.live.selected import Lasting, Selection
from mozart.replay.routes import Routes
from mozart.replay.run import replay
from mozart.replay.taken import Taken
from mozart.tests.flow_rules import flows_add_up, place
from mozart.tests.judged_worlds import (
    SECOND_NS,
    TASKS,
    VALUE,
    Watching,
    packets_for,
    spec_of,
    write_observations,
    write_reports,
)
from mozart.topologies.catalogue import load as load_topology
from mozart.traces.keys import FlowHash
from mozart.traces.packets import PacketBatch, address_words, concatenate
from mozart.traces.reader import read
from mozart.traces.sites import HashSites
from mozart.traces.writer import PcapWriter

FLOW_HASH = FlowHash.seeded(1)

NEVER = Crossing(())


@pytest.fixture(scope="module", params=["mozart", "tag", "none", "recent"])
def world(request, tmp_path_factory):
    """A run's folder, made from a replay; its plan, its packets, and the replay's result."""
    folder = tmp_path_factory.mktemp(request.param)
    spec, topology = spec_of(), load_topology("b4")
    batch = packets_for(topology)
    start_ns = int(batch.time_ns[0]) - SECOND_NS // 3
    with PcapWriter(folder / "sent-before.pcap") as writer:
        writer.write(batch)
    with pytest.MonkeyPatch.context() as monkeypatch:
        watching = Watching(monkeypatch)
        result = replay(spec, trace=folder / "sent-before.pcap", mode=[request.param], epoch_start_ns=start_ns)
    plan = make_plan(spec, epoch_start_ns=start_ns, mode=request.param, end_ns=int(batch.time_ns[-1]) + 1)
    epochs = max(len(each) for each in watching.records.values())
    routes = next(iter(watching.tasks.values())).routes
    write_observations(folder / "observations", routes, np.concatenate(watching.routes), topology, batch)
    write_reports(folder / "reports", plan, watching, epochs, batch)
    return SimpleNamespace(folder=folder, plan=plan, batch=batch, result=result, topology=topology, mode=request.param)


def test_rows_are_those_of_the_replay(world):
    found = Evaluator(world.plan, world.folder).evaluate()
    assert [row["task"] for row in found.rows] == [task["name"] for task in TASKS]
    rows = {row["task"]: row for row in found.rows}
    for row in map(dict, world.result.rows):
        assert row["selected_flows"] > 0
        mine = rows[row["task"]]
        assert mine.pop("volume_error") == pytest.approx(row.pop("volume_error"), rel=1e-12)
        assert mine == row
    for task, keys in found.selected_keys.items():
        assert sorted(keys.tolist()) == sorted(world.result.selected_keys[task].tolist())
    assert found.drops == {"s3": {"kernel_drops": len(read_reports(world.folder / "reports")["s3"])}}
    assert any("s3 did not measure" in note for note in found.notes)


def test_flows_are_those_of_the_replay(world):
    found = Evaluator(world.plan, world.folder).evaluate()
    expected = sorted(world.result.flows.rows(), key=place)
    assert len(expected) > 100
    mine = sorted(found.flows.rows(), key=place)
    assert [place(row) for row in mine] == [place(row) for row in expected]
    for row, other in zip(mine, expected, strict=True):
        assert row == {**other, "event_value": VALUE}
    flows_add_up(found.flows, found.rows)


def test_flows_are_told_without_what_devices_saw(world, tmp_path):
    """Then nothing is known to be true, but each record of a selected flow has its row, and each selection one."""
    (tmp_path / "reports").symlink_to(world.folder / "reports")
    found = Evaluator(world.plan, tmp_path).evaluate().flows.to_arrow().to_pylist()
    whole = Evaluator(world.plan, world.folder).evaluate().flows.to_arrow().to_pylist()
    assert {row["why_not"] for row in found} == {row["true_bytes"] for row in found} == {None}
    assert {of_selection(row) for row in found} == {of_selection(row) for row in whole}
    recorded = {(*of_selection(row), row["epoch"], row["monitor"], row["bytes"]) for row in whole if row["captured"]}
    assert recorded & {(*of_selection(row), row["epoch"], row["monitor"], row["bytes"]) for row in found}


def of_selection(row):
    return tuple(row[name] for name in ("task", "src", "dst", "src_port", "dst_port", "selected_ns", "selector"))


def test_the_replay_of_what_was_sent_is_the_replay_that_it_was(world):
    evaluator = Evaluator(world.plan, world.folder)
    again = evaluator.replayed()
    assert again.rows == world.result.rows
    with read(world.folder / "sent.pcap") as trace:
        sent = concatenate([b.copy() for b in trace])
    assert len(sent) == len(world.batch)
    compared = compare.compare(evaluator.evaluate().rows, again.rows)
    assert {row["difference"] for row in compared if row["live"] is not None} <= {0}
    shares = compare.overlaps({"a": np.array([1, 2, 3], np.uint64)}, {"a": np.array([2, 3, 4, 5], np.uint64)})
    assert shares == [{"task": "a", "live": 3, "replay": 4, "both": 2, "share": 0.5}]


def test_the_replay_takes_the_paths_that_the_switches_chose(tmp_path):
    spec, topology = spec_of(), load_topology("b4")
    batch = packets_for(topology)
    routes = Routes(topology, spec.topology.ecmp)
    keys, first = np.unique(FLOW_HASH.keys(batch, "five-tuple"), return_index=True)
    src, dst = HashSites(topology.hosts).hosts_of(batch[first])
    last = routes.first[src, dst] + routes.count[src, dst] - 1
    chosen = Taken.of(dict(zip(keys.tolist(), last.tolist(), strict=True)))  # of each set of paths the last
    with PcapWriter(tmp_path / "sent-before.pcap") as writer:
        writer.write(batch)
    start_ns = int(batch.time_ns[0])
    asked = {"trace": tmp_path / "sent-before.pcap", "mode": ["mozart"], "epoch_start_ns": start_ns}
    there, own = replay(spec, taken=chosen, **asked), replay(spec, **asked)
    assert there.rows != own.rows
    plan = make_plan(spec, epoch_start_ns=start_ns, mode="mozart", end_ns=int(batch.time_ns[-1]) + 1)
    route = np.empty(len(batch), np.int32)
    chosen.put(FLOW_HASH.keys(batch, "five-tuple"), route)
    write_observations(tmp_path / "observations", routes, route, topology, batch)
    (tmp_path / "reports").mkdir()
    assert Evaluator(plan, tmp_path).replayed().rows == there.rows
    for switch in topology.switches:  # as in a run, where a switch shows its agent only what is watched there
        (tmp_path / "observations" / f"{switch}.packets").unlink()
    watched = {
        switch: np.array([plan.switches[switch].get(_pair(r), NEVER).watched for r in routes.all])
        for switch in topology.switches
    }
    for switch, looks in watched.items():
        crosses = np.array([switch in r.devices for r in routes.all])
        log = Observed(tmp_path / "observations", switch)
        mine = np.flatnonzero((crosses & looks)[route])
        log.add(batch[mine], np.zeros(len(mine), np.uint8))
        log.close()
    again = Evaluator(plan, tmp_path).replayed().rows
    for row, expected in zip(again, there.rows, strict=True):
        assert row["selected_flows"] == expected["selected_flows"]
        assert row["not_captured_ratio"] == pytest.approx(expected["not_captured_ratio"], abs=0.02)


def _pair(route):
    return f"{route.path.devices[0]}>{route.path.devices[-1]}" if route.path.devices else ""


def test_all_packets_are_counted_and_known_again(world):
    evaluator = Evaluator(world.plan, world.folder)
    packets = evaluator.evaluate().packets
    assert (packets["sent"], packets["delivered"]) == (len(world.batch), len(world.batch))
    assert packets["arrived_tagged"] == packets["changed"] == 0
    for seen in evaluator.observations.seen.values():
        assert (seen.serial != NOT_SENT).all()
        assert (seen.sent_ns == seen.packets.time_ns).all()


def test_a_report_is_shown_and_written(world, tmp_path):
    from rich.console import Console

    evaluator = Evaluator(world.plan, world.folder)
    evaluation = evaluator.evaluate()
    late = dataclasses.replace(world.result, rows=[{**row, "detection_delay_ms": 8.5} for row in world.result.rows])
    ended = Fault(5, "part-ended", "agent 1", "agent 1 ended", 6)
    result = LiveResult(world.topology, evaluation, world.result, faults=[ended], late=late)
    document = json.loads(json.dumps(result.to_dict()))
    wanted = {
        "switches", "hosts", "packets_sent", "packets_delivered", "packets_tagged", "rows", "replay_rows", "drops",
        "late_replay_rows", "event_to_tag_ms", "explicit_ms", "rules", "faults", "clean",
    }  # fmt: skip
    assert wanted <= set(document)
    assert (document["switches"], document["hosts"], document["clean"]) == (12, 12, False)
    assert document["faults"] == [ended.to_dict()] and document["packets_lost"]["packets"] == 0
    console = Console(width=170, record=True, file=(tmp_path / "shown").open("w"))
    console.print(*tables(result), sep="\n")
    text = console.export_text()
    for words in (
        "packets sent",
        "lossy-flows",
        "fault, over: agent 1 ended",
        "s3: kernel drops",
        "not captured ratio",
    ):
        assert words in text
    assert "with tags that come 8.5 ms late" in " ".join(text.split())
    assert {row["late_difference"] for row in result.compared} == {0, None}
    names = {path.name for path in write_run(result, tmp_path / "run")}
    assert {"run.json", "rows.csv", "rows.parquet", "comparison.csv", "live-and-replay.png", "network.pdf"} <= names


# small worlds, worked out by hand


def test_a_packet_is_known_again_at_every_device_and_by_its_place_among_its_like():
    ends = {"src": [address_words("192.0.2.1")] * 4, "dst": [address_words("198.51.100.1")] * 4}
    same = PacketBatch.of(time_ns=[1, 2, 3, 4], **ends, protocol=[17] * 4, ip_bytes=[100, 100, 200, 100])
    names = names_of(same, FLOW_HASH)
    assert len(set(names.tolist())) == 4
    later = dataclasses.replace(same, time_ns=same.time_ns + 50, dscp=np.full(4, 12, np.uint8))
    assert (names_of(later, FLOW_HASH) == names).all()
    # where the first is lost, the second is taken for it
    assert (names_of(later[1:], FLOW_HASH)[:2] == names[[0, 2]]).all()


def selection(flow, since_s, until_s):
    return Selection("s1", flow, since_s * SECOND_NS, since_s * SECOND_NS, until_s * SECOND_NS, -1)


def test_selections_last_from_behind_the_completing_packet_to_their_end():
    lasting = Lasting([selection(9, 5, 8), selection(7, 1, 2), selection(7, 4, 6)], 0)
    assert lasting.keys.tolist() == [7, 9]
    assert lasting.numbers(np.array([9, 8, 7], np.uint64)).tolist() == [1, -1, 0]
    times = np.array([1, 1.5, 2, 3, 4, 5, 7]) * SECOND_NS
    flow = np.zeros(7, np.int64)
    sent_ns, unknown = times.astype(np.int64), np.full(7, NOT_SENT)
    assert lasting.during(flow, sent_ns, unknown).tolist() == [False, True, True, False, False, True, False]
    assert lasting.past(flow, sent_ns, unknown).tolist() == [False, True, True, True, True, True, True]
    assert lasting.active(3 * SECOND_NS, 4 * SECOND_NS).tolist() == []
    assert lasting.active(0, 5 * SECOND_NS).tolist() == [0]
    assert lasting.active(5 * SECOND_NS, 9 * SECOND_NS).tolist() == [0, 1]
    late = Lasting([selection(7, 1, 9)], SECOND_NS)
    assert late.during(flow, sent_ns, unknown).tolist() == [False, False, True, True, True, True, True]


class TaggedWorld:
    """Two hosts on two switches; one flow of packets 2 ms apart, selected at its 100th, tagged from the 103rd on."""

    def __init__(self, folder: Path, spacing_ns: int = 2_000_000, tagged_from: int = 103, arrives: int = 0):
        self.folder = folder
        task = {
            "name": "heavy",
            "selector": {"event": "elephant", "key": "five-tuple", "threshold_mbps": 1, "at": "ingress-switch"},
            "monitor": {"measure": "volume", "at": "egress-switch"},
        }
        spec = spec_of([task], epoch_s=10.0, topology={"name": "line", "n": 2})
        topology = load_topology("line", n=2)
        ends = {"src": address_words("192.0.2.1"), "dst": address_words("192.0.2.1")}
        for number in range(2, 200):  # an address of the other site
            ends["dst"] = address_words(f"192.0.2.{number}")
            trial = PacketBatch.of(time_ns=[0], src=[ends["src"]], dst=[ends["dst"]])
            a, b = (int(x[0]) for x in HashSites(topology.hosts).hosts_of(trial))
            if a != b:
                break
        n = 200
        self.start_ns = 1_700_000_000 * SECOND_NS
        plain = PacketBatch.of(
            time_ns=self.start_ns + spacing_ns * (1 + np.arange(n)), src=[ends["src"]] * n, dst=[ends["dst"]] * n,
            src_port=[7] * n, dst_port=[9] * n, protocol=[17] * n, ip_bytes=[1000] * n, payload_bytes=[972] * n,
        )  # fmt: skip
        self.plan = make_plan(spec, epoch_start_ns=self.start_ns, mode="mozart")
        code = self.plan.codes["heavy"].value
        tagged = dataclasses.replace(plain, dscp=np.where(np.arange(n) >= tagged_from, code, 0).astype(np.uint8))
        out = dataclasses.replace(plain, dscp=np.where(np.arange(n) >= n - arrives, code, 0).astype(np.uint8))
        names = ("h1", "s1", "s2", "h2") if a == 0 else ("h2", "s2", "s1", "h1")
        self.names = names
        for device, packets, sends in zip(names, (plain, tagged, tagged, out), (1, 0, 0, 0), strict=True):
            log = Observed(folder / "observations", device)
            moved = dataclasses.replace(packets, time_ns=packets.time_ns + 1000 * names.index(device))
            log.add(moved, np.full(n, sends, np.uint8))
            log.close()
        self.flow = int(FLOW_HASH.keys(plain, "five-tuple")[0])
        self.report(names[1], plain.time_ns[99] + 1000)

    def report(self, device: str, time_ns: int) -> None:
        found = {
            "flow": np.array([self.flow], np.uint64),
            "time_ns": np.array([time_ns], np.int64),
            "installed_ns": np.array([time_ns + 3_000_000], np.int64),
        }
        header = {
            "device": device, "revision": 1, "epoch": 0, "sequence": 1, "start_ns": 0, "end_ns": SECOND_NS,
            "final": True, "gaps": [[0, 5]], "counters": {"packets": 200}, "cpu_s": 0.5, "memory_bytes": 7,
            "tasks": {"heavy": {"selector": {"selections": 1, "evicted": 0}}},
        }  # fmt: skip
        (self.folder / "reports" / device).mkdir(parents=True)
        path = self.folder / "reports" / device / "0-1.npz"
        path.write_bytes(pack(header, selector_columns("heavy", found)))


def test_tags_are_timed_from_the_completing_packet_on(tmp_path):
    world = TaggedWorld(tmp_path)
    found = Evaluator(world.plan, tmp_path).evaluate()
    assert found.event_to_tag_ms["p50"] == pytest.approx(8.0)  # the 100th packet completes, the 104th has the tag
    assert found.event_to_tag_ms["count"] == 1
    assert found.event_to_tag_ms["in_force"]["p50"] == pytest.approx(3.0)
    assert found.packets == {"sent": 200, "delivered": 200, "tagged": 97, "arrived_tagged": 0, "changed": 0}
    (row,) = found.rows
    assert (row["selected_flows"], row["captured_flows"], row["unreachable_flows"]) == (1, 0, 0)  # no record came
    assert (row["selected_bytes"], row["pre_event_bytes"]) == (200_000, 100_000)
    assert found.devices[world.names[1]]["cpu_percent"] == pytest.approx(50.0)


def test_the_late_replay_has_tags_as_late_as_half_of_them_came(tmp_path):
    world = TaggedWorld(tmp_path)
    spec = world.plan.request["spec"]
    unsampled = {**world.plan.request, "spec": {**spec, "sampling": {**spec["sampling"], "probability": 1e-9}}}
    evaluator = Evaluator(dataclasses.replace(world.plan, request=unsampled), tmp_path)
    evaluator.evaluate()
    (at_once,), (late,) = evaluator.replayed().rows, evaluator.replayed(late=True).rows
    assert (at_once["detection_delay_ms"], late["detection_delay_ms"]) == (0.0, 3.0)
    # packets are 2 ms apart: with 3 ms one more is missed
    assert at_once["captured_bytes"] - late["captured_bytes"] == 1000


def test_a_flow_that_is_over_when_its_tag_comes_is_not_captured_by_the_late_replay():
    at_once = {"task": "a", "selected_flows": 10, "unreachable_flows": 2, "captured_flows": 8, "not_captured_ratio": 0}
    at_once["unreachable_captured_flows"] = 1
    late = {**at_once, "unreachable_flows": 5, "captured_flows": 5, "unreachable_captured_flows": 2}
    live = {**at_once, "captured_flows": 5, "not_captured_ratio": 0.375}
    (row,) = [row for row in compare.compare([live], [at_once], [late]) if row["column"] == "not_captured_ratio"]
    assert (row["difference"], row["late_replay"], row["late_difference"]) == (0.375, 0.25, 0.125)
    assert compare.as_beside([late], [{**at_once, "selected_flows": 2}])[0]["not_captured_ratio"] is None


def test_a_flow_that_pauses_is_timed_apart_and_one_without_a_tag_is_counted(tmp_path):
    slow = TaggedWorld(tmp_path / "slow", spacing_ns=6_000_000)
    found = Evaluator(slow.plan, slow.folder).evaluate().event_to_tag_ms
    assert (found["count"], found["all"]["count"], found["never"]) == (0, 1, 0)
    assert found["all"]["p50"] == pytest.approx(24.0)
    never = TaggedWorld(tmp_path / "never", tagged_from=200)
    found = Evaluator(never.plan, never.folder).evaluate().event_to_tag_ms
    assert (found["count"], found["all"]["count"], found["never"]) == (0, 0, 1)


def test_packets_that_arrive_with_a_tag_are_counted(tmp_path):
    world = TaggedWorld(tmp_path, arrives=4)
    assert Evaluator(world.plan, tmp_path).evaluate().packets["arrived_tagged"] == 4


def test_packets_that_no_host_was_seen_to_send_count_at_their_own_time(tmp_path):
    world = TaggedWorld(tmp_path)
    (tmp_path / "observations" / f"{world.names[0]}.packets").unlink()
    evaluator = Evaluator(world.plan, tmp_path)
    found = evaluator.evaluate()
    assert found.packets["sent"] == 0
    assert f"no observations of {world.names[0]}" in found.notes
    # at the monitor's device the completing packet was seen after the selection: one packet too many counts as after
    assert found.rows[0]["pre_event_bytes"] == 99_000
    with pytest.raises(LiveError, match="nothing to replay"):
        evaluator.replayed()


def test_what_is_before_the_first_epoch_or_after_the_end_does_not_count(tmp_path):
    world = TaggedWorld(tmp_path)
    end_ns = world.start_ns + 50 * 2_000_000
    devices = {
        name: dataclasses.replace(config, end_ns=end_ns, epoch_start_ns=world.start_ns + 11 * 2_000_000)
        for name, config in world.plan.devices.items()
    }
    observations = Observations(tmp_path / "observations", devices)
    assert len(observations.sent) == 39


def test_a_damaged_report_is_named(tmp_path):
    world = TaggedWorld(tmp_path)
    path = tmp_path / "reports" / world.names[1] / "0-1.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(LiveError, match=rf"{world.names[1]}/0-1.npz"):
        Evaluator(world.plan, tmp_path)


def test_the_replay_has_the_tasks_and_devices_of_the_plan():
    tasks = [
        {**TASKS[0], "monitor": {"measure": "volume", "at": ["s3", "s4"], "memory_entries": 64}},
        {**TASKS[1], "monitor": {**TASKS[1]["monitor"], "memory_entries": 1_000_000}},
    ]
    plan = make_plan(spec_of(tasks))
    spec = spec_as_planned(plan)
    assert [task.name for task in spec.tasks] == ["lossy-flows"]
    assert [refusal["task"] for refusal in plan.refused] == ["scanners"]
    assert spec.tasks[0].monitor.at == (plan.placement["lossy-flows"]["monitor"],)


def test_the_replay_is_without_the_loss_of_links_which_recorded_senders_do_not_hear_of():
    plan = make_plan(dataclasses.replace(spec_of(), loss={"s1-s2": 0.02}))
    assert plan.request["spec"]["loss"]
    assert spec_as_planned(plan).loss == {}


def test_the_view_shows_rates_and_drops():
    from mozart.live.view import View
    from rich.console import Console

    console = Console(width=120, record=True, force_terminal=False)
    with View({"lossy-flows": ["h1", "s1"]}, console) as view:
        view.show({}, {})  # no terminal: nothing happens
        said = {
            "packets": 100,
            "kernel_drops": 0,
            "selected": 3,
            "tagged": 2,
            "cpu_percent": 1.5,
            "memory_bytes": 10**7,
        }
        view.render({"s1": {**said, "time_ns": 1 * SECOND_NS}}, {})
        status = {"s1": {"state": "running"}, "h1": {"state": "lost"}}
        later = {"s1": {**said, "time_ns": 3 * SECOND_NS, "packets": 4100}, "h1": {**said, "kernel_drops": 7}}
        console.print(view.render(later, status))
    lines = console.export_text().splitlines()
    (switch,) = [line.split() for line in lines if line.strip().startswith("s1")]
    (host,) = [line.split() for line in lines if line.strip().startswith("h1")]
    assert switch == ["s1", "running", "2,000", "4,100", "3", "2", "0", "1.5", "10.0"]
    assert (host[1], host[6]) == ("lost", "7")
    assert [line.split() for line in lines if "lossy-flows" in line] == [["lossy-flows", "2", "6"]]
