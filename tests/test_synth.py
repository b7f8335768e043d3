"""Synthetic traffic: the same packets from the same seed, TCP that makes sense, and a truth that is true."""

import json
from functools import cache
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mozart.cli import main
from mozart.errors import SpecError
from mozart.traces.flows import FlowTable
from mozart.traces.injections import SCAN_PORTS
from mozart.traces.keys import FlowHash
from mozart.traces.packets import IPV4_PREFIX, PacketBatch, address_words, concatenate
from mozart.traces.synth import EPOCH_NS, Synthesizer, SynthOptions
from mozart.traces.synth_kernels import ACK, FIN, PACKET, RST, SYN, bucket_order, flow_length
from mozart.traces.synth_model import CAIDA_LIKE, PROFILES
from mozart.traces.synth_options import KINDS

FLOW_HASH = FlowHash.seeded(3)

SMALL: dict[str, Any] = {"packets_per_s": 20_000.0, "duration_s": 4.0}
EVENTS: dict[str, Any] = {
    **SMALL, "lossy_share": 0.2, "retransmission_rate": 0.1, "bidirectional_share": 0.5, "seed": 3,
    "scanners": 60, "scan_rate_per_s": 100.0, "scan_s": 1.0, "scan_answered_share": 0.6,
    "syn_floods": 30, "flood_rate_per_s": 500.0, "flood_s": 1.0,
    "elephants": 60, "elephant_mbps": 8.0, "elephant_s": 1.0,
}  # fmt: skip


@cache
def made(**options: Any) -> tuple[PacketBatch, dict[str, Any]]:
    """Make a trace in one batch, with its truth."""
    packets = Synthesizer(SynthOptions(**options))
    return concatenate([batch.copy() for batch in packets]), packets.truth


def same(a: PacketBatch, b: PacketBatch) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a.columns(), b.columns(), strict=True))


def of_host(addresses: np.ndarray, host: str) -> np.ndarray:
    return (addresses == np.array(address_words(host), np.uint64)).all(axis=1)


def retransmissions(batch: PacketBatch) -> dict[int, tuple[int, int]]:
    """Count by key: packets, and segments with payload below the highest end seen (modulo 2**32)."""
    ends: dict[int, int] = {}
    counts: dict[int, tuple[int, int]] = {}
    keys = FLOW_HASH.keys(batch, "five-tuple")
    columns = (keys, batch.protocol, batch.tcp_flags, batch.tcp_seq, batch.payload_bytes)
    for key, protocol, flags, seq, payload in zip(*(column.tolist() for column in columns), strict=True):
        if protocol != 6:
            continue
        again = payload > 0 and key in ends and (seq - ends[key]) % 2**32 >= 2**31
        end = (seq + payload + bool(flags & SYN) + bool(flags & FIN)) % 2**32
        if key not in ends or (end - ends[key]) % 2**32 < 2**31:
            ends[key] = end
        packets, repeated = counts.get(key, (0, 0))
        counts[key] = packets + 1, repeated + again
    return counts


def test_the_same_seed_gives_the_same_packets_and_another_seed_others():
    batch, truth = made(**SMALL)
    again = Synthesizer(SynthOptions(**SMALL))
    assert same(batch, concatenate([b.copy() for b in again]))
    assert json.dumps(again.truth, default=np.ndarray.tolist) == json.dumps(truth, default=np.ndarray.tolist)
    assert not same(batch, made(**SMALL, seed=2)[0])


@pytest.mark.parametrize("duration_s", [0.5, 2.0, 3.3])
def test_a_longer_trace_begins_with_the_packets_of_a_shorter_one(duration_s):
    long, _ = made(**EVENTS)
    short, _ = made(**EVENTS | {"duration_s": duration_s})
    assert 0 < len(short) < len(long)
    assert same(short, long[: len(short)])
    assert long.time_ns[len(short)] - EPOCH_NS >= duration_s * 1e9


