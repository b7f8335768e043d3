"""How fast a trace is replayed: mozart against the tight C program that only counts flows, on the same file.

Prints the rate of `mozart replay` with one task in the mode mozart (memory warm, kernels compiled), its ratio to the
C program, its memory at two lengths of trace, and how much longer three tasks in five modes with five memory sizes
take than that. Runs take turns, the C program before and after each replay; figures are medians, and so are the
ratios, each of runs that follow each other. CPU times say more where other programs use the machine: they hold for
the replay alone.

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
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
MEMORY = ["256", "512", "1024", "2048", "4096"]
WORKER = """
import json, resource, sys
from mozart.replay.run import replay
spec, warm, trace, options = json.loads(sys.argv[1])
replay(spec, trace=[warm], **options)  # compiles, or loads what was compiled
before = resource.getrusage(resource.RUSAGE_SELF)
result = replay(spec, trace=trace, **options)
after = resource.getrusage(resource.RUSAGE_SELF)
cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps([result.trace["packets"], result.seconds, cpu_s, after.ru_maxrss / 1024]))
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


class Run(NamedTuple):
    """One replay, in a process of its own."""

    packets: int
    seconds: float
    cpu_s: float
    peak_mib: float


def run_replay(tasks: int, warm: Path, traces: list[str], **options: Any) -> Run:
    """Replay one task or three."""
    given = json.dumps([spec(tasks), str(warm), traces, options])
    done = subprocess.run([sys.executable, "-c", WORKER, given], capture_output=True, text=True, check=True)
    return Run(*json.loads(done.stdout))


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
    run_c(program, trace)  # brings the file into memory
    c_s, single, all_of_it = [], [], []
    for _ in range(runs):
        before_s = run_c(program, trace)
        single.append(run_replay(1, warm, [trace], **one))
        c_s.append((before_s + run_c(program, trace)) / 2)
        all_of_it.append(run_replay(3, warm, [trace], **many))
    twice = run_replay(1, warm, [trace, trace], **one)
    packets = single[0].packets
    return {
        "packets": packets,
        "runs": runs,
        "c_million_packets_per_s": packets / statistics.median(c_s) / 1e6,
        "replay_million_packets_per_s": packets / statistics.median(run.seconds for run in single) / 1e6,
        "replay_cpu_ns_per_packet": statistics.median(run.cpu_s for run in single) / packets * 1e9,
        "ratio_to_c": statistics.median(c / run.seconds for c, run in zip(c_s, single, strict=True)),
        "peak_mib": max(run.peak_mib for run in single),
        "peak_mib_of_twice_the_trace": twice.peak_mib,
        "three_tasks_five_modes_five_sizes_s": statistics.median(run.seconds for run in all_of_it),
        "times_one_task_one_mode": ratio(all_of_it, single, "seconds"),
        "times_one_task_one_mode_in_cpu_time": ratio(all_of_it, single, "cpu_s"),
        "started": time.strftime("%Y-%m-%d %H:%M"),
    }


def ratio(some: list[Run], others: list[Run], figure: str) -> float:
    """Return the median ratio of a figure, run by run."""
    return statistics.median(getattr(a, figure) / getattr(b, figure) for a, b in zip(some, others, strict=True))


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
