"""Traffic of a live run: the packets of a task file, split by source host, and played by a tcpreplay in each host.

1. Each packet belongs to the hosts that stand for its two addresses, as in a replay (traces/sites.py). Packets of a
   site to itself and of no site are left out and counted.
2. Times are stretched so that the mean rate of all hosts together stays at or below what the network carries, or by
   the factor that the user gives.
3. Every host gets a file of frames (frames.py) and plays it in its namespace; all start together.

A trace is read twice: once to know its rate. What a host really sent is for its agent to observe.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LiveError, SpecError
from ..tasks import Spec
from ..topologies.topology import Topology
from ..traces.formats import open_trace
from ..traces.packets import PacketBatch
from ..traces.silences import Silences, silence_line
from ..traces.sites import NO_HOST, HashSites, PrefixSites
from ..traces.synth import Synthesizer, SynthOptions
from .frames import MARKER_NS, FrameWriter
from .network import MTU, Network
from .processes import Process, Recorder
from .waiting import until

RATE_PPS = 10_000.0
"""Packets a second, of all hosts together, that an emulated network carries without loss on two cores."""
LEAD_NS = 500_000_000
"""From the marker to the first packet: by then all senders run."""
PUNCTUAL = 'chrt -f -p 1 $$ 2>/dev/null; exec tcpreplay "$@"'
"""tcpreplay sleeps from packet to packet (its other timer keeps a core busy for each host) and does not make up for
waking late. As a real-time process, where that is allowed, it wakes 12 us late instead of 70."""


@dataclass(slots=True)
class Traffic:
    """What there is to be sent, by host, and what was left out."""

    files: dict[str, Path]
    packets: dict[str, int]
    speed: float
    """How many times faster than in the trace."""
    duration_s: float
    """From the first packet to the last."""
    bytes: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    """Packets left out, by reason."""
    cut: int = 0
    """Packets longer than the MTU, sent with that length."""
    vlan_tagged: int = 0
    """Packets of the trace with a VLAN tag, which are sent without."""
    silences: dict[str, Any] = field(default_factory=dict)
    """Long silences of the whole trace (traces/silences.py)."""

    @property
    def total(self) -> int:
        """Packets of all hosts."""
        return sum(self.packets.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return {**asdict(self), "files": {host: str(path) for host, path in self.files.items()}, "total": self.total}


def split(
    spec: Spec,
    topology: Topology,
    folder: Path,
    *,
    rate_pps: float = RATE_PPS,
    speed: float | None = None,
    duration_s: float | None = None,
) -> Traffic:
    """Write a file of frames for each host that sends, into `folder`.

    `speed` (times faster than recorded) stands in for the task file's and for the limit `rate_pps`; packets after
    `duration_s` of the run are left out. Raises SpecError where there is no traffic, TraceError as the reader does.
    """
    _refuse_numbers(rate_pps, speed, duration_s)
    if spec.traffic.trace == ("-",):
        raise SpecError("a live run reads its trace twice, so standard input cannot be one: name a file")
    sites = sites_of(spec, topology)
    silences = Silences()
    first_ns, last_ns, routed = _survey(spec, sites, silences)
    if not routed:
        raise SpecError("the traffic has no packet from one host of the topology to another; nothing would be sent")
    mean_pps = routed / max((last_ns - first_ns) / 1e9, 1e-9)
    chosen = speed if speed is not None else min(spec.traffic.speed, rate_pps / mean_pps)
    end_ns = last_ns + 1 if duration_s is None else min(last_ns + 1, first_ns + round(duration_s * 1e9 * chosen))
    folder.mkdir(parents=True, exist_ok=True)
    writers: dict[str, FrameWriter] = {}
    traffic = Traffic({}, {}, chosen, 0.0, silences=silences.to_dict())
    try:
        _write(spec, topology, sites, (first_ns, end_ns), traffic, folder, writers)
    finally:
        for writer in writers.values():
            writer.close()
    traffic.packets = {host: writer.packets for host, writer in writers.items()}
    traffic.skipped["impossible"] = sum(writer.impossible for writer in writers.values())
    return traffic


def left_out(traffic: Mapping[str, Any]) -> list[str]:
    """Say what a run's traffic (`Traffic.to_dict`) lacks of what was to be played, a line each; none where nothing."""
    reasons = [f"{reason.replace('_', ' ')} {count:,}" for reason, count in traffic.get("skipped", {}).items() if count]
    lines = [f"not sent: {', '.join(reasons)}"] if reasons else []
    if traffic.get("cut"):
        lines.append(f"cut to {MTU:,} bytes: {traffic['cut']:,} packets")
    if traffic.get("vlan_tagged"):
        lines.append(f"sent without their VLAN tags: {traffic['vlan_tagged']:,} packets of the trace")
    if traffic.get("silences") and (line := silence_line(traffic["silences"])):
        lines.append(line)
    return lines


