"""Tasks that come and go while a network runs are judged by the time in which they ran, to the last byte."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mozart.controller.plan import make_plan
from mozart.controller.planned import PLANS, load_plans
from mozart.errors import LiveError
from mozart.live import compare
from mozart.live.evaluate import Evaluator, spec_as_planned
from mozart.live.history import History
from mozart.replay.run import replay
from mozart.tests.judged_worlds import (
    SECOND_NS,
    TASKS,
    Watching,
    packets_for,
    spec_of,
    write_observations,
    write_reports,
)
from mozart.topologies.catalogue import load as load_topology
from mozart.traces.writer import PcapWriter

NAMES = [task["name"] for task in TASKS]
LOSSY, SCANNERS, ELEPHANTS = NAMES
REMOVED_S, ADDED_S = 4.7, 3.1
"""When the first task goes, and when the second comes; the third is there all the time."""


def some(*names):
    return spec_of([task for task in TASKS if task["name"] in names])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A run in which one task came, another went; and each task's own replay of the packets of its time."""
    folder = tmp_path_factory.mktemp("changes")
    topology, mode = load_topology("b4"), "mozart"
    batch = packets_for(topology)
    start_ns, end_ns = int(batch.time_ns[0]) - SECOND_NS // 3, int(batch.time_ns[-1]) + 1
    times: dict[str, Any] = {"epoch_start_ns": start_ns, "mode": mode, "end_ns": end_ns}
    first = make_plan(some(LOSSY, ELEPHANTS), **times)
    second = make_plan(spec_of(), keep=first.kept, revision=2, **times)
    third = make_plan(some(SCANNERS, ELEPHANTS), keep=second.kept, revision=3, **times)
    added_ns, removed_ns = (start_ns + round(s * 1e9) for s in (ADDED_S, REMOVED_S))
    spans = {LOSSY: (0, removed_ns), SCANNERS: (added_ns, end_ns), ELEPHANTS: (0, end_ns)}
    taken = [[1, start_ns - 5], [2, added_ns], [3, removed_ns]]
    results = {}
    for number, (task, (begin_ns, stop_ns)) in enumerate(spans.items()):
        part = batch[np.flatnonzero((batch.time_ns >= begin_ns) & (batch.time_ns < stop_ns))]
        with PcapWriter(folder / "part.pcap") as writer:
            writer.write(part)
        spec = spec_as_planned(second, [task])
        with pytest.MonkeyPatch.context() as monkeypatch:
            watching = Watching(monkeypatch)
            results[task] = replay(spec, trace=folder / "part.pcap", mode=[mode], epoch_start_ns=start_ns)
        epochs = max(len(each) for each in watching.records.values())
        first_epoch = int(part.time_ns[0] - start_ns) // (2 * SECOND_NS)
        said = taken if task == ELEPHANTS else []
        write_reports(folder / "reports", second, watching, epochs, part, first_epoch, 100 * number, said)
    routes = next(iter(watching.tasks.values())).routes
    write_observations(folder / "observations", routes, np.concatenate(watching.routes), topology, batch)
    (folder / PLANS).mkdir()
    for plan in (first, second, third):
        (folder / PLANS / f"{plan.revision}.json").write_text(plan.to_json())
    return SimpleNamespace(folder=folder, last=third, results=results, start_ns=start_ns, end_ns=end_ns)


def test_each_task_is_judged_by_the_time_in_which_it_ran(world):
    found = Evaluator(world.last, world.folder).evaluate()
    rows = {row["task"]: dict(row) for row in found.rows}
    assert set(rows) == set(NAMES)
    for task, result in world.results.items():
        (expected,) = map(dict, result.rows)
        assert expected["selected_flows"] > 0 and expected["captured_flows"] > 0
        assert rows[task].pop("volume_error") == pytest.approx(expected.pop("volume_error"), rel=1e-12)
        assert rows[task] == expected
        assert sorted(found.selected_keys[task].tolist()) == sorted(result.selected_keys[task].tolist())
    notes = [note for note in found.notes if " ran from " in note]
    assert [note.split(" of the run")[0] for note in notes] == [
        f"{LOSSY} ran from 0.0 s to {REMOVED_S} s",
        f"{SCANNERS} ran from {ADDED_S} s to {(world.end_ns - world.start_ns) / 1e9:.1f} s",
    ]
    assert set(found.devices) == set(world.last.devices)


def test_the_last_plan_alone_would_judge_another_time(world, tmp_path):
    """What this file is about: a run without its plans has the rows of tasks that were not there all the time wrong."""
    (tmp_path / "reports").symlink_to(world.folder / "reports")
    (tmp_path / "observations").symlink_to(world.folder / "observations")
    rows = {row["task"]: row for row in Evaluator(world.last, tmp_path).evaluate().rows}
    assert LOSSY not in rows
    (expected,) = world.results[SCANNERS].rows
    assert rows[SCANNERS]["pre_event_bytes"] > expected["pre_event_bytes"]


