"""Events put into synthetic traffic with known truth: scanning sources, SYN floods, elephants.

So many of each kind begin in every minute of the trace, spread evenly with a random offset: a trace cut short
has the same ones, as far as it goes. This module says what they are and when; the kernels let them send.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from .synth_kernels import BULK, FLOOD, FLOOD_REPLY, FLOW, SCAN, SCAN_REPLY, TCP, address, draw
from .synth_options import SynthOptions

SCAN_PORTS = (22, 23, 445, 3389)
SALT, REPLY_SALT, SRC, DST = range(-14, -10)
"""Counters of an event's own draws; its packets draw from 0 on."""
MINUTE_NS = 60_000_000_000
REPLY_NS = 40_000_000
"""A scanned or flooded host answers after this time."""
ELEPHANT_SEGMENT_BYTES, ELEPHANT_HEADER_BYTES = 1448, 52
ELEPHANT_ROUND_NS = 10_000_000


@dataclass(frozen=True)
class Injection:
    """One injected event: its flows as rows of the table of flows, the one that counts first."""

    kind: str
    number: int
    start_ns: int
    flows: NDArray[np.void]


@dataclass(frozen=True)
class Rate:
    """How many of a kind of event begin in a minute, how long each lasts, and its packets a second."""

    kind: str
    per_minute: int
    lasts_s: float
    packets_per_s: float


def rates(options: SynthOptions) -> tuple[Rate, ...]:
    """Return the kinds of events of synthetic traffic with their numbers."""
    elephant_packets_per_s = options.elephant_mbps * 1e6 / (8 * (ELEPHANT_SEGMENT_BYTES + ELEPHANT_HEADER_BYTES))
    return (
        Rate("scanner", options.scanners, options.scan_s, options.scan_rate_per_s),
        Rate("syn-flood", options.syn_floods, options.flood_s, options.flood_rate_per_s),
        Rate("elephant", options.elephants, options.elephant_s, elephant_packets_per_s),
    )


def bits_of(key: int | np.uint64, number: int) -> np.uint64:
    """Return the 64 random bits of a counter, as the kernels draw them."""
    return np.uint64(draw(np.uint64(key), np.int64(number)))


def events(rate: Rate, seed: int) -> Iterator[Injection]:
    """Yield the events of a kind in time order, without end."""
    make = {"scanner": scanner, "syn-flood": syn_flood, "elephant": elephant}[rate.kind]
    for number in count() if rate.per_minute else ():
        key = int(bits_of(bits_of(seed, sum(rate.kind.encode())), number))
        spread = (number + (key >> 11) / 2**53 / 4) / rate.per_minute
        start_ns = int(spread * MINUTE_NS)
        yield Injection(rate.kind, number, start_ns, make(rate, key, start_ns))


def injected_flows(rate: Rate, key: int, start_ns: int, kinds: tuple[int, int]) -> NDArray[np.void]:
    """Return two flows of an event that differ in their kind, and begin at the same time."""
    flows = np.zeros(2, FLOW)
    flows["connection"], flows["kind"] = key, kinds
    flows["salt"] = bits_of(key, SALT), bits_of(key, REPLY_SALT)
    flows["round_start_ns"] = flows["first_ns"] = start_ns
    flows["left"] = max(1, round(rate.lasts_s * rate.packets_per_s))
    flows["interval_ns"] = round(1e9 / rate.packets_per_s)
    flows["window"] = flows["window_most"] = flows["in_round"] = 1
    flows["protocol"], flows["gap_ns"] = TCP, 1
    for side, number in (("src", SRC), ("dst", DST)):
        low = address(bits_of(key, number), np.int64(0), False)[1]
        flows[f"{side}_low"] = low
    return flows


def scanner(rate: Rate, key: int, start_ns: int) -> NDArray[np.void]:
    """Return a source that sends SYNs to random hosts, and the flow of what they answer."""
    flows = injected_flows(rate, key, start_ns, (SCAN, SCAN_REPLY))
    flows["round_start_ns"][1] += REPLY_NS
    return flows


def syn_flood(rate: Rate, key: int, start_ns: int) -> NDArray[np.void]:
    """Return SYNs from forged sources to one server, and the server's SYN-ACKs."""
    flows = injected_flows(rate, key, start_ns, (FLOOD, FLOOD_REPLY))
    flows["dst_port"] = 443
    flows["round_start_ns"][1] += REPLY_NS // 40
    return flows


def elephant(rate: Rate, key: int, start_ns: int) -> NDArray[np.void]:
    """Return a TCP transfer at a steady rate, and its acknowledgements."""
    flows = injected_flows(rate, key, start_ns, (BULK, BULK))
    window = max(1, round(rate.packets_per_s * ELEPHANT_ROUND_NS / 1e9))
    flows["interval_ns"] = round(window / rate.packets_per_s * 1e9)
    flows["window"] = flows["window_most"] = window
    flows["gap_ns"] = flows["interval_ns"] * 0.6 / window
    flows["segment_bytes"], flows["header_bytes"] = ELEPHANT_SEGMENT_BYTES, ELEPHANT_HEADER_BYTES
    flows["src_port"], flows["dst_port"] = 443, 32768 + key % 28000
    flows["sends_data"] = 1, 0
    flows["from_client"] = 0, 1
    flows["left"][1] = 2 + flows["left"][0] // 2
    for field in ("low", "high"):
        flows[f"src_{field}"][1], flows[f"dst_{field}"][1] = (
            flows[f"dst_{field}"][0],
            flows[f"src_{field}"][0],
        )
    flows["src_port"][1], flows["dst_port"][1] = flows["dst_port"][0], flows["src_port"][0]
    return flows
