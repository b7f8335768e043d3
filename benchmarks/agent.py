"""Agents on a real interface: how fast one takes packets in, beside scapy, and how soon a selected flow is tagged.

1. An agent with the loss selector and a monitor takes packets off a veth pair as fast as tcpreplay sends them.
2. A scapy sniffer with the same selector, in plain Python, does so with fewer of them. CPU per packet is user and
   system time of the receiving process; the rate that it allows is one second over it, on one core.
3. Flows that complete the loss event and keep sending, one packet a millisecond: from the packet that completes it to
   the flow's first tagged packet, at a host (nftables) and at a switch (Open vSwitch in user space).

Needs root, tcpreplay and scapy, for the switch Open vSwitch; says so where one is missing.

usage: python benchmarks/agent.py [--packets N] [--selections N] [--seconds S] [--json]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import resource
import shutil
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from mozart.agents.device import Device
from mozart.agents.observed import read
from mozart.agents.places import Place
from mozart.agents.warm_up import warm_up
from mozart.tests.agent_worlds import (
    OVS_CTL,
    MemoryLink,
    Side,
    bridge,
    configuration,
    lossy_flows,
    monitor,
    selector,
    veth_pair,
)  # fmt: skip
from mozart.traces.keys import flow_keys

TRACE_PACKETS = 200_000
SCAPY_PACKETS = 10_000
SCAPY_EVENT = {"threshold": 0.02, "min_packets": 20}
BLOCKS, BLOCK_BYTES = 1024, 32 << 10


def missing() -> str:
    """Say what this benchmark lacks here; empty where it can run."""
    if os.geteuid() != 0:
        return "root, to make network namespaces"
    lacking = [program for program in ("tcpreplay", "ip", "nft") if shutil.which(program) is None]
    lacking += [] if importlib.util.find_spec("scapy") else ["scapy"]
    return ", ".join(lacking)


def cpu_s() -> float:
    """Return user and system time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Sender(threading.Thread):
    """Sends a trace with tcpreplay; `rate` is what that says of itself afterwards, in packets/s."""

    def __init__(self, side: Side, trace: Path, *options: str) -> None:
        super().__init__()
        self.side, self.trace, self.options, self.rate = side, trace, options, 0.0
        self.start()

    def run(self) -> None:
        """Send it."""
        said = self.side.replay(self.trace, "-K", "--no-flow-stats", *self.options)
        self.rate = float(re.findall(r"([\d.]+) pps", said)[0])


def work(device: Device, sender: Sender) -> None:
    """Let a device work as the agent's loop does, until the sender has ended and the ring is empty."""
    pause_s = 0.0
    while sender.is_alive() or device.ring.ready:
        time.sleep(pause_s)
        begun = time.perf_counter()
        device.work(time.time_ns())
        pause_s = 0.0 if device.ring.backlog() > 0.25 else min(max(time.perf_counter() - begun, 0.001), 0.004)


