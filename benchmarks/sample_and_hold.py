"""How fast the sample-and-hold table is: mozart's kernel against the same table in C, rule for rule, on the same keys.

python benchmarks/sample_and_hold.py [--packets 4000000] [--runs 7] [--json]

Tables of 64 KB, 1 MB and 64 MB (keys, ranks and counts), in the modes none, mozart and recent; keys by a Zipf law and
of synthetic backbone traffic, 2 % of the flows tagged in the second half. Rates are medians over runs in which both
take turns, by CPU time; the ratio is the median of the runs' ratios. After each run the two tables must be equal,
byte by byte. Needs gcc.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mozart.monitors.modes import MODES
from mozart.monitors.table import Crossings, Table
from mozart.monitors.table_kernels import PACKET, TAGGED
from mozart.traces.keys import FlowHash
from mozart.traces.synth import Synthesizer, SynthOptions
from numpy.typing import NDArray

SOURCE = Path(__file__).resolve().with_suffix(".c")
SLOT_BYTES = 8 + 8 + 64
TABLE_BYTES = {"64 KB": 64 << 10, "1 MB": 1 << 20, "64 MB": 64 << 20}
MODES_MEASURED = ("none", "mozart", "recent")
PROBABILITY = 0.01
ZIPF_FLOWS, ZIPF_EXPONENT = 1_000_000, 1.1
COMPILER = ("gcc", "-O3", "-march=native", "-fno-math-errno", "-shared", "-fPIC")

Observe = Callable[[Table, Crossings], None]


def zipf_keys(packets: int, rng: np.random.Generator) -> NDArray[np.uint64]:
    """Draw the flow of each packet by a Zipf law."""
    share = np.cumsum(np.arange(1, ZIPF_FLOWS + 1) ** -ZIPF_EXPONENT)
    rank = np.searchsorted(share, rng.random(packets) * share[-1])
    return rng.integers(1, 2**64 - 1, ZIPF_FLOWS, np.uint64)[rank]


def backbone_keys(packets: int) -> NDArray[np.uint64]:
    """Return the flows of synthetic backbone traffic, packet by packet."""
    rate = SynthOptions().packets_per_s
    traffic = Synthesizer(SynthOptions(duration_s=1.3 * packets / rate))
    keys = np.concatenate([FlowHash.seeded(1).keys(batch, "five-tuple") for batch in traffic])
    if len(keys) < packets:
        raise RuntimeError(f"synthetic traffic gave {len(keys)} packets where {packets} were wanted")
    return keys[:packets]


def crossings(key: NDArray[np.uint64], rng: np.random.Generator) -> Crossings:
    """Make crossings of keys: one flow in 50 is tagged in the second half."""
    packets = len(key)
    tagged = (key % np.uint64(50) == 0) & (np.arange(packets) > packets // 2)
    return Crossings(
        key=key,
        kind=np.where(tagged, TAGGED, PACKET).astype(np.uint8),
        ip_bytes=rng.choice(np.array([40, 52, 576, 1500], np.uint32), packets),
        time_ns=np.arange(packets, dtype=np.int64) * 2000,
        luck=rng.integers(0, 2**32, packets, np.uint32),
        span=(key % np.uint64(5)).astype(np.uint8) + 1,
        item=np.empty(0, np.uint64),
    )


def compiled(folder: str) -> Observe:
    """Compile the C table; returns what calls it as `Table.observe` is called."""
    library = Path(folder) / "sample_and_hold.so"
    subprocess.run([*COMPILER, "-o", str(library), str(SOURCE), "-lm"], check=True)
    function = ctypes.CDLL(str(library)).observe
    function.restype = None

    def observe(table: Table, taken: Crossings) -> None:
        columns = (taken.key, taken.kind, taken.ip_bytes, taken.time_ns, taken.luck, taken.span)
        arrays = (table.fp, table.rank, table.stats, table.counters)
        mode = table.mode
        function(
            ctypes.c_uint64(len(taken)), *(ctypes.c_void_p(c.ctypes.data) for c in columns),
            ctypes.c_uint64(len(table.fp)), *(ctypes.c_void_p(a.ctypes.data) for a in arrays),
            ctypes.c_uint64(int(table.probability * 2**32)),
            *(ctypes.c_int(flag) for flag in (mode.heeds_tags, mode.heeds_hints, mode.priority, mode.recency)),
            ctypes.c_int64(table.entries),
        )  # fmt: skip

    return observe


def compare(
    observers: dict[str, Observe], mode: str, entries: int, taken: Crossings, runs: int
) -> dict[str, list[float]]:
    """Return the CPU seconds of each, run by run, after checking that all end in the same table.

    They take turns in the same memory, because how it is paged makes a difference of a third.
    """
    table = Table(MODES[mode], entries, MODES[mode].probability(PROBABILITY))
    arrays = (table.fp, table.rank, table.stats, table.counters)
    empty = [array.copy() for array in arrays]
    seconds: dict[str, list[float]] = {name: [] for name in observers}
    for run in range(runs + 1):  # the first warms up
        ends = []
        for name in list(observers)[:: -1 if run % 2 else 1]:
            for array, start in zip(arrays, empty, strict=True):
                array[:] = start
            table.marks[:] = 0
            begin = time.thread_time()
            observers[name](table, taken)
            seconds[name].append(time.thread_time() - begin)
            ends.append([array.copy() for array in arrays])
        if any(not np.array_equal(a, b) for end in ends[1:] for a, b in zip(ends[0], end, strict=True)):
            raise RuntimeError(f"mode {mode}, {entries} entries: {' and '.join(observers)} make different tables")
    return {name: times[1:] for name, times in seconds.items()}


def measure(packets: int, runs: int) -> list[dict[str, Any]]:
    """Return a row for each kind of keys, size and mode."""
    rng = np.random.default_rng(1)
    keys = {"zipf": zipf_keys(packets, rng), "backbone": backbone_keys(packets)}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        observers = {"mozart": Table.observe, "c": compiled(folder)}
        for name, key in keys.items():
            taken = crossings(key, rng)
            for size, size_bytes in TABLE_BYTES.items():
                for mode in MODES_MEASURED:
                    seconds = compare(observers, mode, size_bytes // SLOT_BYTES, taken, runs)
                    rate = {who: packets / statistics.median(s) for who, s in seconds.items()}
                    ratios = [c / mine for mine, c in zip(seconds["mozart"], seconds["c"], strict=True)]
                    row: dict[str, Any] = {"keys": name, "table": size, "mode": mode}
                    row |= {"mozart_packets_per_s": rate["mozart"], "c_packets_per_s": rate["c"]}
                    rows.append(row | {"ratio": statistics.median(ratios)})
    return rows


def main() -> int:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=4_000_000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    if not shutil.which(COMPILER[0]):
        print(f"skipped: {COMPILER[0]} is not installed, and it makes the C table to compare with", file=sys.stderr)
        return 0
    rows = measure(args.packets, args.runs)
    if args.json:
        print(json.dumps(rows, indent=1))
        return 0
    print(f"{'keys':<10}{'table':<8}{'mode':<8}{'mozart':>8}{'C':>8}  million packets/s   ratio")
    for row in rows:
        rates = "".join(f"{row[f'{who}_packets_per_s'] / 1e6:8.1f}" for who in ("mozart", "c"))
        print(f"{row['keys']:<10}{row['table']:<8}{row['mode']:<8}{rates}{row['ratio']:>26.2f}")
    print(f"lowest ratio: {min(row['ratio'] for row in rows):.2f} (bar: 0.8)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
