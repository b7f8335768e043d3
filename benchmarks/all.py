"""Every benchmark, or those named, one after the other; README.md says what each measures, against whom.

usage: python benchmarks/all.py [NAME ...] [--quick] [--list] [-- OPTIONS]

  make bench ARGS=--list                                  # what there is
  make bench ARGS="reader placement --quick"              # these two, on small inputs
  make bench ARGS="reader -- --packets 5000000 --runs 5"  # one, with options of its own
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: the file NAME.py beside this one."""

    name: str
    measures: str
    peer: str
    needs: str
    lasts: str
    """On two quiet cores, roughly; with `--quick` each is a matter of a minute or two."""
    quick: tuple[str, ...]
    """Its options that make it quick."""


BENCHMARKS = (
    Benchmark("reader", "how fast a trace becomes an exact table of its flows, plain and compressed",
              "a tight C program; nfpcapd with nfdump, softflowd, argus, tshark, dpkt, scapy where installed",
              "gcc for C", "10 minutes", ("--packets", "1000000", "--runs", "1")),
    Benchmark("sample_and_hold", "how fast the table of a monitor takes packets, at three sizes and in three modes",
              "the same table in C, rule for rule", "gcc", "5 minutes", ("--packets", "400000", "--runs", "3")),
    Benchmark("replay", "how fast a trace is replayed, and in how much memory",
              "the C program that only counts flows", "gcc", "10 minutes", ("--packets", "2000000", "--runs", "1")),
    Benchmark("flows", "how much processor time a row of flows takes, made and written as Parquet",
              "the same replay without them, and a bar of 1.5 us", "nothing", "5 minutes",
              ("--packets", "1000000", "--runs", "1")),
    Benchmark("quality", "how many selected flows are missed, and what is captured from before the event",
              "sample and hold alone at its best probability; the floor", "nothing", "20 minutes",
              ("--packets", "1000000")),
    Benchmark("agent", "how many packets/s an agent takes in, and how soon it tags a selected flow",
              "a scapy sniffer with the same selector", "root, gcc, tcpreplay, mosquitto, scapy, Open vSwitch",
              "10 minutes",
              ("--seconds", "2", "--runs", "1", "--no-ramp", "--selections", "100", "--over", "3")),
    Benchmark("event_to_tag", "how soon a selected flow is tagged on a whole live network, four sites and B4",
              "one device alone (agent)", "root, all of a live run", "5 minutes",
              ("--selections", "100", "--seconds", "5")),
    Benchmark("placement", "how many tasks are placed, how soon that is proved, and how soon placed anew",
              "CBC, HiGHS, CP-SAT and greedy on the plain model", "ortools for CP-SAT", "40 minutes", ("--quick",)),
)  # fmt: skip
COLUMNS = ("name", "measures", "against", "needs", "lasts")
MUCH_STOLEN = 0.02
"""Share of the processor's time from which on it is said: figures of two threads suffer more than those of one."""


def main(given: Sequence[str] | None = None) -> int:
    """Run them; exit status 1 where one failed, 2 for a name that is none."""
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; default: all")
    parser.add_argument("--quick", action="store_true", help="small inputs and single runs: do they work at all")
    parser.add_argument("--list", action="store_true", help="say what there is, and leave")
    own, options = apart(list(sys.argv[1:] if given is None else given))
    args = parser.parse_args(own)
    if unknown := [name for name in args.names if name not in names]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(names)}")
    if options and (len(args.names) != 1 or args.quick):
        parser.error("options behind -- are for one benchmark: name it, and leave --quick out")
    if args.list:
        print("\n".join(listed()))
        return 0
    chosen = [benchmark for benchmark in BENCHMARKS if not args.names or benchmark.name in args.names]
    load = os.getloadavg()[0]
    print(f"load of the machine before: {load:.2f} on {os.cpu_count()} cores")
    if load > 0.5:
        print("the machine is busy: ratios still mean something, rates do not")
    failed = [benchmark.name for benchmark in chosen if not run(benchmark, options, args.quick)]
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    return 1 if failed else 0


def apart(given: list[str]) -> tuple[list[str], list[str]]:
    """Return what stands before `--` and what behind it."""
    at = given.index("--") if "--" in given else len(given)
    return given[:at], given[at + 1 :]


def listed() -> list[str]:
    """Say of each benchmark what it measures, against whom, what it needs, and how long it lasts."""
    lines = []
    for each in BENCHMARKS:
        lines += [f"{each.name}: {each.measures}", f"    against {each.peer}; needs {each.needs}; {each.lasts}"]
    return lines


def table() -> list[str]:
    """Return the same as the table of README.md."""
    rows = [(f"`{b.name}`", b.measures, b.peer, b.needs, b.lasts) for b in BENCHMARKS]
    return [f"| {' | '.join(row)} |" for row in (COLUMNS, ("---",) * len(COLUMNS), *rows)]


def run(benchmark: Benchmark, options: list[str], quick: bool) -> bool:
    """Run one, say what it took, and return whether it ended well."""
    print(f"\n== {benchmark.name}: {benchmark.measures}", flush=True)
    before, begin_s = cpu_times(), time.monotonic()
    command = [sys.executable, str(HERE / f"{benchmark.name}.py"), *options, *(benchmark.quick if quick else ())]
    done = subprocess.run(command)
    stolen, busy = (after - earlier for after, earlier in zip(cpu_times(), before, strict=True))
    print(f"({benchmark.name} took {time.monotonic() - begin_s:.0f} s)")
    if stolen > MUCH_STOLEN * busy:
        print(f"of {busy:.0f} s of processor that this wanted, the machine gave {stolen:.0f} s to others")
    return done.returncode == 0


def cpu_times() -> tuple[float, float]:
    """Return (seconds that others took from this virtual machine, seconds that it wanted), of all cores.

    proc(5), /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal, in ticks.
    """
    ticks = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _, _, irq, softirq, steal = (value / os.sysconf("SC_CLK_TCK") for value in ticks)
    return steal, user + nice + system + irq + softirq + steal


if __name__ == "__main__":
    sys.exit(main())