def _refuse_numbers(rate_pps: float, speed: float | None, duration_s: float | None) -> None:
    for name, value in (("rate", rate_pps), ("speed", speed), ("duration", duration_s)):
        if value is not None and not 0 < value < float("inf"):
            raise SpecError(f"the {name} of a live run must be above 0, not {value}")


def sites_of(spec: Spec, topology: Topology) -> HashSites | PrefixSites:
    """Return which host stands for an address."""
    if spec.traffic.map == "prefix":
        return PrefixSites(topology.hosts, spec.traffic.prefixes)
    return HashSites(topology.hosts)


@contextmanager
def packets_of(spec: Spec) -> Iterator[Iterable[PacketBatch]]:
    """Open the traffic of a task file; a batch is valid until the next."""
    traffic = spec.traffic
    if traffic.trace is not None:
        with open_trace(traffic.trace) as reader:
            yield reader
    elif traffic.synthetic is not None:
        yield Synthesizer(SynthOptions(name=traffic.synthetic, **{"seed": spec.seed, **traffic.options}))
    else:
        raise SpecError("no traffic: set traffic.trace or traffic.synthetic in the task file")


def _survey(spec: Spec, sites: HashSites | PrefixSites, silences: Silences) -> tuple[int, int, int]:
    """Return (first time, last time, packets from one host to another) of the traffic."""
    first_ns = last_ns = routed = 0
    with packets_of(spec) as batches:
        for batch in batches:
            silences.see(batch.time_ns)
            src, dst = sites.hosts_of(batch)
            enters = np.flatnonzero((src != dst) & (src != NO_HOST) & (dst != NO_HOST))
            if len(enters):
                first_ns = first_ns if routed else int(batch.time_ns[enters[0]])
                last_ns = int(batch.time_ns[enters[-1]])
                routed += len(enters)
    return first_ns, last_ns, routed


def _write(
    spec: Spec,
    topology: Topology,
    sites: HashSites | PrefixSites,
    between_ns: tuple[int, int],
    traffic: Traffic,
    folder: Path,
    writers: dict[str, FrameWriter],
) -> None:
    """Write the packets of [first, end) to the files of their hosts, and count the others."""
    first_ns, end_ns = between_ns
    numbers = np.array([int(host[1:]) for host in topology.hosts])
    counts = np.zeros(3, np.int64)  # same site, no site, after the end
    last_ns = first_ns
    with packets_of(spec) as batches:
        for given in batches:
            late = given.time_ns >= end_ns
            src, dst = sites.hosts_of(given)
            unknown = (src == NO_HOST) | (dst == NO_HOST)
            counts += [int(c.sum()) for c in (~late & ~unknown & (src == dst), ~late & unknown, late)]
            enters = ~late & ~unknown & (src != dst)
            batch, src, dst = given[enters], src[enters], dst[enters]
            if not len(batch):
                continue
            last_ns = int(batch.time_ns[-1])
            batch.time_ns[:] = MARKER_NS + LEAD_NS + ((batch.time_ns - first_ns) / traffic.speed).astype(np.int64)
            traffic.cut += _cut(batch)
            traffic.bytes += int(batch.ip_bytes.sum(dtype=np.int64))
            for number in np.unique(src):
                host, mine = topology.hosts[number], src == number
                if host not in writers:
                    traffic.files[host] = folder / f"{host}.pcap"
                    writers[host] = FrameWriter(traffic.files[host], host)
                writers[host].write(batch[mine], numbers[dst[mine]])
        skipped = dict(getattr(batches, "skipped", {}))
        traffic.vlan_tagged = getattr(batches, "vlan_tagged", 0)
    traffic.duration_s = (last_ns - first_ns) / 1e9 / traffic.speed
    names = ("same_site", "no_site", "after_the_end")
    traffic.skipped = {**skipped, **dict(zip(names, counts.tolist(), strict=True))}