def take_in(packets: int, folder: Path) -> dict[str, float]:
    """Measure an agent that takes packets in at full speed."""
    trace = folder / "flows.pcap"
    lossy_flows(trace, TRACE_PACKETS // 20, 1000, 20, 50_000)
    with veth_pair() as (a, b):
        link = MemoryLink()
        device = Device(Place("h1", "host", b.interface, b.pid, blocks=BLOCKS, block_bytes=BLOCK_BYTES), link)
        selects = selector(parameters=SCAPY_EVENT, memory_entries=1 << 16, code=None, tags_forward=False)
        records = monitor(memory_entries=1 << 14)
        link.incoming.append(configuration(probability=0.01, selectors=(selects,), monitors=(records,)))
        device.work(time.time_ns())
        before = cpu_s()
        sender = Sender(a, trace, "--topspeed", "--loop", str(-(-packets // TRACE_PACKETS)))
        work(device, sender)
        used_s = cpu_s() - before
        device.close(time.time_ns())
    taken, drops = link.total("packets"), link.total("kernel_drops")
    return {
        "packets": taken, "drops": drops, "packets_per_s": sender.rate, "cpu_us_per_packet": used_s / taken * 1e6,
        "packets_per_s_of_cpu": taken / used_s,
    }  # fmt: skip


class PlainLoss:
    """The loss selector in plain Python, for scapy's packets."""

    def __init__(self) -> None:
        self.flows: dict[tuple[Any, ...], list[int]] = {}
        self.selected: set[tuple[Any, ...]] = set()
        self.packets = 0

    def take(self, packet: Any) -> None:
        """Count a packet, as selectors/loss.py does."""
        self.packets += 1
        ip, tcp = packet.getlayer("IP"), packet.getlayer("TCP")
        if ip is None or tcp is None:
            return
        key = ip.src, ip.dst, tcp.sport, tcp.dport
        flow = self.flows.setdefault(key, [0, 0, tcp.seq])
        flow[0] += 1
        if flow[0] > 1 and tcp.seq < flow[2]:
            flow[1] += 1
        flow[2] = max(flow[2], tcp.seq + len(tcp.payload))
        if flow[0] >= SCAPY_EVENT["min_packets"] and flow[1] >= SCAPY_EVENT["threshold"] * flow[0]:
            self.selected.add(key)


def sniff(folder: Path, packets: int) -> dict[str, float]:
    """Measure a scapy sniffer."""
    import scapy.layers.inet
    import scapy.layers.l2
    from mozart.agents.netns import network_of
    from scapy.config import conf
    from scapy.sendrecv import AsyncSniffer

    trace = folder / "few.pcap"
    lossy_flows(trace, packets // 20, 1000, 20, 50_000)
    loss = PlainLoss()
    with veth_pair() as (a, b):
        conf.bufsize = 1 << 26
        with network_of(b.pid):
            socket = conf.L2listen(iface=b.interface)
        socket.LL = scapy.layers.l2.Ether  # it looks the type of the interface up in its own namespace
        sniffer = AsyncSniffer(opened_socket=socket, prn=loss.take, store=False)
        before = cpu_s()
        sniffer.start()
        sender = Sender(a, trace, "--pps", "2000")
        sender.join()
        last = -1
        while loss.packets > last:  # until a tenth of a second brings no more
            last = loss.packets
            time.sleep(0.1)
        used_s = cpu_s() - before
        sniffer.stop()
        socket.close()
    return {
        "packets": loss.packets, "packets_per_s": sender.rate,
        "cpu_us_per_packet": used_s / loss.packets * 1e6, "packets_per_s_of_cpu": loss.packets / used_s,
    }  # fmt: skip


def tag_delay(where: str, selections: int, seconds: float, folder: Path) -> dict[str, float]:
    """Measure the time from the event to the first tagged packet, at a 'host' or a 'switch'."""
    trace = folder / "lossy.pcap"
    # of four sites, every fourth flow begins and ends at one and is not watched
    lossy_flows(trace, selections * 4 // 3, round(seconds * 1e9 / (selections * 4 / 3)), 60, 1_000_000)
    link = MemoryLink()
    with ExitStack() as undo:
        crossed = undo.enter_context(bridge()) if where == "switch" else None
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
    first = dict(
        zip(reversed(flow_keys(tagged, "five-tuple").tolist()), reversed(tagged.time_ns.tolist()), strict=True)
    )
    events = zip(
        link.column("lossy/selector/flow").tolist(), link.column("lossy/selector/time_ns").tolist(), strict=True
    )
    delays_ms = [(first[flow] - time_ns) / 1e6 for flow, time_ns in events if flow in first]
    p50, p90, p99 = np.percentile(delays_ms, (50, 90, 99))
    drops = link.total("kernel_drops")
    return {
        "selected": link.total("selected"), "tagged": len(delays_ms), "p50_ms": float(p50), "p90_ms": float(p90),
        "p99_ms": float(p99), "drops": drops,
    }  # fmt: skip


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=10_000_000, help="packets that the agent takes in")
    parser.add_argument("--selections", type=int, default=1000, help="flows to be selected at host and switch")
    parser.add_argument("--seconds", type=float, default=30.0, help="time over which they begin")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if lacks := missing():
        print(f"skipped: needs {lacks}")
        return 0
    os.setpriority(os.PRIO_PROCESS, 0, -10)  # as the agent's process has it
    warm_up()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found: dict[str, Any] = {"load": os.getloadavg()[0]}
        found["agent"], found["scapy"] = take_in(args.packets, folder), sniff(folder, SCAPY_PACKETS)
        found["ratio"] = found["scapy"]["cpu_us_per_packet"] / found["agent"]["cpu_us_per_packet"]
        found["host"] = tag_delay("host", args.selections, args.seconds, folder)
        if OVS_CTL.exists():
            found["switch"] = tag_delay("switch", args.selections, args.seconds, folder)
    print(json.dumps(found) if args.json else text(found))
    return 0


def text(found: dict[str, Any]) -> str:
    """Say it in words."""
    lines = [f"load of the machine before: {found['load']:.2f}"]
    for name in ("agent", "scapy"):
        f = found[name]
        lines.append(
            f"{name:6} {f['packets']:>10,} packets at {f['packets_per_s']:>9,.0f}/s, {f.get('drops', 0)} dropped; "
            f"{f['cpu_us_per_packet']:.2f} us of CPU a packet: {f['packets_per_s_of_cpu']:,.0f}/s on a core"
        )
    lines.append(f"ratio  {found['ratio']:.0f} (CPU per packet)")
    for where in ("host", "switch"):
        if f := found.get(where):
            lines.append(
                f"{where:6} event to first tagged packet: p50 {f['p50_ms']:.2f} ms, p90 {f['p90_ms']:.2f} ms, "
                f"p99 {f['p99_ms']:.2f} ms ({f['tagged']} of {f['selected']} selections, {f['drops']} packets dropped)"
            )
        else:
            lines.append(f"{where:6} skipped: Open vSwitch is not installed")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
