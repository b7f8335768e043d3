"""From event to tag, from what a device saw: whose time it is, and of which flows there is none."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from mozart.live.latencies import event_to_tag, quantiles
from mozart.live.selected import Selection
from mozart.tests.agent_worlds import selector
from mozart.traces.keys import FlowHash
from mozart.traces.packets import PacketBatch
from numpy.typing import NDArray

FLOW_HASH = FlowHash.seeded(1)

MS = 1_000_000


@dataclass
class SeenHere:
    """What a device saw, as live/observations.py has it."""

    packets: PacketBatch
    sent_ns: NDArray[np.int64]

    def keys(self, kind: str, reverse: bool = False) -> NDArray[np.uint64]:
        return FLOW_HASH.keys(self.packets, kind, reverse)


def taken(*packets: tuple[float, float, int], **changes: Any) -> tuple[float, bool]:
    """(ms from event to tag, whether the flow kept sending) of packets (sent, seen, dscp); the first completes it."""
    sent, seen, dscp = zip(*packets, strict=True)
    n = len(packets)
    batch = PacketBatch.of(
        time_ns=[round(at * MS) for at in seen], src=[[0, 1]] * n, dst=[[0, 2]] * n, src_port=[3] * n,
        dst_port=[4] * n, protocol=[6] * n, dscp=list(dscp),
    )  # fmt: skip
    here = SeenHere(batch, np.array([round(at * MS) for at in sent], np.int64))
    key = int(FLOW_HASH.keys(batch, "five-tuple")[0])
    made = Selection("s1", key, int(batch.time_ns[0]), int(here.sent_ns[0]), 10**12, -1)
    observations: Any = SimpleNamespace(seen={"s1": here})
    ((time_ns, kept),) = event_to_tag(selector(**changes), "s1", [made], observations)
    return time_ns / MS if time_ns >= 0 else -1.0, bool(kept)


def test_the_time_is_that_at_the_device_and_a_switch_that_holds_packets_up_makes_no_flow_pause():
    assert taken((0, 1, 0), (1, 2, 0), (2, 3, 0), (3, 4, 1)) == (3.0, True)
    assert taken((0, 1, 0), (1, 30, 0), (2, 30.5, 1)) == (29.5, True)


def test_a_flow_that_pauses_or_ends_has_a_time_of_its_own_or_none():
    assert taken((0, 1, 0), (1, 2, 0), (21, 22, 1)) == (21.0, False)
    assert taken((0, 1, 0), (1, 2, 0)) == (-1.0, False)
    assert taken((0, 1, 0)) == (-1.0, False)


def test_only_the_bits_of_the_task_are_its_tag_and_those_of_before_do_not_count():
    assert taken((0, 1, 1), (1, 2, 2), (2, 3, 2), (3, 4, 3)) == (3.0, True)
    assert taken((0, 1, 0), (1, 2, 1), code=None) == (-1.0, False)


def test_quantiles_are_in_ms_and_of_nothing_there_are_none():
    assert quantiles([MS, 3 * MS, 2 * MS])["p50"] == 2.0
    assert quantiles([]) == {"p50": None, "p99": None, "count": 0}