def _cut(batch: PacketBatch) -> int:
    """Shorten packets to the MTU, payload first; returns how many."""
    long = batch.ip_bytes > MTU
    beyond = batch.ip_bytes[long] - np.uint32(MTU)
    batch.payload_bytes[long] -= np.minimum(batch.payload_bytes[long], beyond)
    batch.ip_bytes[long] = MTU
    return int(long.sum())


# playing


@dataclass(frozen=True, slots=True)
class Played:
    """What the tcpreplay of one host says that it did; packets without the marker."""

    packets: int
    failed: int
    seconds: float


class Players:
    """One tcpreplay a host, started together."""

    def __init__(self, network: Network, traffic: Traffic, logs: Path, record: Recorder) -> None:
        self.network, self.traffic, self.logs, self.record = network, traffic, logs, record
        self.processes: dict[str, Process] = {}

    def start(self) -> None:
        """Start all of them; the first packets leave half a second later."""
        for host, file in self.traffic.files.items():
            if host in self.network.host_pids:
                options = ["-i", self.network.host_interface(host), "--timer=nano", "--no-flow-stats", "-q"]
                command = [*self.network.inside(host), "sh", "-c", PUNCTUAL, "sh", *options, str(file)]
                log = self.logs / f"tcpreplay-{host}.log"
                log.unlink(missing_ok=True)
                self.processes[host] = Process(f"tcpreplay of {host}", command, log, self.record)

    def running(self) -> list[str]:
        """Return the hosts that still send."""
        return [host for host, process in self.processes.items() if process.running()]

    def wait(self, deadline_s: float, alive: Callable[[], object] | None = None) -> dict[str, Played]:
        """Wait for all of them to end and return what they did, by host.

        `alive` is called meanwhile. Raises LiveError after the deadline, and where one of them failed, with what it
        said.
        """
        until(lambda: not self.running(), "the senders to end", deadline_s, alive)
        return self.results()

    def results(self) -> dict[str, Played]:
        """Return what those that have ended did."""
        return {host: self._result(process) for host, process in self.processes.items() if not process.running()}

    def _result(self, process: Process) -> Played:
        if process.popen.returncode:
            process.check()
        return parse(process.log.read_text(errors="replace"), process.name)

    def stop(self) -> None:
        """End those that still send."""
        for process in self.processes.values():
            process.stop()


def parse(text: str, name: str = "tcpreplay") -> Played:
    """Read what tcpreplay prints at its end; raises LiveError where that is not there."""
    sent = re.search(r"^Actual: (\d+) packets \(\d+ bytes\) sent in ([\d.]+) seconds", text, re.MULTILINE)
    failed = re.search(r"Failed packets:\s+(\d+)", text)
    if not sent:
        raise LiveError(f"{name} did not say what it sent; it said: {text.strip()[-300:] or 'nothing'}")
    return Played(max(int(sent[1]) - 1, 0), int(failed[1]) if failed else 0, float(sent[2]))


def sent_figures(played: Mapping[str, Played]) -> dict[str, Any]:
    """Return the sums over all hosts."""
    return {
        "packets": sum(each.packets for each in played.values()),
        "failed": sum(each.failed for each in played.values()),
        "seconds": max((each.seconds for each in played.values()), default=0.0),
    }
