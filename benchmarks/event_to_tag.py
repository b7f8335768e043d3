"""From an event to the tag: how soon the flow that completed an event is tagged, on a whole live network.

A network in Mininet on Open vSwitch, agents in their two processes, a real broker, as `mozart live` has them. Each flow
completes the loss event with its third packet and goes on sending, one packet a millisecond. It is selected twice: at
its host, which tags by nftables, and at its first switch, which tags by a flow entry. Measured from the time of the
packet that completes the event, as the capture ring of the selecting device has it, to that of the first packet of the
flow that the ring sees tagged: as it leaves the host, as it passes the switch. `in force` is when the agent had the
kernel's or the switch's word that the tag is there. A line of four sites shows what a device does; B4, whose twelve
switches in user space and twenty-four agents fill two processors, what remains of it when the machine is full.

Needs root and all that a live run needs; says so where something is missing.

usage: python benchmarks/event_to_tag.py [--selections N] [--seconds S] [--rate N]
                                         [--topology NAME] [--json]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from mozart.live.evaluate import Evaluator
from mozart.live.latencies import event_to_tag, quantiles
from mozart.live.run import Options, Run
from mozart.tests.tag_worlds import TASKS, steady_flows, tagging_spec
from mozart.topologies.catalogue import load

PROGRAMS = ("ovs-vsctl", "mosquitto", "tcpreplay", "nft", "mnexec")
TOPOLOGIES: dict[str, dict[str, Any]] = {"line": {"name": "line", "n": 4}, "b4": {"name": "b4"}}
GAP_MS = 1
PATIENCE_S = 240.0


def missing() -> str:
    """Say what this benchmark lacks here; empty where it can run."""
    if os.geteuid() != 0:
        return "root, to make a network"
    lacking = [program for program in PROGRAMS if shutil.which(program) is None]
    return ", ".join(lacking + [m for m in ("mininet", "paho") if importlib.util.find_spec(m) is None])


def measure(topology: dict[str, Any], selections: int, seconds: float, rate_pps: float, folder: Path) -> dict[str, Any]:
    """Run the network, and return by where the selector stands: the times, and of how many selections."""
    name, options = topology["name"], {key: value for key, value in topology.items() if key != "name"}
    sites = len(load(name, **options).hosts)
    more = sites / (sites - 1)  # flows that begin and end at one site are not sent
    flows = round(selections * more * 1.03)
    packets = max(round(rate_pps * seconds / flows * more), 20)
    steady_flows(folder / "flows.pcap", flows, seconds, packets, GAP_MS * 1_000_000)
    run = Run(
        tagging_spec(folder / "flows.pcap", **topology),
        Options(speed=1.0, patience_s=PATIENCE_S),
        folder / "run",
        say=lambda text: None,
    )
    with run:
        run.play()
        run.finish()
        plan = run.plan
    evaluator = Evaluator(plan, run.folder)
    evaluation = evaluator.evaluate()
    found: dict[str, Any] = {
        "packets_sent": evaluation.packets["sent"], "packets_of_a_flow": packets,
        "faults": [fault.text for fault in run.faults],
        "lost_by_agents": sum(sum(counts.get(n, 0) for n in LOSSES) for counts in evaluation.drops.values()),
    }  # fmt: skip
    for task in TASKS:
        times, in_force = [], []
        for (name, device), made in evaluator.selections.items():
            if name == task:
                (config,) = [s for s in plan.devices[device].selectors if s.task == task]
                times += event_to_tag(config, device, made, evaluator.observations)[:, 0].tolist()
                in_force += [s.installed_ns - s.time_ns for s in made if s.installed_ns >= 0]
        tagged = [taken for taken in times if taken >= 0]
        found[task] = {"selections": len(times), **quantiles(tagged), "in_force": quantiles(in_force)}
    return found


LOSSES = ("kernel_drops", "ring_losses")


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--selections", type=int, default=1000, help="at hosts, and as many at switches")
    parser.add_argument("--seconds", type=float, default=30.0, help="time over which the flows begin")
    parser.add_argument("--rate", type=float, default=3000.0, help="packets a second of all flows together")
    parser.add_argument("--topology", choices=TOPOLOGIES, help="one of the two networks (default: both)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if lacks := missing():
        print(f"skipped: needs {lacks}")
        return 0
    found = {}
    for topology in [args.topology] if args.topology else TOPOLOGIES:
        before = os.getloadavg()[0]
        with tempfile.TemporaryDirectory() as name:
            measured = measure(TOPOLOGIES[topology], args.selections, args.seconds, args.rate, Path(name))
        found[topology] = {"load": before, **measured}
        if not args.json:
            print(f"{topology}\n{text(found[topology])}", flush=True)
    if args.json:
        print(json.dumps(found))
    return 0


def text(found: dict[str, Any]) -> str:
    """Say it in words."""
    lines = [
        f"load of the machine before: {found['load']:.2f}",
        f"{found['packets_sent']:,} packets sent, {found['lost_by_agents']} lost by capture rings; each flow sends "
        f"{found['packets_of_a_flow']}, one every {GAP_MS} ms",
    ]
    for task in TASKS:
        f = found[task]
        lines.append(
            f"{task:11} event to first tagged packet: p50 {f['p50']:.2f} ms, p99 {f['p99']:.2f} ms ({f['count']} of "
            f"{f['selections']} selections); in force: p50 {f['in_force']['p50']:.2f} ms, p99 "
            f"{f['in_force']['p99']:.2f} ms"
        )
    return "\n".join(lines + found["faults"])


if __name__ == "__main__":
    raise SystemExit(main())
