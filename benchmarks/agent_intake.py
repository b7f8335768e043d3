"""The intake part of benchmarks/agent.py: an agent's process and a scapy sniffer on one end of a veth pair.

The traffic is synthetic (traces/synth.py: TCP and UDP, a tenth of its packets begin a flow, two in a hundred longer TCP
connections lose packets), cut to 60-byte frames. `send_pcap.c` sends it over and over from the other end, each time as
new flows. The agent is the real process on a real broker, with one selector (loss) and one monitor (volume) of all
packets; `Intake` gives it what rates it is asked to, one after the other, and says of each what became of the packets.

Sender and agent have a core each: what the kernel does for a packet up to the ring happens on the sender's, so CPU of
the agent is the agent's own. Both have the priority that the agent gives itself.

1. `at_rate`: the same trace from `send_pcap` at a rate, from tcpreplay at top speed, and a part of it to scapy with the
   same selector in plain Python; these take turns, and medians are given.
2. `ramp`: from `send_pcap` at rising rates, until packets are lost or the sender goes no faster.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from mozart.agents.netns import network_of
from mozart.agents.priority import NICE
from mozart.bus import topics
from mozart.bus.access import write_access
from mozart.live.broker import Broker
from mozart.tests.agent_worlds import Side, configuration, monitor, selector, until, veth_pair
from mozart.traces.synth import Synthesizer, SynthOptions

HERE = Path(__file__).resolve().parent
TRACE_PACKETS = 1_000_000
SCAPY_PACKETS, SCAPY_RATE = 5_000, 2_000
TCPREPLAY_ROUNDS, RAMP_S = 3, 3
RAMP = (600_000, 800_000, 1_000_000, 1_100_000, 1_200_000, 1_300_000, 1_400_000, 0)
"""Rates, in packets/s; 0: as fast as they go."""
FRAME_BYTES = 60
BLOCKS, BLOCK_BYTES = 1024, 32 << 10
SENDER_CORE, AGENT_CORE = 0, 1
EVENT = {"threshold": 0.02, "min_packets": 20}
ROUNDS = 1000
EPOCH_NS = 5 * 10**9
"""So that reports are made while packets come."""
START_S, SETTLE_S = 60.0, 5.0
FILE_HEADER = bytes.fromhex("4d3cb2a1 02000400 00000000 00000000 ffff0000 01000000")
RECORD = np.dtype(
    [("seconds", "<u4"), ("ns", "<u4"), ("captured", "<u4"), ("on_wire", "<u4"), ("macs", "V12")]
    + [(name, ">u2") for name in ("ethertype", "version_tos", "ip_bytes", "id", "fragment")]
    + [("ttl", "u1"), ("protocol", "u1"), ("checksum", ">u2"), ("src", ">u4"), ("dst", ">u4")]
    + [("src_port", ">u2"), ("dst_port", ">u2"), ("seq", ">u4"), ("ack", ">u4")]
    + [(name, ">u2") for name in ("offset_flags", "window", "tcp_checksum", "urgent")]
    + [("padding", "V6")]
)
"""A packet of the file: the record's header, Ethernet, IPv4, and 20 bytes of TCP (or UDP and payload)."""
MACS = bytes.fromhex("020000000002020000000001")
"""Not the receiver's: its kernel does nothing more with a packet than the ring needs."""
TCP, UDP = 6, 17


def write_trace(path: Path, packets: int) -> None:
    """Write the first so many TCP and UDP packets of synthetic traffic, as frames of headers only."""
    left = packets
    with path.open("wb") as file:
        file.write(FILE_HEADER)
        for batch in Synthesizer(SynthOptions()):
            b = batch[np.isin(batch.protocol, (TCP, UDP))][:left]
            records, tcp = np.zeros(len(b), RECORD), b.protocol == TCP
            behind = b.ip_bytes.astype(np.int64) - 20
            records["seconds"], records["ns"] = b.time_ns // 10**9, b.time_ns % 10**9
            records["captured"] = records["on_wire"] = FRAME_BYTES
            records["macs"], records["ethertype"], records["version_tos"], records["ttl"] = MACS, 0x0800, 0x4500, 64
            records["ip_bytes"], records["protocol"] = b.ip_bytes, b.protocol
            records["src"], records["dst"] = b.src[:, 1] & 0xFFFFFFFF, b.dst[:, 1] & 0xFFFFFFFF
            records["src_port"], records["dst_port"] = b.src_port, b.dst_port
            records["seq"] = np.where(tcp, b.tcp_seq, behind << 16)
            header_words = (behind - b.payload_bytes) // 4
            records["offset_flags"] = np.where(tcp, header_words << 12 | b.tcp_flags, 0)
            file.write(records.tobytes())
            left -= len(b)
            if left == 0:
                return
    raise AssertionError(f"synthetic traffic ended {left} packets early")


