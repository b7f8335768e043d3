"""How fast a trace becomes an exact table of its flows: mozart, a tight C program, and other tools, on one
file.

python benchmarks/reader.py [--packets 20000000 | --file FILE] [--runs 3] [--json]

Rates are medians over the runs, which take turns so that a change of the machine's speed meets all alike.
Tools that are much slower get the first packets of the file only (the column says how many), and a tool that
is not installed is skipped with the reason. FILE must be an uncompressed little-endian pcap file.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from mozart.traces.ahead import BUFFERS, ahead
from mozart.traces.flows import FlowTable
from mozart.traces.keys import FlowHash
from mozart.traces.links import link_code
from mozart.traces.packets import BATCH_PACKETS, PacketBatch
from mozart.traces.pcap import FILE_HEADER_BYTES, MAGIC, MOST_CAPTURED_BYTES
from mozart.traces.pcap_kernels import decode_pcap
from mozart.traces.reader import read
from mozart.traces.rows import Rows

HERE = Path(__file__).resolve().parent
FILE_HEADER = bytes.fromhex("4d3cb2a1 02000400 00000000 00000000 ffff0000 01000000")
RECORD = np.dtype(
    [("seconds", "<u4"), ("ns", "<u4"), ("captured", "<u4"), ("on_wire", "<u4"), ("macs", "V12")]
    + [(name, ">u2") for name in ("ethertype", "version_tos", "ip_bytes", "id", "fragment")]
    + [("ttl", "u1"), ("protocol", "u1"), ("checksum", ">u2"), ("src", ">u4"), ("dst", ">u4")]
    + [("src_port", ">u2"), ("dst_port", ">u2"), ("seq", ">u4"), ("ack", ">u4")]
    + [(name, ">u2") for name in ("offset_flags", "window", "tcp_checksum", "urgent")]
)
"""A packet of the benchmark's file: the record's header, Ethernet, IPv4 and 20 bytes of TCP (or UDP and
payload)."""
CHUNK = 1 << 18


@dataclass
class Row:
    """One line of the result."""

    name: str
    packets: int
    seconds: float
    ratio_to: str
    ratio: float = 0.0

    @property
    def million_packets_per_s(self) -> float:
        """Packets a second, in millions."""
        return self.packets / self.seconds / 1e6


def write_trace(path: Path, packets: int, seed: int = 1) -> None:
    """Write Ethernet packets of about `packets` / 13 flows whose lengths have a Pareto tail, mixed at
    random."""
    rng = np.random.default_rng(seed)
    flows = max(packets // 12, 1)
    addresses = rng.integers(1, 2**32 - 1, (2, flows), dtype=np.uint32)
    ports = rng.integers(1024, 65536, (2, flows), dtype=np.uint16)
    udp = rng.random(flows) < 0.2
    share = np.cumsum(rng.pareto(1.2, flows) + 0.5)
    time_ns = 1_600_000_000 * 10**9
    with path.open("wb") as file:
        file.write(FILE_HEADER)
        for begin in range(0, packets, CHUNK):
            count = min(CHUNK, packets - begin)
            flow = np.searchsorted(share, rng.random(count) * share[-1])
            times = time_ns + np.cumsum(rng.integers(100, 4700, count))
            time_ns = int(times[-1])
            records = np.zeros(count, RECORD)
            records["seconds"], records["ns"] = times // 10**9, times % 10**9
            records["ip_bytes"] = rng.choice([40, 52, 576, 1500], count, p=[0.3, 0.1, 0.1, 0.5])
            records["captured"], records["on_wire"] = RECORD.itemsize - 16, records["ip_bytes"] + 14
            records["ethertype"], records["version_tos"], records["ttl"] = 0x0800, 0x4500, 60
            records["src"], records["dst"] = addresses[0, flow], addresses[1, flow]
            records["src_port"], records["dst_port"] = ports[0, flow], ports[1, flow]
            records["protocol"] = np.where(udp[flow], 17, 6)
            records["offset_flags"] = 0x5010
            records["seq"] = np.where(udp[flow], (records["ip_bytes"].astype(np.int64) - 20) << 16, begin)
            file.write(records.tobytes())


def prefix(path: Path, packets: int, folder: Path) -> tuple[Path, int]:
    """Write the first packets of a pcap file to a file of their own; return it and how many it has."""
    data = np.memmap(path, np.uint8, mode="r")
    at, count = FILE_HEADER_BYTES, 0
    while count < packets and at + 16 <= len(data):
        at += 16 + int.from_bytes(data[at + 8 : at + 12].tobytes(), "little")
        count += 1
    out = folder / f"first-{packets}.pcap"
    if not out.exists():
        out.write_bytes(data[:at].tobytes())
    return out, count


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def read_and_count(path: Path) -> FlowTable:
    """Do the whole job with mozart."""
    with read(path, buffers=BUFFERS) as trace:
        return count(ahead(trace))


def count(batches: Iterable[PacketBatch]) -> FlowTable:
    """Do the work of the table's kernels."""
    table = FlowTable(FlowHash.seeded(1))
    for batch in batches:
        table.add(batch)
    return table


