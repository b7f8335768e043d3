"""Every benchmark, one after the other; see each file for what it measures and against whom.

usage: python benchmarks/all.py [--quick]      (make bench ARGS=--quick)
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BENCHMARKS = {
    "reader.py": ["--packets", "1000000", "--runs", "1"],
    "sample_and_hold.py": [],
    "replay.py": ["--packets", "2000000", "--runs", "1"],
    "quality.py": ["--packets", "1000000"],
    "agent.py": ["--seconds", "2", "--runs", "1", "--no-ramp", "--selections", "100", "--over", "3"],
    "event_to_tag.py": ["--selections", "100", "--seconds", "5"],
    "placement.py": ["--quick"],
}
"""Each benchmark, with what makes it quick."""
MUCH_STOLEN = 0.02
"""Share of the processor's time from which on it is said: figures of two threads suffer more than those of one."""


def main() -> int:
    """Run them all; the exit status counts those that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small inputs and single runs: do they work at all")
    args = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"load of the machine before: {load:.2f} on {os.cpu_count()} cores")
    if load > 0.5:
        print("the machine is busy: ratios still mean something, rates do not")
    failed = 0
    for name, quick in BENCHMARKS.items():
        print(f"\n== {name}", flush=True)
        before = cpu_times()
        failed += subprocess.run([sys.executable, str(HERE / name), *(quick if args.quick else [])]).returncode != 0
        stolen, busy = (after - earlier for after, earlier in zip(cpu_times(), before, strict=True))
        if stolen > MUCH_STOLEN * busy:
            print(f"of {busy:.0f} s of processor that this wanted, the machine gave {stolen:.0f} s to others")
    return failed


def cpu_times() -> tuple[float, float]:
    """Return (seconds that others took from this virtual machine, seconds that it wanted), of all cores.

    proc(5), /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal, in ticks.
    """
    ticks = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _, _, irq, softirq, steal = (value / os.sysconf("SC_CLK_TCK") for value in ticks)
    return steal, user + nice + system + irq + softirq + steal


if __name__ == "__main__":
    sys.exit(main())
