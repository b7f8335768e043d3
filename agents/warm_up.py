"""Compiling the hot loops before packets come: the first call of each takes seconds, from its cache tenths of one."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..bus.config import Code, DeviceConfig, MonitorConfig, SelectorConfig
from ..monitors.measures import MEASURES
from ..monitors.modes import MODES
from ..selectors.events import EVENTS
from ..traces.header_kernels import COUNTS
from ..traces.keys import KEY_KINDS, FlowHash, seeded_secret
from ..traces.packets import PacketBatch
from .monitoring import Monitoring
from .pairs import Pairs
from .ring_kernels import CURSOR_WORDS, walk_blocks
from .selecting import Selecting

HOSTS = ("a", "b")
PAIRS = ("a>b", "b>a")
PACKETS = 64
CODE = Code(1, 1)


def warm_up() -> None:
    """Run every event, measure and key once, on a few packets that stand for nothing; one flow of them is selected."""
    rng = np.random.default_rng(0)
    words = rng.integers(1, 1 << 32, (PACKETS, 2), np.uint64)
    columns = {"src": words, "dst": words[::-1], "protocol": np.full(PACKETS, 6), "time_ns": np.arange(PACKETS)}
    packets = PacketBatch.of(**columns, payload_bytes=np.ones(PACKETS))
    config = DeviceConfig("a", 0, 0, 10**9, "recent", 1.0, 0, "hash", HOSTS, flow_secret=seeded_secret(0))
    flow_hash = FlowHash.seeded(0)
    pair = np.empty(PACKETS, np.int32)
    Pairs(dataclasses.replace(config, map="prefix", prefixes={"a": ("::/0",)})).write(packets, pair)
    pairs = Pairs(config)
    pairs.write(packets, pair)
    pairs.concerned(pair, np.zeros(pairs.none + 1, np.uint64))
    one = packets[np.full(PACKETS, np.flatnonzero(pair != pairs.none)[0])]  # sent again and again: the loss event
    pair_of_one = np.empty(PACKETS, np.int32)
    pairs.write(one, pair_of_one)
    for kind in KEY_KINDS:
        flow_hash.keys(packets, kind)
    for event, made in EVENTS.items():
        kind = made.default_key
        selector = SelectorConfig("warm-up", event, kind, 1.0, 0.0, 64, {}, PAIRS, CODE, tags_forward=True)
        selecting = Selecting(selector, pairs, flow_hash)
        selecting.take(packets, flow_hash.keys(packets, kind), pair, 0)
        selecting.take(one, flow_hash.keys(one, kind), pair_of_one, 0)
        selecting.due(PACKETS)
    for mode in MODES:
        for measure in MEASURES:
            monitor = MonitorConfig("warm-up", measure, "five-tuple", 64, {}, PAIRS, PAIRS, PAIRS, {}, CODE)
            monitoring = Monitoring(monitor, dataclasses.replace(config, mode=mode), pairs)
            monitoring.tell(1, "select", 1, 0)
            key = flow_hash.keys(packets, "five-tuple")
            item = key if monitoring.counts else key[:0]
            monitoring.take(packets, pair, key, key, item, 0, PACKETS)
            monitoring.records()
            monitoring.start_epoch()
    outgoing, skipped = np.empty(PACKETS, np.uint8), np.zeros(COUNTS, np.int64)
    nothing, cursor = np.zeros(64, np.uint8), np.full(CURSOR_WORDS, -1, np.int64)
    cursor[0] = 0
    walk_blocks(nothing, nothing.view(np.uint32).reshape(1, -1), 64, cursor, outgoing, *packets.columns(), 0, skipped)