def test_packets_are_in_time_order_and_consistent():
    batch, truth = made(**EVENTS)
    assert np.all(np.diff(batch.time_ns) >= 0)
    assert batch.time_ns[0] >= EPOCH_NS and batch.time_ns[-1] < EPOCH_NS + 4e9
    assert (len(batch), int(batch.ip_bytes.sum())) == (truth["packets"], truth["bytes"])
    transport = np.select([batch.protocol == 6, batch.protocol == 17], [40, 28], 28)
    assert np.all(batch.payload_bytes + transport <= batch.ip_bytes)
    assert batch.ip_bytes.max() <= 1500 and batch.ip_bytes.min() >= 40
    assert not batch.tcp_flags[batch.protocol != 6].any() and batch.tcp_flags[batch.protocol == 6].all()
    icmp = batch.protocol == 1
    assert icmp.any() and not batch.src_port[icmp].any() and not batch.payload_bytes[icmp].any()


def test_no_slot_of_time_differs_from_the_next_at_the_beginning():
    batch, _ = made(packets_per_s=40_000.0, duration_s=4.0)
    per_second = np.bincount((batch.time_ns - EPOCH_NS) // 10**9)
    assert per_second.min() > 0.8 * 40_000 and per_second.max() < 1.25 * 40_000


def test_tcp_begins_with_syn_ends_with_fin_and_counts_its_payload():
    batch, _ = made(**SMALL, lossy_share=0.0)
    keys = FLOW_HASH.keys(batch, "five-tuple")
    order = np.argsort(keys, kind="stable")
    seen = 0
    for flow in np.split(order, np.flatnonzero(np.diff(keys[order])) + 1):
        b = batch[flow]
        if b.protocol[0] != 6 or len(b) < 4 or not b.tcp_flags[0] & SYN:
            continue
        seen += 1
        assert not (b.tcp_flags[1:] & SYN).any() and (b.tcp_flags[1:] & ACK).all()
        assert not (b.tcp_flags[:-1] & FIN).any()
        assert b.payload_bytes[0] == 0
        ends = b.tcp_seq + b.payload_bytes + (b.tcp_flags & (SYN | FIN) > 0)
        assert np.array_equal(b.tcp_seq[1:], ends[:-1].astype(np.uint32))
    assert seen > 500


def test_connections_with_both_directions_are_as_many_as_asked():
    for share in (0.0, 1.0, 0.5):
        batch, _ = made(**SMALL, bidirectional_share=share, scanners=0, elephants=0, syn_floods=0)
        begun = batch[(batch.tcp_flags & SYN > 0) & (batch.payload_bytes == 0) & (batch.time_ns < EPOCH_NS + 3e9)]
        there = np.unique(FLOW_HASH.keys(batch, "five-tuple"))
        answered = np.isin(FLOW_HASH.keys(begun, "five-tuple", reverse=True), there).mean()
        # Of 1 connection in 2 with both directions, 2 of 3 flows have a reverse.
        assert answered == pytest.approx(2 * share / (1 + share), abs=0.07)


def test_the_truth_names_the_lossy_flows_and_counts_their_retransmissions():
    batch, truth = made(**EVENTS)
    counted = retransmissions(batch)
    expected = {key: count for key, count in counted.items() if count[1]}
    lossy = truth["lossy_flows"]
    rows = zip(lossy["packets"].tolist(), lossy["retransmissions"].tolist(), strict=True)
    assert dict(zip(lossy["key"].tolist(), rows, strict=True)) == expected
    assert len(expected) > 100
    assert not made(**SMALL, lossy_share=0.0)[1]["lossy_flows"]["key"].size


def test_lossy_flows_are_the_share_asked_and_lose_at_the_rate_asked():
    batch, truth = made(**SMALL, lossy_share=1.0, retransmission_rate=0.2, elephants=0)
    packets, repeated = truth["lossy_flows"]["packets"], truth["lossy_flows"]["retransmissions"]
    large = packets >= 100
    assert repeated[large].sum() / packets[large].sum() == pytest.approx(0.2, abs=0.03)
    data = FlowTable(FlowHash.seeded(1))
    data.add(batch[(batch.protocol == 6) & (batch.payload_bytes > 0)])
    flows = data.to_columns()
    sends_much = (flows["packets"] >= 40) & (flows["bytes"] / flows["packets"] > 900)
    assert np.isin(flows["key"][sends_much], truth["lossy_flows"]["key"]).mean() > 0.98


def test_scanners_send_what_the_truth_says_and_some_hosts_answer():
    batch, truth = made(**EVENTS)
    table = truth["scanners"]
    assert len(table["src"]) == 4
    for src, start_ns, packets in zip(table["src"], table["start_ns"], table["packets"], strict=True):
        sent, received = batch[of_host(batch.src, src)], batch[of_host(batch.dst, src)]
        assert len(sent) == packets and sent.time_ns[0] == start_ns
        assert set(sent.dst_port.tolist()) == set(SCAN_PORTS) and (sent.tcp_flags == SYN).all()
        assert len(np.unique(sent.dst[:, 1])) == packets
        assert np.isin(FLOW_HASH.keys(received, "five-tuple", reverse=True), FLOW_HASH.keys(sent, "five-tuple")).all()
        assert len(received) / packets == pytest.approx(0.6, abs=0.2)
        assert set(received.tcp_flags.tolist()) == {SYN | ACK, RST | ACK}


def test_floods_are_syns_from_everywhere_that_the_victim_answers_in_vain():
    batch, truth = made(**EVENTS)
    table = truth["syn_floods"]
    assert len(table["dst"]) == 2
    for dst, packets in zip(table["dst"], table["packets"], strict=True):
        sent, answers = batch[of_host(batch.dst, dst)], batch[of_host(batch.src, dst)]
        assert len(sent) == packets and (sent.tcp_flags == SYN).all() and (sent.dst_port == 443).all()
        assert len(np.unique(sent.src[:, 1])) == packets
        assert (answers.tcp_flags == SYN | ACK).all()
        assert packets - 2 <= len(answers) <= packets


def test_elephants_send_at_the_rate_asked():
    batch, truth = made(**EVENTS)
    table = truth["elephants"]
    assert len(table["key"]) == 4
    keys = FLOW_HASH.keys(batch, "five-tuple")
    rates = []
    for key, packets in zip(table["key"], table["packets"], strict=True):
        flow = batch[keys == key]
        assert len(flow) == packets
        rates.append(flow.ip_bytes.sum() * 8e-6 / ((flow.time_ns[-1] - flow.time_ns[0]) / 1e9))
    assert rates == pytest.approx([8.0] * 4, rel=0.1)


def test_ipv6_has_its_share_and_room_for_its_header():
    batch, _ = made(**SMALL, ipv6_share=0.5, scanners=0, elephants=0, syn_floods=0)
    v4 = (batch.src[:, 0] == 0) & (batch.src[:, 1] >> np.uint64(32) == IPV4_PREFIX >> 32)
    assert 0.3 < v4.mean() < 0.7
    v6 = batch[~v4]
    assert (v6.src[:, 0] >> np.uint64(61) == 1).all() and (v6.dst[:, 0] >> np.uint64(61) == 1).all()
    assert v6.ip_bytes.min() >= 60 and not (v6.protocol == 1).any() and (v6.protocol == 58).any()
    assert (v6.payload_bytes + np.select([v6.protocol == 6], [60], 48) <= v6.ip_bytes).all()


def test_lengths_of_the_kernel_are_those_that_the_rate_is_reckoned_with():
    longest = CAIDA_LIKE.longest(50_000.0)
    survival = np.random.default_rng(2).random(2000) ** 4
    _, tables, _ = CAIDA_LIKE.tables(50_000.0)
    for row, lengths in enumerate((CAIDA_LIKE.tcp_lengths, CAIDA_LIKE.udp_lengths, CAIDA_LIKE.icmp_lengths)):
        drawn = [flow_length(u, tables[row]) for u in survival.tolist()]
        assert drawn == lengths.draw(survival, longest).tolist()


@given(st.lists(st.integers(0, 999), max_size=200), st.sampled_from([1, 7, 100, 1000]))
@settings(deadline=None, max_examples=30)
def test_packets_of_a_slot_are_sorted_and_ties_keep_their_order(times, width_ns):
    packets = np.zeros(len(times), PACKET)
    packets["time_ns"] = np.array(times, np.int64) + 5000
    counts = np.empty(-(-1000 // width_ns) + 1, np.int32)
    order = np.empty(len(times), np.int32)
    bucket_order(packets, len(times), 5000, width_ns, counts, order)
    assert order.tolist() == np.argsort(packets["time_ns"], kind="stable").tolist()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "dial-up"}, "no kind 'dial-up'; there is caida-like"),
        ({"duration_s": 0}, "duration_s is 0"),
        ({"lossy_share": 1.5}, "lossy_share is 1.5, and 0 to 1 is allowed"),
        ({"elephants": -1}, "elephants is -1"),
        ({"scanners": True}, "scanners is True, and a number is needed"),
        ({"elephant_mbps": float("nan")}, "elephant_mbps is nan"),
    ],
)
def test_a_wrong_option_is_refused_by_name(wrong, message):
    with pytest.raises(SpecError, match="synthetic traffic: ") as caught:
        SynthOptions(**wrong)
    assert message in str(caught.value)


