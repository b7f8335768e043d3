"""Agents on a real interface: how fast one takes packets in, beside scapy, and how soon a selected flow is tagged.

1. An agent's process with the loss selector and a monitor takes packets off a veth pair at a rate, and at rising ones;
   a scapy sniffer with the same selector takes fewer of the same. `agent_intake.py` says how.
2. Flows that complete the loss event and keep sending, one packet a millisecond: from the packet that completes it to
   the flow's first tagged packet, at a host (nftables) and at a switch (Open vSwitch in user space), one device alone.

Needs root, tcpreplay, gcc, mosquitto and scapy, for the switch Open vSwitch; says so where one is missing.

usage: python benchmarks/agent.py [--rate R] [--seconds S] [--runs N] [--no-ramp]
                                   [--selections N] [--over S] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from mozart.agents.device import Device
from mozart.agents.observed import read
from mozart.agents.places import Place
from mozart.agents.priority import NICE, Priority, session_priority, set_session_priority
from mozart.agents.warm_up import warm_up
from mozart.benchmarks import agent_intake
from mozart.live.network import MAX_IDLE_MS, OVS_FOLDER, vsctl
from mozart.live.things import OVS_ROW
from mozart.tests.agent_worlds import (
    MemoryLink,
    Side,
    bridge,
    configuration,
    lossy_flows,
    monitor,
    selector,
    veth_pair,
)  # fmt: skip
from mozart.tests.needs import lacks
from mozart.traces.keys import FlowHash

FLOW_PACKETS, GAP_NS = 150, 1_000_000
"""Of a flow that is to be selected, by its third packet; what holds everything up for 50 ms (a switch's first packets
do) does not outlast it."""
AT_ONE_SITE = 4 / 3
"""Of four sites, every fourth flow begins and ends at one, and is not watched."""


class Sender(threading.Thread):
    """Sends a trace with tcpreplay, at the pace that it was made for."""

    def __init__(self, side: Side, trace: Path) -> None:
        super().__init__()
        self.side, self.trace = side, trace
        self.start()

    def run(self) -> None:
        """Send it."""
        self.side.replay(self.trace, "-K", "--no-flow-stats")


def work(device: Device, sender: Sender) -> None:
    """Let a device work as the agent's loop does, until the sender has ended and the ring is empty."""
    pause_s = 0.0
    with Priority() as priority:
        while sender.is_alive() or device.ring.ready:
            time.sleep(pause_s)
            if pause_s:
                priority.paused()
            begun = time.perf_counter()
            device.work(time.time_ns())
            pause_s = 0.0 if device.ring.backlog() > 0.25 else min(max(time.perf_counter() - begun, 0.001), 0.004)


@contextmanager
def as_in_live_runs() -> Iterator[None]:
    """Have Open vSwitch go first and forget soon, as live/network.py does, unless somebody said how soon."""
    key = "other_config:max-idle"
    number = int((OVS_FOLDER / "ovs-vswitchd.pid").read_text())
    with ExitStack() as undo:
        with suppress(OSError):
            undo.callback(set_session_priority, number, session_priority(number))
            set_session_priority(number, NICE)
        if not vsctl("--if-exists", "get", *OVS_ROW, key).strip():
            undo.callback(vsctl, "remove", *OVS_ROW, "other_config", "max-idle")
            vsctl("set", *OVS_ROW, f"{key}={MAX_IDLE_MS}")
        yield


