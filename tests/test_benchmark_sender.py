"""The sender of benchmarks/agent.py: what arrives is the trace, and round after round its flows are new."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from mozart.agents.ring import Ring
from mozart.benchmarks.agent_intake import Sender, compiled, write_trace
from mozart.tests.agent_worlds import needs_root, until, veth_pair
from mozart.tests.needs import needs
from mozart.traces.packets import COLUMNS, concatenate
from mozart.traces.reader import read

pytestmark = [needs_root, needs("paho", "gcc")]
PACKETS, ROUNDS, FIRST = 700, 3, 5


@pytest.mark.parametrize("rate", [20_000, 0])
def test_the_trace_arrives_round_after_round_as_new_flows(tmp_path: Path, rate: float) -> None:
    trace = tmp_path / "flows.pcap"
    write_trace(trace, PACKETS)
    with read(trace) as batches:
        written = concatenate([batch.copy() for batch in batches])
    with veth_pair() as (a, b), closing(Ring(b.interface, b.pid)) as ring:
        sent = Sender(compiled(tmp_path), a, iter([FIRST])).send(trace, PACKETS * ROUNDS, rate)
        parts = []

        def arrived() -> bool:
            parts.append(ring.read_batch(1000)[0])
            return sum(map(len, parts)) == PACKETS * ROUNDS

        until(arrived, "all packets")
        assert ring.losses().kernel_drops == 0 and not ring.skipped.any()
    assert sent.packets == PACKETS * ROUNDS
    got = concatenate(parts)
    for number in range(ROUNDS):
        part = got[number * PACKETS : (number + 1) * PACKETS]
        shift = np.uint64(FIRST + number)
        assert (part.src[:, 1] == written.src[:, 1] + shift).all()
        assert (part.dst[:, 1] == written.dst[:, 1] - shift).all()
        for name in set(COLUMNS) - {"time_ns", "src", "dst"}:
            assert (getattr(part, name) == getattr(written, name)).all(), name
