"""Tags through a whole live network: every flow that keeps sending is tagged, at its host and at its first switch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mozart.live import network
from mozart.live.evaluate import Evaluator
from mozart.live.network import MAX_IDLE_MS
from mozart.live.run import Options, Run
from mozart.tests.live_worlds import whole_machine
from mozart.tests.tag_worlds import MS, TASKS, steady_flows, tagging_spec

pytestmark = pytest.mark.slow
FLOWS, PACKETS, GAP_MS = 30, 800, 4


@pytest.fixture(scope="module", autouse=True)
def machine() -> Iterator[None]:
    yield from whole_machine()


def max_idle() -> str:
    """For how many ms Open vSwitch keeps a flow without packets; empty where nobody has said it."""
    return network.vsctl("--if-exists", "get", "Open_vSwitch", ".", "other_config:max-idle").strip(' "\n')


def test_flows_that_keep_sending_are_tagged_where_they_are_selected(tmp_path: Path) -> None:
    steady_flows(tmp_path / "flows.pcap", FLOWS, 1.0, PACKETS, GAP_MS * MS)
    spec = tagging_spec(tmp_path / "flows.pcap", 2.0, name="line", n=3)
    before = max_idle()
    with Run(spec, Options(speed=1.0, patience_s=240.0), tmp_path / "run", say=lambda text: None) as run:
        assert max_idle() == (before or ("" if network.datapath() == "kernel" else str(MAX_IDLE_MS)))
        run.play()
        run.finish()
        plan = run.plan
    assert max_idle() == before and not run.record.problems
    evaluator = Evaluator(plan, run.folder)
    found = evaluator.evaluate()
    by_task = {task: [s for (t, _), made in evaluator.selections.items() if t == task for s in made] for task in TASKS}
    flows = {s.flow for s in by_task["at-hosts"]}
    assert 0 < len(flows) < FLOWS  # but for those that begin and end at one site
    for task, kind in (("at-hosts", "h"), ("at-switches", "s")):
        assert sorted(s.flow for s in by_task[task]) == sorted(flows)
        assert {s.device[0] for s in by_task[task]} == {kind}
        assert all(s.installed_ns > s.time_ns for s in by_task[task])
    times = found.event_to_tag_ms
    assert (
        times["never"] == 0 and times["all"]["count"] == 2 * len(flows) and times["in_force"]["count"] == len(flows) * 2
    )
    assert min(found.tag_times_ms) > 0
    assert found.packets["sent"] == len(flows) * PACKETS and found.packets["arrived_tagged"] == 0
    assert [row["selected_flows"] for row in found.rows] == [len(flows)] * 2
