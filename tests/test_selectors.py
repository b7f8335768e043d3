"""The selectors against plain twins of their numbered rules, and their bounded state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mozart.selectors import state_kernels
from mozart.selectors.events import EVENTS
from mozart.selectors.loss_kernels import PACKETS, RETRANSMITTED
from mozart.selectors.selector import Selector, Sightings
from mozart.selectors.window_kernels import BINS, window_sums
from mozart.tests import oracle
from mozart.traces.keys import FlowHash
from mozart.traces.packets import PacketBatch, address_text, address_words

FLOW_HASH = FlowHash.seeded(1)

MS, S = 10**6, 10**9
ACK, SYN, SYN_ACK, RST, FIN = 16, 2, 18, 4, 1


def packets(*rows: dict[str, Any]) -> PacketBatch:
    """Packets from dicts; what is not given is that of a TCP data packet of 100 bytes."""
    default = {
        "time_ns": 0, "src": "10.0.0.1", "dst": "10.0.0.2", "src_port": 1000, "dst_port": 80, "protocol": 6,
        "ip_bytes": 100, "payload_bytes": 60, "tcp_flags": ACK, "tcp_seq": 0,
    }  # fmt: skip
    full = [{**default, **row} for row in rows]
    columns = {name: [row[name] for row in full] for name in default}
    for name in ("src", "dst"):
        columns[name] = [address_words(text) for text in columns[name]]
    return PacketBatch.of(**columns)


def sightings(batch: PacketBatch, kind: str, where: Any = 0, lost: Any = False) -> Sightings:
    """All packets at one device, unless said."""
    n = len(batch)
    return Sightings(
        batch,
        FLOW_HASH.keys(batch, kind),
        np.broadcast_to(np.asarray(where, np.int32), n).copy(),
        np.broadcast_to(np.asarray(lost, np.bool_), n).copy(),
        FLOW_HASH,
    )


def make(event: str, memory_entries: int = 4096, devices: int = 1, **parameters: Any) -> Selector:
    return EVENTS[event](devices, memory_entries, **parameters)


def true_for(event: str, *rows: dict[str, Any], **parameters: Any) -> list[bool]:
    """At which of some packets the event is true."""
    selector = make(event, **parameters)
    return selector.events(sightings(packets(*rows), selector.default_key)).tolist()


def segments(*seqs: int, **other: Any) -> list[dict[str, Any]]:
    return [{"tcp_seq": seq % 2**32, **other} for seq in seqs]


# the rules, by hand


@pytest.mark.parametrize(
    ("rows", "retransmitted"),
    [
        (segments(0, 60, 120, 180), [0, 0, 0, 0]),
        (segments(0, 60, 60, 120), [0, 0, 1, 0]),
        (segments(0, 120, 60, 180), [0, 0, 1, 0]),  # below the highest end: a segment out of order counts too
        (segments(0, 120, 60, 120), [0, 0, 1, 1]),  # and the highest end stays
        (segments(0, 200, 260), [0, 0, 0]),  # a gap is none
        (segments(2**32 - 60, 2**32, 2**32), [0, 0, 1]),  # over the end of the sequence numbers
        (segments(2**32 - 30, 2**32 - 30 + 60, 2**32 - 30), [0, 0, 1]),
        (segments(0, 0, payload_bytes=0), [0, 0]),  # no payload
        ([*segments(7, tcp_flags=SYN, payload_bytes=0), *segments(8, 8)], [0, 0, 1]),  # SYN takes one number
        ([*segments(0, tcp_flags=FIN | ACK), *segments(60, 120)], [0, 1, 0]),  # so does FIN
        (segments(0, 0, 0, protocol=17), [0, 0, 0]),
    ],
)
def test_what_counts_as_retransmitted(rows: list[dict[str, Any]], retransmitted: list[int]) -> None:
    for share in (0.2, 0.4, 0.6):
        counted = np.cumsum(retransmitted) >= share * np.arange(1, len(rows) + 1)
        assert true_for("loss", *rows, threshold=share, min_packets=1) == counted.tolist()


def test_loss_waits_for_its_packets_and_is_judged_on_all_of_them() -> None:
    rows = segments(0, 0, 60, 120, 180)
    assert true_for("loss", *rows, threshold=0.25, min_packets=3) == [False, False, True, True, False]


def test_a_notice_of_a_drop_counts_as_one_retransmission_and_as_no_packet() -> None:
    batch = packets(*segments(0, 60, 60, 120, protocol=17))
    selector = make("loss", threshold=0.5, min_packets=2)
    lost = [False, True, False, False]
    assert selector.events(sightings(batch, "five-tuple", lost=lost)).tolist() == [False, False, True, False]


@pytest.mark.parametrize("protocol", [6, 17])
def test_the_packets_of_a_flow_never_carry_into_its_retransmissions(protocol: int) -> None:
    selector = make("loss", threshold=0.02, min_packets=5)
    selector.events(sightings(packets(*segments(0, protocol=protocol)), "five-tuple"))
    (row,) = np.flatnonzero(selector.fp)
    selector.state[row, PACKETS] = 2**32 - 1
    more = packets(*segments(*range(60, 60 * 31, 60), protocol=protocol))
    assert not selector.events(sightings(more, "five-tuple")).any()
    assert selector.state[row, PACKETS] == 2**32 + 29 and selector.state[row, RETRANSMITTED] == 0


def test_retransmissions_and_drops_are_counted_beyond_32_bits() -> None:
    selector = make("loss", threshold=0.5, min_packets=5)
    batch = packets(*segments(0, 60, 60))
    selector.events(sightings(batch[:1], "five-tuple"))
    (row,) = np.flatnonzero(selector.fp)
    selector.state[row, [PACKETS, RETRANSMITTED]] = 2**33, 2**32 - 1
    assert selector.events(sightings(batch[1:], "five-tuple")).tolist() == [False, False]
    assert selector.state[row, RETRANSMITTED] == 2**32
    assert selector.events(sightings(batch[1:2], "five-tuple", lost=True)).all()  # half of them, to the packet
    assert selector.state[row, [PACKETS, RETRANSMITTED]].tolist() == [2**33 + 2, 2**32 + 1]


def scan(*tries: tuple[float, str, int]) -> list[dict[str, Any]]:
    return [
        {"time_ns": round(at * S), "dst": f"10.0.1.{dst}", "dst_port": port, "tcp_flags": SYN}
        for at, dst, port in tries
    ]


@pytest.mark.parametrize(
    ("tries", "true"),
    [
        ([(0, "1", 22), (1, "2", 22), (2, "3", 22)], [0, 0, 1]),
        ([(0, "1", 22), (1, "1", 23), (2, "1", 445)], [0, 0, 1]),  # pairs, so three ports of one host count
        ([(0, "1", 22), (1, "1", 22), (2, "2", 22)], [0, 0, 0]),
        ([(0, "1", 22), (1, "2", 80), (2, "3", 22)], [0, 0, 0]),  # 80 is not watched
        ([(0, "1", 22), (1, "2", 22), (10, "3", 22)], [0, 0, 0]),  # the first is a window old
        ([(0, "1", 22), (1, "2", 22), (9.999999999, "3", 22)], [0, 0, 1]),
        ([(0, "1", 22), (1, "2", 22), (8, "1", 22), (10.5, "3", 22)], [0, 0, 0, 1]),  # tried again
        ([(0, "1", 22), (1, "2", 22), (2, "3", 22), (3, "4", 22), (20, "5", 22)], [0, 0, 1, 1, 0]),
    ],
)
def test_a_source_that_tries_three_pairs_in_ten_seconds_scans(tries: Any, true: list[int]) -> None:
    assert true_for("port-scan", *scan(*tries), threshold=3, window_s=10) == [bool(t) for t in true]


def to_three_hosts(**other: Any) -> list[dict[str, Any]]:
    """Three packets of one source, to port 3389 of three hosts."""
    return [{"time_ns": i * S, "dst": f"10.0.1.{i + 1}", "dst_port": 3389, **other} for i in range(3)]


UDP, SCTP = 17, 132


@pytest.mark.parametrize(
    ("packet", "scans"),
    [
        ({"tcp_flags": SYN}, True),
        ({"tcp_flags": SYN | 192}, True),  # with ECE and CWR, as a client that knows ECN asks
        ({"tcp_flags": SYN_ACK, "src_port": 80}, False),  # the victim of a forged flood answers
        ({"tcp_flags": ACK}, False),  # sessions that run already
        ({"tcp_flags": RST | ACK}, False),
        ({"protocol": UDP, "src_port": 40000}, True),
        ({"protocol": SCTP, "src_port": 40000}, True),
        ({"protocol": UDP, "src_port": 53}, False),  # a DNS server answers clients that chose this port
        ({"protocol": UDP, "src_port": 3000}, False),
        ({"protocol": SCTP, "src_port": 2905}, False),
        ({"protocol": UDP, "src_port": 3389}, True),
        ({"protocol": 47, "src_port": 40000}, False),
    ],
)
def test_what_is_an_attempt(packet: dict[str, Any], scans: bool) -> None:
    assert true_for("port-scan", *to_three_hosts(**packet), threshold=3) == [False, False, scans]


def test_a_datagram_toward_a_high_port_is_an_attempt_where_its_own_is_dynamic() -> None:
    rows = to_three_hosts(protocol=UDP, src_port=40000, dst_port=50000)
    assert true_for("port-scan", *rows, threshold=3, ports=(50000,)) == [False, False, True]


@pytest.mark.parametrize("protocol", [UDP, SCTP])
def test_answers_to_questions_seen_here_are_no_attempts(protocol: int) -> None:
    answers = to_three_hosts(protocol=protocol, src_port=40000, src="10.0.0.9")
    asked = [
        {**row, "src": row["dst"], "dst": row["src"], "src_port": row["dst_port"], "dst_port": row["src_port"]}
        for row in answers
    ]
    assert true_for("port-scan", *answers, threshold=3)[-1]  # the questions make the difference
    mixed = [row for pair in zip(asked, answers, strict=True) for row in pair]
    assert not any(true_for("port-scan", *mixed, threshold=3))


@pytest.mark.parametrize(("silence_s", "again"), [(119.9, False), (120, True)])
def test_a_flow_of_udp_starts_again_after_two_minutes_of_silence(silence_s: float, again: bool) -> None:
    row = {"protocol": UDP, "src_port": 40000, "dst_port": 22}
    later = {**row, "time_ns": round(silence_s * S)}
    assert true_for("port-scan", row, later, threshold=1) == [True, again]


def test_fragments_without_ports_are_no_attempts() -> None:
    rows = to_three_hosts(protocol=UDP, src_port=0, dst_port=0)
    assert true_for("port-scan", *rows, threshold=1, ports=(0,)) == [False] * 3


def test_flows_of_udp_are_kept_in_bounded_memory_and_those_forgotten_start_again() -> None:
    selector = make("port-scan", memory_entries=1, threshold=1)
    rows = [{"protocol": UDP, "src_port": 40000 + i, "dst_port": 22, "time_ns": i} for i in (0, 1, 2, 3, 0, 4, 0, 1)]
    rows = [{**row, "time_ns": i} for i, row in enumerate(rows)]
    # the fifth pushes out the second, which was seen least recently: so the last one starts again
    true = selector.events(sightings(packets(*rows), "src"))
    assert true.tolist() == [True, True, True, True, False, True, False, True]
    assert np.count_nonzero(selector.flows) == 4  # type: ignore[attr-defined]


def test_an_elephant_sends_its_bytes_within_the_window() -> None:
    rows = [{"time_ns": at * MS, "ip_bytes": 1000} for at in (0, 100, 200, 999, 1000, 1125, 3000)]
    # 4000 bytes in 1 s are 0.032 Mbit/s; bins are of 125 ms, so at 1000 ms that of 0 and 100 ms has left
    found = true_for("elephant", *rows, threshold_mbps=0.032, window_s=1)
    assert found == [False, False, False, True, False, False, False]


def client(at_ms: float, port: int, flags: int = SYN, **other: Any) -> dict[str, Any]:
    """A packet of one client to a server."""
    return {"time_ns": round(at_ms * MS), "src_port": port, "tcp_flags": flags, "payload_bytes": 0, **other}


THREE = [client(at, at) for at in range(3)]


@pytest.mark.parametrize(
    ("rows", "true"),
    [
        ([*THREE, client(125, 9)], [0, 0, 0, 1]),  # after a bin in which they could have been answered
        ([*THREE, client(124, 9)], [0, 0, 0, 0]),
        ([*THREE, client(1124, 9), client(1125, 8)], [0, 0, 0, 1, 0]),  # a second counts
        ([*THREE, client(5, 0, ACK), client(200, 9)], [0, 0, 0, 0, 0]),
        ([*THREE, client(5, 7, ACK), client(200, 9)], [0, 0, 0, 0, 1]),  # an ACK of another client
        ([*THREE, client(5, 0, RST), client(200, 9)], [0, 0, 0, 0, 1]),
        ([*THREE, client(5, 0, RST | ACK), client(200, 9)], [0, 0, 0, 0, 1]),
        ([client(at, 0) for at in (0, 1, 2, 200)], [0, 0, 0, 1]),  # one client asks again and again
        ([client(at, 0) for at in (0, 0.5, 0.9, 1, 1.5, 200)], [0] * 6),  # copies
        ([*THREE, client(3, 0, SYN_ACK), client(200, 0, SYN_ACK)], [0] * 5),
        # a handshake takes back all of its SYNs, and those of no other
        (
            [
                *(client(at, 0) for at in (0, 300, 600)),
                client(700, 0, ACK),
                *(client(at, 1) for at in (710, 900)),
                client(1700, 2),
            ],
            [0] * 7,
        ),
        ([*THREE, *(client(150, p, ACK) for p in range(3)), client(400, 9)], [0] * 7),
    ],
)
def test_a_flood_is_what_handshakes_do_not_explain(rows: list[dict[str, Any]], true: list[int]) -> None:
    assert true_for("syn-flood", *rows, threshold=3) == [bool(t) for t in true]


def crowd(clients: int, gap_ms: float, round_trip_ms: float, repeat_ms: tuple[float, ...] = ()) -> list[dict[str, Any]]:
    """SYNs of many clients, each completed after a round trip; each packet is repeated after `repeat_ms`."""
    rows = []
    for i in range(clients):
        for late in (0.0, *repeat_ms):
            rows.append(client(i * gap_ms + late, i, dst_port=443))
            rows.append(client(i * gap_ms + late + round_trip_ms, i, ACK, dst_port=443))
    return sorted(rows, key=lambda row: int(row["time_ns"]))


@pytest.mark.parametrize(
    "rows",
    [
        crowd(2000, 0.5, 60),  # 120 are in flight
        crowd(400, 11, 700),  # 63
        crowd(300, 10, 40, repeat_ms=(0.01,)),  # every packet twice
        crowd(300, 10, 40, repeat_ms=(3,)),
    ],
    ids=["high rate", "long round trips", "copies", "late copies"],
)
def test_a_crowd_whose_handshakes_complete_is_no_flood(rows: list[dict[str, Any]]) -> None:
    assert not any(true_for("syn-flood", *rows, threshold=60))


def test_late_handshakes_of_others_hide_no_flood() -> None:
    late = [client(i, i) for i in range(40)] + [client(2000 + i * 5, i, ACK) for i in range(40)]
    forged = [client(2000 + i * 5, 1000 + i) for i in range(60)]
    rows = sorted(late + forged, key=lambda row: int(row["time_ns"]))
    assert true_for("syn-flood", *rows, threshold=30)[-1]


def test_a_handshake_that_began_before_its_destination_was_forgotten_explains_nothing() -> None:
    selector = make("syn-flood", memory_entries=1, threshold=2)
    again = [client(at, at, dst_port=81) for at in (3, 4)]
    rows = [client(0, 0), client(1, 0, dst="10.0.0.3"), *again, client(6, 0, ACK), client(200, 9)]
    assert selector.events(sightings(packets(*rows), "dst")).tolist() == [False] * 5 + [True]


def test_pending_connections_are_bounded_and_what_is_forgotten_stays_unexplained() -> None:
    selector = make("syn-flood", memory_entries=1, threshold=1)
    rows = [*(client(i, i) for i in range(5)), *(client(10 + i, i, ACK) for i in range(5)), client(200, 9)]
    value = np.zeros(len(rows))
    selector.events(sightings(packets(*rows), "dst"), value)
    assert value[-1] == 1  # the first of five gave way


def test_packets_that_cross_no_selector_are_not_seen() -> None:
    selector = make("elephant", threshold_mbps=0.001)
    seen = sightings(packets({"ip_bytes": 60_000}, {"ip_bytes": 60_000}), "five-tuple", where=[-1, 0])
    assert selector.events(seen).tolist() == [False, True]


def test_devices_do_not_share_what_they_see() -> None:
    selector = make("port-scan", devices=2, threshold=2)
    batch = packets(*scan((0, "1", 22), (1, "2", 22), (2, "3", 22)))
    assert selector.events(sightings(batch, "src", where=[0, 1, 0])).tolist() == [False, False, True]


def test_an_unknown_parameter_is_an_error() -> None:
    with pytest.raises(TypeError, match="elephant has no parameter size"):
        make("elephant", size=3)


# the twins


def random_sightings(seed: int, n: int, kind: str) -> Sightings:
    rng = np.random.default_rng(seed)
    hosts = [f"10.0.0.{i}" for i in range(1, 5)]
    rows = [
        {
            "src": hosts[rng.choice(4, p=[0.85, 0.05, 0.05, 0.05])],
            "dst": hosts[rng.choice(4, p=[0.1, 0.7, 0.1, 0.1])],
            "src_port": int(rng.choice([1, 2, 40000], p=[0.7, 0.1, 0.2])),
            "dst_port": int(rng.choice([22, 23, 80], p=[0.8, 0.1, 0.1])),
            "protocol": int(rng.choice([6, 17, 132], p=[0.8, 0.15, 0.05])),
            "ip_bytes": int(rng.integers(40, 1500)),
            "payload_bytes": int(rng.choice([0, 60, 1000])),
            "tcp_flags": int(rng.choice([ACK, SYN, SYN, SYN, SYN_ACK, RST, FIN | ACK, 0])),
            "tcp_seq": int(rng.integers(0, 3000) - 1500) % 2**32,
        }
        for _ in range(n)
    ]
    for row in rows:
        if rng.random() < 0.1:  # the other direction
            row |= {"src": row["dst"], "dst": row["src"], "src_port": row["dst_port"], "dst_port": row["src_port"]}
    times = np.cumsum(rng.choice([0, 1, 20_000_000, 400_000_000], n, p=[0.2, 0.2, 0.5, 0.1])) + 10**15
    batch = packets(*({**row, "time_ns": int(at)} for row, at in zip(rows, times, strict=True)))
    return sightings(batch, kind, where=rng.integers(-1, 2, n), lost=rng.random(n) < 0.05)


def as_packet(batch: PacketBatch, i: int, connection: int) -> oracle.Packet:
    ports = int(batch.src_port[i]), int(batch.dst_port[i])
    return oracle.Packet(
        i, int(batch.time_ns[i]), address_text(*batch.src[i]), address_text(*batch.dst[i]), *ports,
        int(batch.protocol[i]), int(batch.ip_bytes[i]), int(batch.payload_bytes[i]), int(batch.tcp_flags[i]),
        int(batch.tcp_seq[i]), {"five-tuple": connection}, {}, None, 0,
    )  # fmt: skip


TWINS: dict[str, tuple[str, dict[str, Any]]] = {
    "loss": ("five-tuple", {"threshold": 0.45, "min_packets": 3}),
    "port-scan": ("src", {"ports": (22, 23, 40000), "threshold": 3, "window_s": 2}),
    "elephant": ("five-tuple", {"threshold_mbps": 0.02, "window_s": 0.5}),
    "syn-flood": ("dst", {"threshold": 3}),
}


@pytest.mark.parametrize("event", TWINS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), cut=st.integers(0, 200))
def test_a_selector_equals_its_plain_twin(event: str, seed: int, cut: int) -> None:
    kind, parameters = TWINS[event]
    seen = random_sightings(seed, 200, kind)
    selector, plain = make(event, devices=2, **parameters), oracle.EVENTS[event](**parameters)
    connection = FLOW_HASH.keys(seen.packets, "five-tuple").tolist()
    found: list[float] = []
    for part in (slice(0, cut), slice(cut, 200)):
        columns = (seen.packets[part], seen.key[part], seen.where[part], seen.lost[part], FLOW_HASH)
        value = np.full(len(columns[0]), -1.0)
        true = selector.events(Sightings(*columns), value)
        assert ((value != -1) == true).all()
        found.extend(value.tolist())
    columns_seen = zip(seen.where.tolist(), seen.key.tolist(), seen.lost.tolist(), strict=True)
    expected = [
        plain.value if where >= 0 and plain.see((where, key), as_packet(seen.packets, i, connection[i]), lost) else -1
        for i, (where, key, lost) in enumerate(columns_seen)
    ]
    assert found == pytest.approx(expected, rel=1e-12)
    assert selector.evicted == 0


def test_the_twins_see_every_event_happen() -> None:
    """Guards the test above: its random packets make each event true now and then."""
    for event, (kind, parameters) in TWINS.items():
        true = make(event, devices=2, **parameters).events(random_sightings(1, 200, kind))
        assert 0 < true.sum() < 200, event


# bounded state


class PlainState:
    """The rows of a selector's state: eight flows a bucket, the one seen least recently gives way."""

    def __init__(self, devices: int, entries: int) -> None:
        self.ways = min(entries, 8)
        self.buckets = entries // self.ways
        self.flows: list[tuple[int, int] | None] = [None] * (devices * self.buckets * self.ways)
        self.evicted = 0

    def locate(self, flow: int, device: int, now: int) -> tuple[int, bool]:
        if device < 0:
            return -1, False
        start = (device * self.buckets + ((flow >> 32) * self.buckets >> 32)) * self.ways
        rows = range(start, start + self.ways)
        known = [row for row in rows if self.flows[row] and self.flows[row][0] == flow]  # type: ignore[index]
        free = [row for row in rows if self.flows[row] is None]
        if known:
            row = known[0]
        elif free:
            row = free[0]
        else:
            row = min(rows, key=lambda r: self.flows[r][1])  # type: ignore[index]
            self.evicted += 1
        self.flows[row] = (flow, now)
        return row, not known