def decoded(data: np.ndarray, buffers: int) -> Iterator[PacketBatch]:
    """Do the work of the kernel that decodes, on a pcap file in memory; a batch is valid until as many more came."""
    big, ns_per_tick = MAGIC[data[:4].tobytes()]
    link = link_code(int(data[20]), "the file")
    in_turn = itertools.cycle([Rows(BATCH_PACKETS, 0) for _ in range(buffers)])
    position, filled = FILE_HEADER_BYTES, 1
    while filled:
        rows = next(in_turn)
        _, position, filled = decode_pcap(
            data, position, len(data), big, ns_per_tick, link, False, MOST_CAPTURED_BYTES,
            *rows.columns.columns(), 0, rows.counts,
        )  # fmt: skip
        yield rows.columns[:filled]


def run(command: list[str], folder: Path) -> None:
    """Run a program in a folder, quietly."""
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def nfpcapd(path: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as flows:
        run(["nfpcapd", "-r", str(path), "-w", flows], folder)
        run(["nfdump", "-R", flows, "-A", "srcip,dstip,srcport,dstport,proto", "-q", "-o", "null"], folder)


def argus(path: Path, folder: Path) -> None:
    run(["argus", "-r", str(path), "-w", str(folder / "argus.out")], folder)
    (folder / "argus.out").unlink()


def softflowd(path: Path, folder: Path) -> None:
    files = ["-p", str(folder / "softflowd.pid"), "-c", "none"]
    run(["softflowd", "-r", str(path), "-d", "-n", "127.0.0.1:9", "-m", "1000000", *files], folder)


def dpkt(path: Path, folder: Path) -> None:
    import dpkt  # type: ignore[import-not-found]

    flows: dict[tuple[object, ...], int] = {}
    with path.open("rb") as file:
        for _, data in dpkt.pcap.Reader(file):
            ip = dpkt.ethernet.Ethernet(data).data
            key = ip.src, ip.dst, ip.data.sport, ip.data.dport, ip.p
            flows[key] = flows.get(key, 0) + ip.len


def nfstream(path: Path, folder: Path) -> None:
    import nfstream  # type: ignore[import-not-found]

    for _ in nfstream.NFStreamer(source=str(path)):
        pass


def scapy(path: Path, folder: Path) -> None:
    from scapy.layers.inet import IP
    from scapy.utils import PcapReader

    flows: dict[tuple[object, ...], int] = {}
    with PcapReader(str(path)) as packets:
        for packet in packets:
            ip = packet[IP]
            key = ip.src, ip.dst, getattr(ip.payload, "sport", 0), getattr(ip.payload, "dport", 0), ip.proto
            flows[key] = flows.get(key, 0) + ip.len


PEERS: dict[str, tuple[Callable[[Path, Path], None], int, tuple[str, ...]]] = {
    "nfpcapd + nfdump": (nfpcapd, 5_000_000, ("nfpcapd", "nfdump")),
    "argus": (argus, 5_000_000, ("argus",)),
    "softflowd": (softflowd, 5_000_000, ("softflowd",)),
    "dpkt": (dpkt, 200_000, ()),
    "nfstream": (nfstream, 200_000, ()),
    "scapy": (scapy, 5_000, ()),
}
"""Name: (what runs it, most packets it gets, programs it needs)."""


def against_c(path: Path, folder: Path, runs: int) -> tuple[list[Row], list[str]]:
    """Time C, mozart and mozart's kernels in turns; return their rows, and what was skipped."""
    data = np.fromfile(path, np.uint8)
    works: dict[str, Callable[[], float]] = {
        "mozart: file to table": lambda: timed(lambda: read_and_count(path)),
        "mozart: kernels in turn, file in memory": lambda: timed(lambda: count(decoded(data, 1))),
        "mozart: kernels side by side, as above": lambda: timed(lambda: count(ahead(decoded(data, BUFFERS)))),
    }
    skipped = []
    if shutil.which("gcc"):
        program = folder / "exact_table"
        run(["gcc", "-O3", "-march=native", "-o", str(program), str(HERE / "exact_table.c")], folder)

        def c_seconds() -> float:
            out = subprocess.run([program, path], check=True, capture_output=True, text=True).stdout.split()
            if int(out[1]) != flows or int(out[0]) != packets:
                raise SystemExit(
                    f"the C program counts {out[0]} packets and {out[1]} flows, mozart {packets} and {flows}"
                )
            return float(out[3])

        works = {"C, the practical limit": c_seconds, **works}
    else:
        skipped.append("C: gcc is not installed")
    table = read_and_count(path)
    flows, packets = len(table), int(table.to_columns()["packets"].sum())
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(runs):
        for name, work in works.items():
            seconds[name].append(work())
    rows = [Row(name, packets, statistics.median(values), "C") for name, values in seconds.items()]
    for row in rows:
        row.ratio = rows[0].seconds / row.seconds if skipped == [] else 0.0
    return rows, skipped


def against_decompressor(path: Path, packets: int, folder: Path, runs: int) -> list[Row]:
    """Time the file as .pcap.gz, from file to table, and its decompressor alone."""
    from isal import igzip

    pressed = folder / "trace.pcap.gz"
    with path.open("rb") as plain, igzip.open(pressed, "wb") as out:
        shutil.copyfileobj(plain, out, 1 << 20)
    buffer = bytearray(1 << 17)

    def decompress() -> None:
        with igzip.IGzipFile(str(pressed), "rb") as file:
            while file.readinto(buffer):
                pass

    seconds = [(timed(decompress), timed(lambda: read_and_count(pressed))) for _ in range(runs)]
    alone, ours = (statistics.median(column) for column in zip(*seconds, strict=True))
    pressed.unlink()
    return [
        Row("isal alone, .pcap.gz", packets, alone, "isal", 1.0),
        Row("mozart: .pcap.gz to table", packets, ours, "isal", alone / ours),
    ]


def against_peers(path: Path, folder: Path, runs: int, mozart: Row) -> tuple[list[Row], list[str]]:
    """Time the other tools; the ratio is mozart's rate to theirs."""
    rows, skipped = [], []
    for name, (work, most, programs) in PEERS.items():
        missing = [program for program in programs if shutil.which(program) is None]
        if missing:
            skipped.append(f"{name}: {', '.join(missing)} not installed")
            continue
        short, packets = prefix(path, min(most, mozart.packets), folder)
        try:
            seconds = [timed(lambda work=work, short=short: work(short, folder)) for _ in range(runs)]  # type: ignore[misc]
        except (ImportError, subprocess.CalledProcessError) as error:
            skipped.append(f"{name}: {error}")
            continue
        row = Row(name, packets, statistics.median(seconds), "mozart is faster by")
        row.ratio = mozart.million_packets_per_s / row.million_packets_per_s
        rows.append(row)
    return rows, skipped


def main() -> int:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--packets", type=int, default=20_000_000, help="packets of the file that is made")
    parser.add_argument("--file", type=Path, help="take this pcap file instead")
    parser.add_argument("--runs", type=int, default=3, help="runs whose median is shown")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mozart-bench-") as name:
        folder = Path(name)
        path = arguments.file.resolve() if arguments.file else folder / "trace.pcap"
        if arguments.file is None:
            print(f"writing {arguments.packets:,} packets", file=sys.stderr)
            write_trace(path, arguments.packets)
        rows, skipped = against_c(path, folder, arguments.runs)
        ours = next(row for row in rows if row.name == "mozart: file to table")
        rows += against_decompressor(path, ours.packets, folder, arguments.runs)
        more, missing = against_peers(path, folder, arguments.runs, ours)
    show(rows + more, skipped + missing, arguments.json)
    return 0


def show(rows: list[Row], skipped: list[str], as_json: bool) -> None:
    """Print the rows as a table or as JSON."""
    if as_json:
        made = [asdict(row) | {"million_packets_per_s": row.million_packets_per_s} for row in rows]
        print(json.dumps({"rows": made, "skipped": skipped}, indent=2))
        return
    print(f"{'':40}{'packets':>12}{'seconds':>10}{'M packets/s':>13}{'ratio':>9}  of")
    for row in rows:
        rate = f"{row.million_packets_per_s:.3g}"
        print(f"{row.name:40}{row.packets:>12,}{row.seconds:>10.3f}{rate:>13}{row.ratio:>9.2f}  {row.ratio_to}")
    for line in skipped:
        print(f"skipped: {line}")


if __name__ == "__main__":
    sys.exit(main())
