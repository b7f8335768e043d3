"""What was lost on the way, when, and due to what; and whether the machine could carry the run."""

import numpy as np
import pytest
from mozart.controller.faults import Fault
from mozart.live.lost import Lost, _unmatched, host_gaps, judged
from mozart.live.overload import Load

S = 1_000_000_000


@pytest.mark.parametrize(
    ("sent", "came", "lost"),
    [
        ([1, 2, 3], [], [1, 2, 3]),
        ([1, 11, 21, 31], [2, 12, 32], [21]),
        ([1, 11, 21, 31], [12, 22, 32], [1]),
        ([1, 11, 21, 31], [2, 12], [21, 31]),
        ([1, 2, 3, 4], [5, 6], [1, 2]),
    ],
)
def test_packets_of_the_same_headers_are_lost_when_they_were_sent(sent, came, lost):
    assert _unmatched(np.array(sent), np.array(came, np.int64)).tolist() == lost


def fault(kind, begin_s, end_s):
    return Fault(begin_s * S, kind, "s1", "text", None if end_s is None else end_s * S)


def test_losses_are_due_to_faults_to_the_task_file_and_to_agents_that_were_away():
    times = np.array([1, 5, 6, 7, 20, 30, 40]) * S
    faults = [fault("switch-away", 5, 7), fault("moved", 20, 20), fault("foreign-rule", 40, None)]
    lost, told = judged(times, 1, [(30 * S - 1, 30 * S + 1)], faults, 50 * S)
    assert lost == Lost(packets=7, on_purpose=1, unseen=1, in_faults=4)
    assert (lost.unasked, lost.unexplained) == (5, 1)
    assert [each.packets_lost for each in told] == [3, None, 1]
    assert Lost.from_dict(lost.to_dict()) == lost
    assert host_gaps({"h1": {"gaps_ns": [(1, 2)]}, "s1": {"gaps_ns": [(3, 4)]}}) == [(1, 2)]


def load(**more):
    usual = {
        "planned_packets": 1000, "planned_s": 10.0, "real_s": 10.2, "sent": 1000, "delivered": 995, "unexplained": 5,
        "measured": 4000, "unmeasured": 0,
    }  # fmt: skip
    return Load(**{**usual, **more})


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({}, None),
        ({"real_s": 11.4}, None),
        ({"real_s": 20.1}, "the senders took 20.1 s for what was planned for 10.0 s"),
        ({"sent": 900}, "900 of 1,000 planned packets were sent"),
        ({"delivered": 426, "unexplained": 574}, "426 of 1,000 packets were delivered, and 574 were lost"),
        ({"delivered": 426, "unexplained": 0}, None),
        ({"unmeasured": 100}, "devices could not take up 100 packets beside 4,000 measured"),
        ({"planned_packets": None, "planned_s": None, "real_s": None, "sent": 10, "unexplained": 0}, None),
    ],
)
def test_overload_is_told_with_its_reason(more, reason):
    found = load(**more)
    assert len(found.reasons) == bool(reason)
    assert reason is None or reason in found.text()
    assert found.to_dict()["overloaded"] == bool(reason) and Load.from_dict(found.to_dict()) == found