@settings(max_examples=40, deadline=None)
@given(entries=st.integers(1, 40), flows=st.integers(1, 60), seed=st.integers(0, 2**32))
def test_state_rows_equal_their_plain_twin(entries: int, flows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 150
    key = rng.integers(1, 2**64, flows, np.uint64)[rng.integers(0, flows, n)]
    where, time_ns = rng.integers(-1, 3, n).astype(np.int32), np.sort(rng.integers(0, 100, n))
    plain = PlainState(3, entries)
    rows = 3 * plain.buckets * plain.ways
    row, fresh, counters = np.empty(n, np.int64), np.zeros(n, np.bool_), np.zeros(1, np.int64)
    fp, state = np.zeros(rows, np.uint64), np.zeros((rows, 1), np.int64)
    state_kernels.locate(key, where, time_ns, fp, state, plain.buckets, plain.ways, counters, row, fresh)
    expected = [plain.locate(*each) for each in zip(key.tolist(), where.tolist(), time_ns.tolist(), strict=True)]
    assert list(zip(row.tolist(), fresh.tolist(), strict=True)) == expected
    assert counters[0] == plain.evicted


@pytest.mark.parametrize("event", EVENTS)
def test_state_is_bounded_and_what_is_forgotten_is_counted(event: str) -> None:
    selector = make(event, memory_entries=20)
    sources = [f"10.0.{i // 250}.{i % 250 + 1}" for i in range(500)]
    batch = packets(
        *({"src": s, "dst": s, "dst_port": 22, "tcp_flags": SYN, "time_ns": i} for i, s in enumerate(sources))
    )
    selector.events(sightings(batch, selector.default_key))
    held = len(np.flatnonzero(selector.fp))
    assert held <= 20
    assert selector.evicted == 500 - held


def test_a_flow_that_was_forgotten_starts_anew() -> None:
    selector = make("loss", memory_entries=1, threshold=0.5, min_packets=2)
    one, two = segments(0, 0, 0), segments(0, src_port=7)
    assert selector.events(sightings(packets(*one), "five-tuple")).tolist() == [False, True, True]
    assert selector.events(sightings(packets(*two, *one), "five-tuple")).tolist() == [False, False, True, True]
    assert selector.evicted == 2


# window sums


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 900), st.integers(-3, 9)), max_size=60), st.integers(1, 90))
def test_window_sums_equal_adding_up(steps: list[tuple[int, int, int]], bin_ns: int) -> None:
    row = np.array([r for r, _, _ in steps], np.int64) - 1
    time_ns = np.cumsum([t for _, t, _ in steps]).astype(np.int64)
    amount = np.array([a for _, _, a in steps], np.int64)
    sums, fresh = np.zeros(len(steps), np.int64), np.zeros(len(steps), np.bool_)
    window_sums(row, fresh, time_ns, amount, np.zeros((2, BINS), np.int64), np.zeros(2, np.int64), bin_ns, sums)
    for i, r in enumerate(row):
        window = [j for j in range(i + 1) if row[j] == r and time_ns[j] // bin_ns > time_ns[i] // bin_ns - BINS]
        assert r < 0 or sums[i] == amount[window].sum()


def test_a_fresh_row_starts_its_window_anew() -> None:
    bins, latest, sums = np.full((1, BINS), 7, np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64)
    one = np.zeros(1, np.int64)
    window_sums(one, np.ones(1, np.bool_), one + 5, one + 3, bins, latest, 1, sums)
    assert sums[0] == 3
