"""Quality of capture on a synthetic backbone minute: none at its best, against mozart, recent and the floor.

One epoch of 60 s, the task lossy-flows of examples/b4.yaml, 2 % of all flows selected (`lossy_share` is set so).
Prints: for each memory size the best sampling probability of `none`; the size where `none` misses 15 %, and what the
others miss there; `recent` at three times the selected flows; and by how full of selected flows the tables are (in
the mean over the switches; the fullest is 1.34 times as full) the misses above the floor, and pre-event bytes.

usage: python benchmarks/quality.py [--packets N] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import numpy as np
from mozart.replay.run import replay

SECONDS = 60.0
PROBABILITIES = (0.01, 0.05, 0.2, 0.5, 1.0)
FILLS = (0.25, 0.5, 0.67, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0)
LOSSY_SHARE = 0.4


def spec(packets: int) -> dict[str, Any]:
    """Return the task file: one task, one epoch."""
    return {
        "topology": {"name": "b4"},
        "traffic": {
            "synthetic": "caida-like", "duration_s": SECONDS, "packets_per_s": packets / SECONDS,
            "lossy_share": LOSSY_SHARE,
        },
        "sampling": {"epoch_s": SECONDS + 1},
        "tasks": [
            {
                "name": "lossy-flows",
                "selector": {"event": "loss", "threshold": 0.02, "min_packets": 20, "at": "source-host"},
                "monitor": {"measure": "volume", "at": "path-switches"},
            }
        ],
    }  # fmt: skip


def measure(packets: int) -> dict[str, Any]:
    """Run the replays and return what they show."""
    plan = spec(packets)
    probe = replay(plan, mode=["mozart"], memory=[1 << 16])
    row = probe.rows[0]
    per_monitor = probe_load(probe)
    sizes = sorted({1 << e for e in range(8, 18)})
    by_probability = {p: replay(plan, mode=["none"], memory=sizes, probability=p).rows for p in PROBABILITIES}
    best = {
        size: min(
            (r["not_captured_ratio"], p)
            for p, rows in by_probability.items()
            for r in rows
            if r["memory_entries"] == size
        )
        for size in sizes
    }
    cross = crossing(sizes, [best[s][0] for s in sizes], 0.15)
    fills = [max(8, round(per_monitor / fill)) for fill in FILLS]
    wanted = sorted({*fills, 3 * round(per_monitor), *([cross] if cross else [])})
    rows = replay(plan, memory=wanted).rows
    return {
        "packets": probe.trace["packets"],
        "flows": probe.trace["flows"],
        "selected_flows": row["selected_flows"],
        "selected_share_of_flows": row["selected_flows"] / probe.trace["flows"],
        "selected_flows_per_monitor": per_monitor,
        "none_best": {size: {"not_captured": m, "probability": p} for size, (m, p) in best.items()},
        "where_none_misses_15_percent": cross,
        "there": [r for r in rows if r["memory_entries"] == cross],
        "by_fill": {
            fill: [r for r in rows if r["memory_entries"] == size] for fill, size in zip(FILLS, fills, strict=True)
        },
        "three_times": [r for r in rows if r["memory_entries"] == 3 * round(per_monitor)],
    }


def probe_load(result: Any) -> float:
    """Return the mean number of selected flows that a monitor records, from the size of a replay's reports."""
    row = result.rows[0]
    return row["report_bytes"] / 72 / len(result.placement[row["task"]]["monitor"]["devices"])


def crossing(sizes: list[int], missed: list[float], level: float) -> int | None:
    """Return the memory where a falling curve crosses a level, on a logarithmic scale; None where it does not."""
    for (a, high), (b, low) in zip(
        zip(sizes, missed, strict=True), list(zip(sizes, missed, strict=True))[1:], strict=False
    ):
        if high >= level >= low:
            part = (high - level) / (high - low) if high > low else 0.0
            return int(np.exp(np.log(a) + part * (np.log(b) - np.log(a))))
    return None


def show(found: dict[str, Any]) -> None:
    """Print the findings for people."""

    def share(part: float, whole: float) -> str:
        return f"{100 * part / whole:6.2f} %" if whole else "-"

    print(
        f"{found['packets']:,} packets, {found['flows']:,} flows, {found['selected_flows']:,} of them selected "
        f"({100 * found['selected_share_of_flows']:.2f} %), {found['selected_flows_per_monitor']:.0f} a monitor (mean)"
    )
    print("\nnone at its best probability:")
    for size, best in found["none_best"].items():
        print(f"  {size:7,} entries: misses {100 * best['not_captured']:6.2f} % with p = {best['probability']}")
    for title, rows in (
        (f"where none misses 15 %: {found['where_none_misses_15_percent']} entries", found["there"]),
        ("at three times the selected flows", found["three_times"]),
    ):
        print(f"\n{title}")
        for r in rows:
            print(
                f"  {r['mode']:9} misses {100 * r['not_captured_ratio']:6.2f} %  pre-event "
                f"{share(r['pre_event_captured_bytes'], r['pre_event_bytes'])}  of the unreachable "
                f"{share(r['unreachable_captured_flows'], r['unreachable_flows'])} captured"
            )
    print("\nselected flows over entries: floor; misses of mozart and recent above it, in points; pre-event bytes")
    for fill, rows in found["by_fill"].items():
        by_mode = {r["mode"]: r for r in rows}
        floor = by_mode["mozart"]["floor_ratio"]
        above = (100 * (by_mode[mode]["not_captured_ratio"] - floor) for mode in ("mozart", "recent"))
        held = (
            f"{mode} {share(by_mode[mode]['pre_event_captured_bytes'], by_mode[mode]['pre_event_bytes'])}"
            for mode in ("two-mode", "mozart", "recent")
        )
        print(f"  {fill:5}: {100 * floor:6.2f} %  {'  '.join(f'+{a:5.2f}' for a in above)}  {'  '.join(held)}")


def main() -> int:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=11_000_000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args.packets)
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