def test_the_replay_beside_it_has_each_task_for_its_time(world):
    evaluator = Evaluator(world.last, world.folder)
    found = evaluator.evaluate()
    again = evaluator.replayed()
    assert {row["task"]: row for row in again.rows} == {task: r.rows[0] for task, r in world.results.items()}
    assert set(again.selected_keys) == set(NAMES)
    compared = compare.compare(found.rows, again.rows)
    assert {row["task"] for row in compared} == set(NAMES)
    assert {row["difference"] for row in compared if row["live"] is not None} <= {0}


def test_a_run_in_which_no_task_stayed_is_replayed_too(world, tmp_path):
    for name in ("reports", "observations"):
        (tmp_path / name).symlink_to(world.folder / name)
    (tmp_path / PLANS).mkdir()
    for revision in (1, 2):
        (tmp_path / PLANS / f"{revision}.json").write_text((world.folder / PLANS / f"{revision}.json").read_text())
    told = {name: world.last.request[name] for name in ("epoch_start_ns", "end_ns", "mode")}
    last = make_plan(some(SCANNERS), revision=3, keep=world.last.kept, **told)
    evaluator = Evaluator(last, tmp_path)
    assert not any(map(evaluator.history.whole, NAMES))
    again = {row["task"]: row for row in evaluator.replayed().rows}
    assert set(again) == set(NAMES)
    assert again[LOSSY] == world.results[LOSSY].rows[0]
    (whole,) = world.results[ELEPHANTS].rows
    assert 0 < again[ELEPHANTS]["selected_bytes"] < whole["selected_bytes"]


# by hand


def plan_of(*names, revision=1, end_ns=100):
    return make_plan(some(*names), epoch_start_ns=10, mode="mozart", end_ns=end_ns, revision=revision)


def test_stints_end_and_begin_with_their_tasks_and_join_where_nothing_changed():
    plans = {1: plan_of(LOSSY), 2: plan_of(LOSSY, SCANNERS, revision=2), 3: plan_of(SCANNERS, revision=3)}
    plans[4] = plan_of(LOSSY, SCANNERS, revision=4)
    devices = plans[1].devices
    history = History(plans, {device: [(1, 3), (2, 30), (3, 50), (4, 60)] for device in devices})
    stints = history.selectors(LOSSY)["h1"]
    assert [(s.begin_ns, s.end_ns) for s in stints] == [(0, 50), (60, 2**63 - 1)]
    assert len(stints[0].parts) == 1 or stints[0].parts[0].config != stints[0].parts[1].config
    assert (history.spans(LOSSY), history.whole(LOSSY)) == ([(10, 50), (60, 100)], False)
    assert (history.spans(SCANNERS), history.whole(SCANNERS)) == ([(30, 100)], False)
    assert history.plan_of(LOSSY).revision == 4
    assert not history.moved(LOSSY)
    late = History(plans, {device: [(1, 3), (2, 120)] for device in devices})
    assert late.tasks == [LOSSY]  # the other one came when the run was over
    never = History(plans, {})
    assert never.tasks == [LOSSY, SCANNERS] and never.whole(LOSSY) and never.whole(SCANNERS)


def test_devices_that_took_a_plan_at_different_times_each_have_their_own():
    plans = {1: plan_of(LOSSY), 2: plan_of(SCANNERS, revision=2)}
    taken = {device: [(1, 3), (2, 40 if device == "h1" else 50)] for device in plans[1].devices}
    history = History(plans, taken)
    ends = {device: stints[0].end_ns for device, stints in history.selectors(LOSSY).items()}
    assert ends["h1"] == 40 and set(ends.values()) == {40, 50}
    assert history.spans(LOSSY) == [(10, 50)]
    assert history.tagging("h1", np.array([5, 45])).tolist() == [True, bool(plans[2].codes)]


def test_a_revision_that_is_not_known_counts_as_the_one_before(tmp_path):
    plans = {1: plan_of(LOSSY), 5: plan_of(SCANNERS, revision=5)}
    history = History(plans, {device: [(1, 3), (3, 20), (5, 50)] for device in plans[1].devices})
    assert [(s.begin_ns, s.end_ns) for s in history.selectors(LOSSY)["h1"]] == [(0, 50)]
    (tmp_path / PLANS).mkdir()
    (tmp_path / PLANS / "7.json").write_text("{")
    with pytest.raises(LiveError, match=r"plans/7.json: not a plan"):
        load_plans(tmp_path)
