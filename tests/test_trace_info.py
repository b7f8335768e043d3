"""What `trace info` says of a trace: exact figures of small worlds, and estimates of known distributions."""

import json

import numpy as np
import pytest
from mozart.traces.figures import draw_trace
from mozart.traces.info import TimeBins, TraceInfo, flow_summary, histogram_summary, tail
from mozart.traces.info_command import general_rows
from mozart.traces.keys import FlowHash
from mozart.traces.packets import PacketBatch, address_words
from mozart.traces.silences import utc

SECOND_NS = 1_000_000_000
A, B = address_words("192.0.2.1"), address_words("198.51.100.2")
A6, B6 = address_words("2001:db8::1"), address_words("2001:db8::2")
NOTHING_SKIPPED = {"not_ip": 0, "cut_off": 0}


def small_world() -> TraceInfo:
    """Count ten packets, over 2 s: a flow of seven, a reverse flow of two, and one of IPv6."""
    forward = PacketBatch.of(
        time_ns=10**18 + np.arange(7) * SECOND_NS // 4,
        src=[A] * 7, dst=[B] * 7, src_port=[1000] * 7, dst_port=[80] * 7, protocol=[6] * 7,
        ip_bytes=[40, 40, 1500, 1500, 1500, 1500, 100],
    )  # fmt: skip
    rest = PacketBatch.of(
        time_ns=10**18 + np.array([16, 16, 20]) * SECOND_NS // 10,
        src=[B, B, A6], dst=[A, A, B6], src_port=[80, 80, 1000], dst_port=[1000, 1000, 53],
        protocol=[6, 6, 17], ip_bytes=[40, 40, 80],
    )  # fmt: skip
    info = TraceInfo(FlowHash.seeded(1))
    for batch in (forward, PacketBatch.empty(0), rest):
        info.add(batch)
    return info


def test_the_figures_of_a_small_world_are_exact():
    report = small_world().report({"not_ip": 3, "cut_off": 0}, reordered=1)
    assert {name: report[name] for name in ("packets", "flows", "bytes", "duration_s")} == {
        "packets": 10, "flows": 3, "bytes": 6340, "duration_s": 2.0,
    }  # fmt: skip
    assert report["packets_per_s"] == 5
    assert report["mbit_per_s"] == pytest.approx(6340 * 8 / 2 / 1e6)
    assert report["ipv6_packet_share"] == 0.1
    assert report["ip_bytes"]["mean"] == 634
    assert report["ip_bytes"]["quantiles"]["p50"] == 80
    assert report["ip_bytes"]["max"] == 1500
    assert [(p["name"], p["packets"], p["packet_share"]) for p in report["protocols"]] == [
        ("TCP", 9, 0.9),
        ("UDP", 1, 0.1),
    ]
    assert report["protocols"][1]["byte_share"] == pytest.approx(80 / 6340)
    assert report["flow_packets"]["one_packet_share"] == pytest.approx(1 / 3)
    assert report["flow_packets"]["quantiles"]["p50"] == 2
    assert report["flow_packets"]["top_1_percent_packet_share"] == 0.7
    assert report["flow_packets"]["tail"] is None
    assert (report["skipped"], report["reordered"]) == ({"not_ip": 3, "cut_off": 0}, 1)


def test_a_trace_without_packets_has_no_rates_and_no_distributions():
    report = TraceInfo(FlowHash.seeded(1)).report(NOTHING_SKIPPED, 0)
    assert (report["packets"], report["flows"], report["protocols"]) == (0, 0, [])
    for unknown in (
        "first_ns",
        "packets_per_s",
        "mbit_per_s",
        "ip_bytes",
        "flow_packets",
        "ipv6_packet_share",
    ):
        assert report[unknown] is None
    assert ("rate", "- packets/s, - Mbit/s") in general_rows(report)


def test_a_single_moment_has_no_rate():
    info = TraceInfo(FlowHash.seeded(1))
    info.add(PacketBatch.of(time_ns=[5, 5], ip_bytes=[40, 40]))
    assert info.report(NOTHING_SKIPPED, 0)["packets_per_s"] is None


def test_quantiles_of_a_histogram_are_those_of_the_values():
    random = np.random.default_rng(3)
    values = random.integers(0, 1500, 1001)
    found = histogram_summary(np.bincount(values, minlength=2000), int(values.sum()))
    assert found is not None
    expected = np.quantile(values, [0.01, 0.1, 0.5, 0.999], method="inverted_cdf")
    assert [found["quantiles"][name] for name in ("p1", "p10", "p50", "p99.9")] == expected.tolist()
    assert found["mean"] == pytest.approx(values.mean())