def test_every_kind_has_its_figures():
    assert tuple(PROFILES) == KINDS


def test_the_command_writes_the_trace_and_its_truth(tmp_path, capsys):
    out = tmp_path / "small.pcap"
    options = ["--duration-s", "2", "--packets-per-s", "5000", "--lossy-share", "0.5", "--scanners", "60"]
    assert main(["trace", "synth", str(out), *options]) == 0
    truth = json.loads((tmp_path / "small.pcap.truth.json").read_text())
    flows = pyarrow.parquet.read_table(tmp_path / "small.pcap.lossy.parquet")
    assert truth["options"]["packets_per_s"] == 5000 and truth["lossy_flows"]["flows"] == len(flows) > 0
    assert len(truth["scanners"]["src"]) == 2
    capsys.readouterr()
    assert main(["trace", "info", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["packets"] == truth["packets"]


@pytest.mark.parametrize("arguments", [[], ["x.pcap", "--calibration"], ["x.pcap", "--json"], ["x.txt"]])
def test_the_command_refuses_what_it_cannot_do(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["trace", "synth", *arguments]) == 2
    assert capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.parametrize("beside", ["truth.json", "lossy.parquet"])
def test_what_stands_beside_the_trace_is_replaced_only_by_force(beside, tmp_path, capsys):
    out, kept = tmp_path / "x.pcap", tmp_path / f"x.pcap.{beside}"
    kept.write_text("mine")
    options = ["--duration-s", "0.01", "--packets-per-s", "1000"]
    assert main(["trace", "synth", str(out), *options]) == 2
    assert f"{kept}: exists; give --force" in capsys.readouterr().err
    assert kept.read_text() == "mine" and not out.exists()
    assert main(["trace", "synth", str(out), *options, "--force"]) == 0
    assert kept.read_bytes() != b"mine"


def test_a_device_has_no_truth_beside_it(capsys):
    assert main(["trace", "synth", "/dev/null", "--duration-s", "0.01", "--packets-per-s", "1000"]) == 0
    told = capsys.readouterr().err
    assert "/dev/null: " in told and "truth" not in told


@pytest.mark.parametrize("duration_s", ["0.00001", "10", "120"])
def test_calibration_is_of_a_minute(duration_s, capsys):
    small = ["--packets-per-s", "100"]
    assert main(["trace", "synth", "--calibration", "--duration-s", duration_s, *small]) == 2
    assert "leave out --duration-s, or give 60" in capsys.readouterr().err


def test_the_rate_is_that_of_the_traffic_without_what_is_injected(capsys):
    with pytest.raises(SystemExit):
        main(["trace", "synth", "--help"])
    assert "mean packet rate, without injected events, which come on top" in " ".join(capsys.readouterr().out.split())