def compiled(folder: Path) -> Path:
    """Compile the sender."""
    program = folder / "send_pcap"
    subprocess.run(["gcc", "-O3", "-o", str(program), str(HERE / "send_pcap.c")], check=True)
    return program


def on_core(core: int) -> Callable[[], None]:
    """Return what gives a process that begins a core, and the agents' priority before whatever else runs here."""

    def settle() -> None:
        os.setsid()
        os.sched_setaffinity(0, {core % (os.cpu_count() or 1)})
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        with suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(NICE))

    return settle


@dataclass(frozen=True)
class Sent:
    """What a sender says that it did."""

    packets: int
    seconds: float
    behind_s: float = 0.0

    @property
    def rate(self) -> float:
        """Packets a second."""
        return self.packets / self.seconds


@dataclass(frozen=True)
class Sender:
    """Sends a trace from one side of the pair."""

    program: Path
    side: Side
    rounds: Iterator[int] = field(default_factory=lambda: count(ROUNDS, ROUNDS))
    """Where each sending begins, so that no two have a flow in common."""

    def send(self, trace: Path, packets: int, rate: float) -> Sent:
        """Send so many packets at a rate, in packets/s; 0: as fast as they go."""
        how = [str(packets), f"{rate:.0f}", str(next(self.rounds))]
        said = self._inside(str(self.program), self.side.interface, str(trace), *how).split()
        return Sent(int(said[0]), float(said[1]), float(said[3]))

    def tcpreplay(self, trace: Path, rounds: int) -> Sent:
        """Send a trace over and over with tcpreplay at top speed, each time as new flows."""
        options = ["-K", "--no-flow-stats", "--topspeed", "--loop", str(rounds), "--unique-ip"]
        said = self._inside("tcpreplay", "-i", self.side.interface, *options, str(trace))
        found = re.search(r"Actual: (\d+) packets .* sent in ([\d.]+) seconds", said)
        assert found, said
        return Sent(int(found[1]), float(found[2]))

    def _inside(self, *command: str) -> str:
        inside = ["ip", "netns", "exec", self.side.netns, *command]
        return subprocess.run(
            inside, check=True, capture_output=True, text=True, preexec_fn=on_core(SENDER_CORE)
        ).stdout  # fmt: skip


@dataclass(frozen=True)
class Taken:
    """What became of the packets that were offered to an agent."""

    offered: int
    arrived: int
    """Counted by the interface of the agent's end."""
    packets: int
    """Counted by the agent, which its selector and monitor had."""
    kernel_drops: int
    ring_losses: int
    seconds: float
    behind_s: float
    """The most that a packet was sent after its time."""
    cpu_s: float
    """User and system time of the agent's process, from before the first packet to the last counted."""
    waited_s: float
    """Time that the agent's first thread, which does the rounds, had work and was given no core."""
    selected: int

    @property
    def lost(self) -> int:
        """Packets that were offered, and that the agent did not take in."""
        return self.offered - self.packets

    def to_dict(self) -> dict[str, Any]:
        """Return it with the rates that follow."""
        rates = {"packets_per_s": self.offered / self.seconds, "cpu_us_per_packet": self.cpu_s / self.packets * 1e6}
        return asdict(self) | {"lost": self.lost} | rates


class Intake:
    """An agent's process with one device, and what it has counted so far."""

    def __init__(self, process: subprocess.Popen[str], client: Any, side: Side, stats: list[dict[str, Any]]) -> None:
        self.process, self.client, self.side, self.stats = process, client, side, stats

    def arrived(self) -> int:
        """Packets that came to the agent's interface."""
        return int(self.side.run("cat", f"/sys/class/net/{self.side.interface}/statistics/rx_packets"))

    def cpu_s(self) -> float:
        """User and system time of the agent's process."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def waited_s(self) -> float:
        """Time that the agent's first thread was ready to run and did not (proc(5), schedstat)."""
        return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[1]) / 1e9

    def counted(self, name: str) -> int:
        """A counter as the agent said it last."""
        return int(self.stats[-1][name])

    def take(self, send: Callable[[], Sent]) -> Taken:
        """Let a sender send, and wait until the agent has counted all that came, or for as long as that may take."""
        names = ("packets", "kernel_drops", "ring_losses", "selected")
        self._fresh()
        before, arrived, cpu_s = {n: self.counted(n) for n in names}, self.arrived(), self.cpu_s()
        waited_s = self.waited_s()
        sent = send()
        waited_s = self.waited_s() - waited_s
        came = self.arrived() - arrived
        used_s = self._settled(before["packets"] + before["kernel_drops"] + came) - cpu_s
        found = {n: self.counted(n) - before[n] for n in names}
        return Taken(
            sent.packets, came, seconds=sent.seconds, behind_s=sent.behind_s, cpu_s=used_s,
            waited_s=waited_s, **found,
        )  # fmt: skip

    def _fresh(self) -> None:
        known = len(self.stats)
        until(lambda: len(self.stats) > known, "the agent to say how it goes", SETTLE_S)

    def _settled(self, packets: int) -> float:
        """Wait until so many packets are counted, or no more come; return the CPU used by then."""
        last = -1
        used_s = self.cpu_s()
        while (now := self.counted("packets") + self.counted("kernel_drops")) < packets and now > last:
            last = now
            used_s = self.cpu_s()
            self._fresh()
        return used_s


