"""How much processor time a row of flows takes: a replay that writes flows.parquet against the same one without.

One task, one mode, 65,536 entries a monitor. The task selects nearly every flow, at B4's source hosts, so that a short
trace has rows by the hundred thousand. Two figures, over the rows: the processor time that threads spend in what logs
selections, makes rows and writes them (the least of all runs is held against a bar); and the least processor time of a
replay with rows less the least of one without, which on a busy machine is a difference of two large numbers. Runs take
turns, in processes of their own with kernels compiled.

usage: python benchmarks/flows.py [--packets 3000000] [--runs 5] [--json]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

BAR_US = 1.5
"""Most processor time that a row may take."""
ENTRIES = 65_536
WORKER = """
import json, resource, sys, time
from mozart.replay import task_replay
from mozart.replay.flow_rows import EpochRows
from mozart.replay.flows import FlowWriter
from mozart.replay.run import replay
from mozart.replay.selection_log import SelectionLog
spent = []
def timed(function):
    def run(*given, **options):
        begin_s = time.thread_time()
        try:
            return function(*given, **options)
        finally:
            spent.append(time.thread_time() - begin_s)
    return run
for kind, names in ((SelectionLog, ("add", "end_epoch", "end")), (EpochRows, ("__init__", "table")),
                    (FlowWriter, ("add", "finish")), (task_replay, ("gathered",))):
    for name in names:
        setattr(kind, name, timed(getattr(kind, name)))
spec, warm, trace, options = json.loads(sys.argv[1])
replay(spec, trace=warm, **options)  # compiles, or loads what was compiled
spent.clear()
before = resource.getrusage(resource.RUSAGE_SELF)
result = replay(spec, trace=trace, **options)
after = resource.getrusage(resource.RUSAGE_SELF)
cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps([result.trace["packets"], result.rows[0]["selected_flows"], len(result.flows), cpu_s, sum(spent)]))
"""
SPEC = {
    "topology": {"name": "b4"},
    "sampling": {"epoch_s": 30},
    "tasks": [
        {
            "name": "all-flows",
            "selector": {"event": "elephant", "threshold_mbps": 0.0001, "at": "source-host"},
            "monitor": {"measure": "volume", "at": "path-switches"},
        }
    ],
}


class Run(NamedTuple):
    """One replay, in a process of its own."""

    packets: int
    selected_flows: int
    rows: int
    cpu_s: float
    rows_cpu_s: float
    """Of it, what the rows took."""


def run(warm: Path, trace: Path, **options: Any) -> Run:
    """Replay a trace once."""
    given = json.dumps([SPEC, str(warm), str(trace), {"mode": "mozart", "memory": ENTRIES, **options}])
    done = subprocess.run([sys.executable, "-c", WORKER, given], stdout=subprocess.PIPE, text=True, check=True)
    return Run(*json.loads(done.stdout))


def make_trace(packets: int, path: Path) -> None:
    """Write a synthetic backbone trace of about so many packets."""
    from mozart.traces.synth import Synthesizer
    from mozart.traces.synth_options import SynthOptions
    from mozart.traces.writer import PcapWriter

    with PcapWriter(path) as writer:
        for batch in Synthesizer(SynthOptions(duration_s=packets / 430_000, packets_per_s=430_000)):
            writer.write(batch)


def measure(packets: int, runs: int, folder: Path) -> dict[str, Any]:
    """Take turns; returns what was found."""
    warm, trace, written = folder / "warm.pcap", folder / "trace.pcap", str(folder / "flows.parquet")
    make_trace(100_000, warm)
    make_trace(packets, trace)
    without, selected = [], []
    for _ in range(runs):
        without.append(run(warm, trace, flows=False))
        selected.append(run(warm, trace, flows=written))
    return {
        "packets": without[0].packets,
        "runs": runs,
        "selected_flows": without[0].selected_flows,
        "rows": selected[0].rows,
        "file_bytes_per_row": Path(written).stat().st_size / selected[0].rows,
        "cpu_us_per_row": min(run.rows_cpu_s for run in selected) / selected[0].rows * 1e6,
        "cpu_us_per_row_by_difference": difference(without, selected) / selected[0].rows * 1e6,
        "bar_us": BAR_US,
        "started": time.strftime("%Y-%m-%d %H:%M"),
    }


def difference(without: list[Run], rows: list[Run]) -> float:
    """Return the least processor time of the runs with rows, less the least of those without."""
    return min(run.cpu_s for run in rows) - min(run.cpu_s for run in without)


def main() -> int:
    """Measure and show; exit status 1 above the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=3_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(args.packets, args.runs, Path(folder))
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        for name, value in found.items():
            print(f"{name.replace('_', ' '):40} {f'{value:,.2f}' if isinstance(value, float) else value}")
    if found["cpu_us_per_row"] > BAR_US:
        print(f"a row took {found['cpu_us_per_row']:.2f} us of processor, more than {BAR_US}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