def test_offloaded_segments_count_with_their_bytes_and_stay_in_the_histogram():
    info = TraceInfo(FlowHash.seeded(1))
    info.add(PacketBatch.of(time_ns=[0], ip_bytes=[200_000]))
    report = info.report(NOTHING_SKIPPED, 0)
    assert (report["bytes"], report["ip_bytes"]["mean"], report["ip_bytes"]["max"]) == (
        200_000,
        200_000,
        200_000,
    )
    assert report["ip_bytes"]["quantiles"]["p50"] == 200_000
    info.add(PacketBatch.of(time_ns=[0], ip_bytes=[2**32 - 1]))
    assert info.report(NOTHING_SKIPPED, 0)["ip_bytes"]["max"] == 2**32 - 1


@pytest.mark.parametrize("exponent", [1.1, 1.3, 2.0])
def test_the_tail_exponent_of_pareto_flows_is_found(exponent):
    uniform = np.random.default_rng(7).random(200_000)
    found = tail(np.sort(np.rint(0.5 * uniform ** (-1 / exponent)).astype(np.int64)))
    assert found is not None
    assert abs(found.exponent - exponent) < max(0.03, 4 * found.standard_error)


def test_the_tail_starts_behind_a_body_of_another_shape():
    random = np.random.default_rng(8)
    body = random.integers(1, 20, 50_000)
    pareto = (20 * random.random(20_000) ** (-1 / 1.3)).astype(np.int64)
    found = tail(np.sort(np.concatenate([body, pareto])))
    assert found is not None
    assert found.from_packets >= 16
    assert found.exponent == pytest.approx(1.3, abs=0.05)


@pytest.mark.parametrize("packets", [[], [5] * 99, [1] * 5000])
def test_too_few_flows_or_only_one_length_have_no_tail(packets):
    assert tail(np.array(packets, np.int64)) is None


def test_the_share_of_the_longest_flows():
    summary = flow_summary(np.array([1] * 198 + [101, 201]))
    assert summary is not None
    assert summary["top_1_percent_packet_share"] == pytest.approx(302 / 500)
    assert summary["one_packet_share"] == pytest.approx(0.99)


@pytest.mark.parametrize("spread_ns", [1, 10**6, 10**12])
def test_time_bins_hold_every_packet_however_long_the_trace(spread_ns):
    time_ns = np.sort(np.random.default_rng(5).integers(0, spread_ns, 5000)) + 10**18
    sizes = np.arange(5000, dtype=np.uint32)
    bins = TimeBins()
    for start in range(0, 5000, 700):
        bins.add(time_ns[start : start + 700], sizes[start : start + 700])
    where = (time_ns - time_ns[0]) // bins.width_ns
    np.testing.assert_array_equal(bins.packets, np.bincount(where, minlength=TimeBins.BINS))
    np.testing.assert_array_equal(bins.bytes, np.bincount(where, sizes, TimeBins.BINS).astype(int))


def test_figures_are_drawn_as_png_and_pdf_and_the_same_each_time(tmp_path):
    info = small_world()
    first = draw_trace(info, tmp_path / "new")
    assert sorted(path.name for path in first) == [
        f"{name}.{kind}" for name in ("flow-lengths", "packet-sizes", "rate") for kind in ("pdf", "png")
    ]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(first, draw_trace(info, tmp_path), strict=True))


def test_a_trace_of_one_moment_can_be_drawn(tmp_path):
    info = TraceInfo(FlowHash.seeded(1))
    info.add(PacketBatch.of(time_ns=[5], ip_bytes=[40]))
    assert len(draw_trace(info, tmp_path)) == 6


def test_times_are_shown_as_dates():
    assert utc(1_521_118_773_289_502_000) == "2018-03-15 12:59:33.289502 UTC"
    assert utc(None) == "-"


def test_packets_without_bytes_have_no_share_of_them():
    info = TraceInfo(FlowHash.seeded(1))
    info.add(PacketBatch.of(time_ns=[1, 2], protocol=[6, 17]))
    report = info.report({}, 0)
    assert [row["byte_share"] for row in report["protocols"]] == [None, None]
    json.dumps(report, allow_nan=False)


def test_times_as_far_apart_as_64_bits_allow_are_counted():
    info = TraceInfo(FlowHash.seeded(1))
    info.add(PacketBatch.of(time_ns=[-(2**63), -5]))
    info.add(PacketBatch.of(time_ns=[2**63 - 1]))
    assert info.time_bins.packets.sum() == info.packets == 3
    assert info.report({}, 0)["duration_s"] == pytest.approx((2**64 - 1) / 1e9)