def tag_delay(where: str, selections: int, seconds: float, folder: Path) -> dict[str, float]:
    """Measure the time from the event to the first tagged packet, at a 'host' or a 'switch'."""
    trace = folder / "lossy.pcap"
    flows = round(selections * AT_ONE_SITE * 1.03)
    lossy_flows(trace, flows, round(seconds * 1e9 / flows), FLOW_PACKETS, GAP_NS)
    link = MemoryLink()
    with ExitStack() as undo:
        crossed = undo.enter_context(bridge()) if where == "switch" else None
        if crossed:
            undo.enter_context(as_in_live_runs())
        source = crossed.left if crossed else undo.enter_context(veth_pair())[0]
        place = Place("h1", "host", source.interface, source.pid)
        if crossed:
            place = Place("s1", "switch", crossed.monitor, None, crossed.name, crossed.management)
        device = Device(place, link)
        observations = str(folder / where)
        config = configuration(
            place.device, selectors=(selector(),), monitors=(monitor(),), observations=observations
        )  # fmt: skip
        link.incoming.append(config)
        device.work(time.time_ns())
        work(device, Sender(source, trace))
        device.close(time.time_ns(), remove_tags=True)
    packets, _ = read(Path(observations) / f"{place.device}.packets")
    tagged = packets[packets.dscp == 1]
    flow, flow_of_tagged = (FlowHash.seeded(1).keys(some, "five-tuple").tolist() for some in (packets, tagged))
    first = dict(zip(reversed(flow_of_tagged), reversed(tagged.time_ns.tolist()), strict=True))
    last = dict(zip(flow, packets.time_ns.tolist(), strict=True))
    names = ("flow", "time_ns", "installed_ns")
    events = list(zip(*(link.column(f"lossy/selector/{name}").tolist() for name in names), strict=True))
    delays_ms = [(first[flow] - time_ns) / 1e6 for flow, time_ns, _ in events if flow in first]
    ended = sum(flow not in first and last[flow] <= installed_ns for flow, _, installed_ns in events)
    p50, p90, p99 = np.percentile(delays_ms, (50, 90, 99))
    drops = link.total("kernel_drops")
    return {
        "selected": link.total("selected"), "tagged": len(delays_ms), "ended": ended, "drops": drops,
        "p50_ms": float(p50), "p90_ms": float(p90), "p99_ms": float(p99),
    }  # fmt: skip


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=1.1e6, help="packets/s that the agent is offered")
    parser.add_argument("--seconds", type=float, default=10.0, help="for how long")
    parser.add_argument("--runs", type=int, default=3, help="how many times")
    parser.add_argument("--no-ramp", action="store_true", help="leave the rising rates out")
    parser.add_argument(
        "--selections", type=int, default=1000, help="flows to be selected at the host, and at the switch"
    )
    parser.add_argument("--over", type=float, default=30.0, help="seconds over which they begin")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if lacks := agent_intake.missing():
        print(f"skipped: needs {lacks}")
        return 0
    found: dict[str, Any] = {"load": os.getloadavg()[0]}
    found["intake"] = agent_intake.measure(args.rate, args.seconds, args.runs, not args.no_ramp)
    if args.selections:
        found |= tag_delays(args.selections, args.over)
    print(json.dumps(found) if args.json else text(found))
    return 0


def tag_delays(selections: int, seconds: float) -> dict[str, Any]:
    """Measure the time from event to tag where it can be measured."""
    warm_up()
    with tempfile.TemporaryDirectory() as name:
        places = [("host", shutil.which("nft")), ("switch", not lacks("ovs"))]
        return {where: tag_delay(where, selections, seconds, Path(name)) if can else None for where, can in places}


def text(found: dict[str, Any]) -> str:
    """Say it in words."""
    lines = [f"load of the machine before: {found['load']:.2f}", agent_intake.text(found["intake"])]
    for where, needs in (("host", "nftables"), ("switch", "Open vSwitch")):
        if f := found.get(where):
            lines.append(
                f"{where:9} event to first tagged packet: p50 {f['p50_ms']:.2f} ms, p90 {f['p90_ms']:.2f} ms, "
                f"p99 {f['p99_ms']:.2f} ms ({f['tagged']} of {f['selected']} selected, {f['ended']} had ended by then, "
                f"{f['drops']} packets dropped)"
            )
        elif where in found:
            lines.append(f"{where:9} skipped: {needs} is not installed")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
