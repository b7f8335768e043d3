"""How fast a trace is replayed: mozart against the tight C program that only counts flows, on the same file.

Prints the rate of `mozart replay` with one task in the mode mozart (memory warm, kernels compiled), its ratio to the
C program, its memory at two lengths of trace, and how much longer three tasks in five modes with five memory sizes
take than that. Runs take turns; figures are medians.

usage: python benchmarks/replay.py [--packets 20000000 | --file FILE] [--runs 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MEMORY = ["256", "512", "1024", "2048", "4096"]
WORKER = """
import json, resource, sys
from mozart.replay.run import replay
spec, warm, trace, options = json.loads(sys.argv[1])
replay(spec, trace=[warm], **options)  # compiles, or loads what was compiled
result = replay(spec, trace=trace, **options)
print(json.dumps([result.trace["packets"], result.seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def spec(tasks: int) -> dict[str, Any]:
    """Return a task file with one task or three."""
    made = [
        {
            "name": "lossy-flows",
            "selector": {"event": "loss", "threshold": 0.02, "min_packets": 20, "at": "source-host"},
            "monitor": {"measure": "volume", "at": "path-switches", "memory_entries": 1024},
        },
        {
            "name": "scanners",
            "selector": {"event": "port-scan", "threshold": 10, "at": "egress-switch"},
            "monitor": {"measure": "distinct-destinations", "at": "ingress-switch"},
        },
        {
            "name": "ecmp-elephants",
            "selector": {"event": "elephant", "key": "src+dst", "threshold_mbps": 10, "at": "ecmp-switch"},
            "monitor": {"measure": "volume", "at": "ecmp-peers"},
        },
    ]
    return {"topology": {"name": "b4"}, "sampling": {"epoch_s": 30}, "tasks": made[:tasks]}


def run_replay(tasks: int, warm: Path, traces: list[str], **options: Any) -> tuple[int, float, float]:
    """Replay in a process of its own; returns (packets, seconds, peak MiB)."""
    given = json.dumps([spec(tasks), str(warm), traces, options])
    done = subprocess.run([sys.executable, "-c", WORKER, given], capture_output=True, text=True, check=True)
    packets, seconds, peak = json.loads(done.stdout)
    return packets, seconds, peak


def run_c(program: Path, trace: str) -> float:
    """Count flows in C; returns seconds."""
    done = subprocess.run([str(program), trace], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[3])


def make_trace(packets: int, path: Path) -> None:
    """Write a synthetic backbone trace of about so many packets."""
    from mozart.traces.synth import Synthesizer
    from mozart.traces.synth_options import SynthOptions
    from mozart.traces.writer import PcapWriter

    options = SynthOptions(duration_s=packets / 430_000, packets_per_s=430_000)
    with PcapWriter(path) as writer:
        for batch in Synthesizer(options):
            writer.write(batch)


def measure(trace: str, runs: int, folder: Path) -> dict[str, Any]:
    """Take turns; returns medians and ratios."""
    program = folder / "exact_table"
    subprocess.run(["gcc", "-O3", "-march=native", "-o", program, HERE / "exact_table.c"], check=True)
    warm = folder / "warm.pcap"
    make_trace(100_000, warm)
    one: dict[str, Any] = {"mode": ["mozart"]}
    many: dict[str, Any] = {"memory": [int(m) for m in MEMORY]}
    c_s, one_s, many_s, peak = [], [], [], 0.0
    for _ in range(runs):
        c_s.append(run_c(program, trace))
        packets, seconds, peak = run_replay(1, warm, [trace], **one)
        one_s.append(seconds)
        many_s.append(run_replay(3, warm, [trace], **many)[1])
    twice_peak = run_replay(1, warm, [trace, trace], **one)[2]
    c, single, all_of_it = (statistics.median(x) for x in (c_s, one_s, many_s))
    return {
        "packets": packets,
        "runs": runs,
        "c_million_packets_per_s": packets / c / 1e6,
        "replay_million_packets_per_s": packets / single / 1e6,
        "ratio_to_c": c / single,
        "peak_mib": peak,
        "peak_mib_of_twice_the_trace": twice_peak,
        "three_tasks_five_modes_five_sizes_s": all_of_it,
        "times_one_task_one_mode": all_of_it / single,
        "started": time.strftime("%Y-%m-%d %H:%M"),
    }


def main() -> int:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=20_000_000)
    parser.add_argument("--file", help="an uncompressed little-endian pcap file, instead of a synthetic one")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if shutil.which("gcc") is None:
        print("skipped: gcc is not installed, and the C program is what the replay is compared with")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(args.file or Path(folder) / "trace.pcap")
        if not args.file:
            make_trace(args.packets, trace)
        found = measure(str(trace), args.runs, Path(folder))
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        for name, value in found.items():
            print(f"{name.replace('_', ' '):40} {f'{value:,.2f}' if isinstance(value, float) else value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