@contextmanager
def agent(folder: Path, side: Side) -> Iterator[Intake]:
    """An agent's process on a broker of its own, configured and running."""
    from mozart.bus.client import BusClient

    broker = Broker(folder / "broker", ["h1"], lambda *_, **__: None)
    broker.start()
    states: list[str] = []
    stats: list[dict[str, Any]] = []
    handlers = {
        topics.status("h1"): lambda _, payload: states.append(json.loads(payload)["state"]),
        topics.stats("h1"): lambda _, payload: stats.append(json.loads(payload)),
    }
    client = BusClient(topics.CONTROLLER, broker.access, handlers=handlers)
    process = None
    try:
        client.start()
        client.wait_connected(START_S)
        selects = selector(parameters=EVENT, memory_entries=1 << 16, code=None, tags_forward=False)
        records = monitor(memory_entries=1 << 14, code=None)
        config = configuration(epoch_ns=EPOCH_NS, probability=0.01, selectors=(selects,), monitors=(records,))
        client.publish(topics.config("h1"), config.to_json(), retain=True, wait_s=START_S)
        place = {"device": "h1", "kind": "host", "interface": side.interface, "netns_pid": side.pid}
        (folder / "devices.json").write_text(json.dumps([place | {"blocks": BLOCKS, "block_bytes": BLOCK_BYTES}]))
        access = replace(broker.access.only("h1"), spool=str(folder / "spool"))
        write_access(folder / "agent.json", access)
        command = [sys.executable, "-m", "mozart.agents.agent", "--devices", "devices.json", "--broker", "agent.json"]
        process = subprocess.Popen(command, cwd=folder, text=True, preexec_fn=on_core(AGENT_CORE))
        until(lambda: process.poll() is not None or ("running" in states and stats), "the agent to run", START_S)
        assert process.poll() is None, f"the agent ended with status {process.returncode}"
        yield Intake(process, client, side, stats)
        process.terminate()
        process.wait(START_S)
    finally:
        if process is not None:
            process.kill()
            process.wait()
        client.close()
        broker.stop()


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
        payload = ip.len - 4 * ip.ihl - 4 * tcp.dataofs
        flags = int(tcp.flags)
        end = tcp.seq + payload + (flags & 1) + (flags >> 1 & 1)
        flow = self.flows.setdefault(key, [0, 0, end])
        flow[0] += 1
        if flow[0] > 1 and payload and tcp.seq < flow[2]:
            flow[1] += 1
        flow[2] = max(flow[2], end)
        if flow[0] >= EVENT["min_packets"] and flow[1] >= EVENT["threshold"] * flow[0]:
            self.selected.add(key)


def sniff(sender: Sender, trace: Path, side: Side) -> dict[str, float]:
    """Measure a scapy sniffer at a rate that it can take."""
    import scapy.layers.inet
    import scapy.layers.l2
    from scapy.config import conf
    from scapy.sendrecv import AsyncSniffer

    loss = PlainLoss()
    conf.bufsize = 1 << 26
    with network_of(side.pid):
        socket = conf.L2listen(iface=side.interface)
    socket.LL = scapy.layers.l2.Ether  # it looks the type of the interface up in its own namespace
    sniffer = AsyncSniffer(opened_socket=socket, prn=loss.take, store=False)
    before = resource.getrusage(resource.RUSAGE_SELF)
    sniffer.start()
    sent = sender.send(trace, SCAPY_PACKETS, SCAPY_RATE)
    last = -1
    while loss.packets > last:  # until a tenth of a second brings no more
        last = loss.packets
        time.sleep(0.1)
    after = resource.getrusage(resource.RUSAGE_SELF)
    sniffer.stop()
    socket.close()
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "offered": sent.packets, "packets": loss.packets, "cpu_us_per_packet": used_s / loss.packets * 1e6,
        "packets_per_s_of_cpu": loss.packets / used_s,
    }  # fmt: skip


def missing() -> str:
    """Say what this benchmark lacks here; empty where it can run."""
    if os.geteuid() != 0:
        return "root, to make network namespaces"
    lacking = [program for program in ("gcc", "tcpreplay", "mosquitto", "ip") if shutil.which(program) is None]
    lacking += [name for name in ("scapy", "paho") if importlib.util.find_spec(name) is None]
    return ", ".join(lacking)


