"""Which packet a selection of a live run is about, and what was sent after it, also within one nanosecond."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mozart.agents.epochs import NEVER_NS
from mozart.bus.config import SelectorConfig
from mozart.live.history import Part, Stint
from mozart.live.observations import NOT_SENT, Seen
from mozart.live.selected import HEADERS, Lasting, Selection, selections_of
from mozart.traces.keys import FlowHash
from mozart.traces.packets import PacketBatch, address_words

FLOW_HASH = FlowHash.seeded(1)
A, B, C = (address_words(f"192.0.2.{i}") for i in (1, 2, 3))
AT_NS, AHEAD_NS = 1000, 400
"""When the device saw all packets, and how long before that the first one was sent."""


def world(dst: list[Any], seq: list[int], sent_ns: list[int]) -> Any:
    """One device that saw all of a source's packets in one nanosecond."""
    n = len(dst)
    packets = PacketBatch.of(
        time_ns=[AT_NS] * n, src=[A] * n, dst=dst, src_port=[1] * n, dst_port=[2] * n, protocol=[6] * n,
        ip_bytes=[100] * n, payload_bytes=[60] * n, tcp_seq=seq,
    )  # fmt: skip
    pair = np.array([1 if address == B else 2 for address in dst], np.int32)
    serial = np.arange(n, dtype=np.int64) + 10
    seen = Seen("h1", packets, np.ones(n, np.bool_), pair, serial, np.array(sent_ns, np.int64), FLOW_HASH)
    return SimpleNamespace(seen={"h1": seen}, watched=lambda device, pairs: np.ones(n, np.bool_))


def found(observations: Any, config: SelectorConfig, row: int, with_headers: bool = True) -> Selection:
    """The selection that a device reports whose completing packet is `row`."""
    packets = observations.seen["h1"].packets
    columns = {
        "flow": FLOW_HASH.keys(packets, config.key)[row : row + 1], "time_ns": packets.time_ns[row : row + 1],
        "installed_ns": np.array([-1]),
    }  # fmt: skip
    if with_headers:
        columns |= {name: getattr(packets, name)[row : row + 1] for name in HEADERS}
    report = {f"t/selector/{name}": column for name, column in columns.items()}
    stint = Stint((Part(0, NEVER_NS, config),))
    (made,) = selections_of(stint, "h1", [report], observations)
    return made


def selector(event: str, key: str, **parameters: Any) -> SelectorConfig:
    return SelectorConfig("t", event, key, 1.0, 0.0, 64, parameters, ("h1>h2", "h1>h3"))


@pytest.mark.parametrize("with_headers", [False, True])
def test_of_packets_of_one_flow_in_one_nanosecond_the_one_with_the_event_completes_it(with_headers: bool) -> None:
    observations = world([B] * 4, [0, 60, 60, 120], [600, 601, 602, 603])
    made = found(observations, selector("loss", "five-tuple", threshold=0.3, min_packets=3), 2, with_headers)
    assert (made.sent_ns, made.serial, made.pair) == (602, 12, 1)


def test_of_packets_of_one_source_the_one_with_the_reported_headers_completes_it() -> None:
    observations = world([B, C, B], [0, 0, 60], [600, 601, 602])
    elephant = selector("elephant", "src", threshold_mbps=0.000_8, window_s=1)  # true from the first packet on
    made = found(observations, elephant, 1)
    assert (made.sent_ns, made.serial, made.pair) == (601, 11, 2)


def test_an_unknown_packet_has_no_number_and_no_pair() -> None:
    observations = world([B] * 2, [0, 60], [600, 601])
    config = selector("loss", "five-tuple")
    row = {"flow": np.array([5], np.uint64), "time_ns": np.array([AT_NS]), "installed_ns": np.array([-1])}
    report = {f"t/selector/{name}": column for name, column in row.items()}
    (made,) = selections_of(Stint((Part(0, NEVER_NS, config),)), "h1", [report], observations)
    assert (made.sent_ns, made.serial, made.pair) == (AT_NS, NOT_SENT, -1)


def test_packets_that_were_sent_in_one_nanosecond_are_before_and_after_a_selection() -> None:
    lasting = Lasting([Selection("h1", 5, AT_NS, 600, 900, -1, serial=11)], 0)
    flow = np.zeros(6, np.int64)
    sent_ns, serial = np.array([599, 600, 600, 600, 601, 600]), np.array([9, 10, 11, 12, 13, NOT_SENT])
    behind = [False, False, False, True, True, False]
    assert lasting.past(flow, sent_ns, serial).tolist() == behind
    assert lasting.during(flow, sent_ns, serial).tolist() == behind
    late = Lasting([Selection("h1", 5, AT_NS, 600, 900, -1, serial=11)], 1)
    assert late.past(flow, sent_ns, serial).tolist() == [False] * 4 + [True, False]
    unknown = Lasting([Selection("h1", 5, AT_NS, 600, 900, -1)], 0)
    assert unknown.past(flow, sent_ns, serial).tolist() == [False] * 4 + [True, False]
