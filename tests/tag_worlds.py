"""Traffic and tasks to time tags by: flows that complete an event early and keep sending, through a live network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mozart.replay.vocabulary import load
from mozart.tasks import Spec
from mozart.traces.packets import PacketBatch
from mozart.traces.writer import PcapWriter

MS = 1_000_000
PAYLOAD_BYTES = 100
TASKS = {"at-hosts": "source-host", "at-switches": "ingress-switch"}
"""Task: where its selector stands."""


def steady_flows(path: Path, flows: int, over_s: float, packets: int, gap_ns: int = MS) -> None:
    """Write a trace of TCP flows that begin evenly over a time, the third packet of each a segment sent again.

    Each sends a packet every `gap_ns`. Their addresses differ in all flows, so by hash they go between all sites.
    """
    begin = np.arange(flows) * round(over_s * 1e9 / flows)
    time_ns = (begin[:, None] + np.arange(packets) * gap_ns).reshape(-1)
    flow = np.repeat(np.arange(flows), packets).astype(np.uint64)
    number = np.tile(np.arange(packets), flows)
    order = np.argsort(time_ns, kind="stable")
    flow, number = flow[order], number[order]
    ipv4 = np.uint64(0xFFFF << 32)
    source, sink = (ipv4 | np.uint64(network) << np.uint64(24) | flow for network in (10, 11))
    nothing = np.zeros_like(flow)
    batch = PacketBatch.of(
        time_ns=10**18 + time_ns[order], src=np.stack([nothing, source], 1), dst=np.stack([nothing, sink], 1),
        src_port=1024 + flow % 50_000, dst_port=np.full(len(flow), 80), protocol=np.full(len(flow), 6),
        ip_bytes=np.full(len(flow), 40 + PAYLOAD_BYTES), payload_bytes=np.full(len(flow), PAYLOAD_BYTES),
        tcp_flags=np.full(len(flow), 16), tcp_seq=1000 + PAYLOAD_BYTES * (number - (number == 2)),
    )  # fmt: skip
    with PcapWriter(path) as writer:
        writer.write(batch)


def tagging_spec(trace: Path, epoch_s: float = 5.0, **topology: Any) -> Spec:
    """Return a task file in which each flow of `steady_flows` is selected at its host and at its first switch.

    On B4, where no other `topology` is given.
    """
    event: dict[str, Any] = {"event": "loss", "threshold": 0.3, "min_packets": 3}
    monitor = {"measure": "volume", "at": "path-switches", "memory_entries": 1024}
    tasks = [{"name": name, "selector": {**event, "at": at}, "monitor": dict(monitor)} for name, at in TASKS.items()]
    return load(
        {
            "topology": topology or {"name": "b4"},
            "traffic": {"trace": str(trace)},
            "sampling": {"probability": 0.01, "epoch_s": epoch_s},
            "tasks": tasks,
        }
    )