def middle(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians of rows of figures; of losses the sum, so that none is passed over."""
    sums = {"lost", "kernel_drops", "ring_losses"}
    return {
        name: sum(row[name] for row in rows) if name in sums else statistics.median([row[name] for row in rows])
        for name, value in rows[0].items()
        if not isinstance(value, str)
    }


def measure(rate: float, seconds: float, runs: int, ramp: bool) -> dict[str, Any]:
    """Offer an agent so many packets a second for so long, so many times; return figures by sender, and of the ramp."""
    taken: dict[str, list[dict[str, Any]]] = {"send_pcap": [], "tcpreplay": [], "scapy": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trace = folder / "flows.pcap"
        write_trace(trace, TRACE_PACKETS)
        program = compiled(folder)
        with veth_pair() as (a, b), agent(folder, b) as intake, veth_pair() as (c, d):
            sender, to_scapy = Sender(program, a), Sender(program, c)
            for _ in range(runs):
                found = intake.take(lambda: sender.send(trace, round(rate * seconds), rate))
                taken["send_pcap"].append(found.to_dict())
                taken["tcpreplay"].append(intake.take(lambda: sender.tcpreplay(trace, TCPREPLAY_ROUNDS)).to_dict())
                taken["scapy"].append(sniff(to_scapy, trace, d))
            steps = list(climb(intake, sender, trace)) if ramp else []
    result: dict[str, Any] = {name: middle(rows) for name, rows in taken.items()}
    mine, scapy = result["send_pcap"], result["scapy"]
    result["ratio"] = mine["packets"] / mine["seconds"] / scapy["packets_per_s_of_cpu"]
    result["cpu_ratio"] = scapy["cpu_us_per_packet"] / mine["cpu_us_per_packet"]
    return result | {"runs": runs, "ramp": steps}


def climb(intake: Intake, sender: Sender, trace: Path) -> Iterator[dict[str, Any]]:
    """Offer more and more, until packets are lost; where some are, once more at that rate, and both tries are shown."""
    for rate in RAMP:
        for _ in range(2):
            found = intake.take(lambda r=rate: sender.send(trace, RAMP_S * (r or RAMP[-2]), r))  # type: ignore[misc]
            yield {"asked_per_s": rate} | found.to_dict()
            if found.lost == 0:
                break
        else:
            return


def text(found: dict[str, Any]) -> str:
    """Say it in words."""
    ring_mib, epoch_s = BLOCKS * BLOCK_BYTES >> 20, EPOCH_NS // 10**9
    lines = [
        f"an agent's process: one selector (loss), one monitor, a ring of {ring_mib} MiB, a report every {epoch_s} s; "
        f"medians of {found['runs']}, losses of all"
    ]
    for name in ("send_pcap", "tcpreplay"):
        f = found[name]
        lines.append(
            f"{name:9} offered {f['packets_per_s']:,.0f} packets/s for {f['seconds']:.1f} s; "
            f"taken in {f['packets']:,.0f} of {f['offered']:,.0f}, "
            f"lost {f['lost']:,} ({f['kernel_drops']:,} as the ring was full); "
            f"{f['cpu_us_per_packet']:.2f} us of the agent's CPU a packet"
        )
    f, mine = found["scapy"], found["send_pcap"]
    lines += [
        f"scapy     {f['cpu_us_per_packet']:.0f} us of CPU each: {f['packets_per_s_of_cpu']:,.0f} a second at most "
        f"(took {f['packets']:,.0f} of {f['offered']:,.0f} of the same trace; the same selector in plain Python)",
        f"ratio     {found['ratio']:,.0f} times the packets/s that scapy takes with a core to itself; "
        f"{found['cpu_ratio']:,.0f} times by CPU a packet; "
        f"offered {mine['packets_per_s'] / found['tcpreplay']['packets_per_s']:.2f} times what tcpreplay does",
    ]
    if steps := found["ramp"]:
        lines.append("rising    " + ", ".join(f"{s['packets_per_s'] / 1e6:.2f} M/s lost {s['lost']:,}" for s in steps))
        most = max((s["packets_per_s"] for s in steps if s["lost"] == 0), default=0.0)
        end = "both tries beyond that lost packets" if steps[-1]["lost"] else "the sender goes no faster"
        lines.append(f"          most without a loss for {RAMP_S} s: {most:,.0f} packets/s; {end}")
        lines += [
            f"          at {s['packets_per_s'] / 1e6:.2f} M/s, with losses, the agent waited {s['waited_s']:.2f} s "
            f"of {s['seconds']:.2f} for its core"
            for s in steps
            if s["lost"]
        ]
    return "\n".join(lines)
