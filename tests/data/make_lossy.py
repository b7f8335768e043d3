"""Make lossy.pcap.gz anew: real TCP and UDP between two network namespaces, where nftables drops packets of one port.

usage: python tests/data/make_lossy.py [FOLDER], as root, with iproute2, nftables and tshark. Times and sequence
numbers differ each time, and so does what is lost; lossy.json has the counts of the capture beside it. README.md says
what it holds.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from mozart.tests.agent_worlds import run, until, veth_pair

SENDER = "10.23.{}.1"
RECEIVER = "10.23.0.2"
LAST = b"the last of all packets"
SITES, LOSSY_PORT, CLEAN_PORT, FLOWS, BYTES = 8, 8001, 8002, 20, 90_000
RULES = f"""
table netdev lossy {{
    counter lost {{ }}
    chain in {{
        type filter hook ingress device "DEVICE" priority 0;
        tcp dport {LOSSY_PORT} meta length > 200 numgen random mod 100 < 6 counter name lost drop
    }}
}}
"""
SERVER = f"""
import socket, threading
def take(end):
    while end.recv(65536): pass
    end.close()
def serve(port):
    server = socket.create_server(("{RECEIVER}", port), backlog=64)
    while True: threading.Thread(target=take, args=(server.accept()[0],), daemon=True).start()
for port in ({LOSSY_PORT}, {CLEAN_PORT}): threading.Thread(target=serve, args=(port,), daemon=True).start()
datagrams = socket.socket(type=socket.SOCK_DGRAM); datagrams.bind(("{RECEIVER}", 53))
print("ready", flush=True)
while True: datagrams.sendto(*datagrams.recvfrom(2048))
"""
CLIENT = f"""
import socket
def at(i): return ("10.23.%d.1" % (1 + i % {SITES}), 0)
for i in range({FLOWS}):
    for port in ({LOSSY_PORT}, {CLEAN_PORT}):
        with socket.create_connection(("{RECEIVER}", port), source_address=at(i)) as end:
            end.sendall(bytes({BYTES}))
            end.shutdown(socket.SHUT_WR)
            end.recv(1)
    with socket.socket(type=socket.SOCK_DGRAM) as end:
        end.bind(at(i)); end.settimeout(5)
        for _ in range(5): end.sendto(bytes(64), ("{RECEIVER}", 53)); end.recv(2048)
with socket.socket(type=socket.SOCK_DGRAM) as end: end.sendto({LAST!r}, ("{RECEIVER}", 53))
"""


def main() -> None:
    """Send, capture at the sender, and write the capture and what is known of it."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    with tempfile.TemporaryDirectory() as name, veth_pair() as (sender, receiver):
        raw = Path(name) / "lossy.pcap"
        for site in range(1, SITES + 1):
            sender.run("ip", "address", "add", f"{SENDER.format(site)}/16", "dev", sender.interface)
        receiver.run("ip", "address", "add", f"{RECEIVER}/16", "dev", receiver.interface)
        rules = Path(name) / "rules"
        rules.write_text(RULES.replace("DEVICE", receiver.interface))
        receiver.run("nft", "-f", str(rules))
        inside = ["ip", "netns", "exec"]
        server = subprocess.Popen([*inside, receiver.netns, sys.executable, "-c", SERVER], stdout=subprocess.PIPE)
        assert server.stdout is not None and server.stdout.readline()
        capture = ["dumpcap", "-q", "-P", "-s", "96", "-i", sender.interface, "-w", str(raw)]
        listener = subprocess.Popen([*inside, sender.netns, *capture], stderr=subprocess.PIPE)
        until(lambda: raw.exists() and raw.stat().st_size > 0, "dumpcap to open its file")
        sender.run(sys.executable, "-c", CLIENT)
        until(lambda: LAST in raw.read_bytes(), "the last packet to be captured")
        listener.terminate()
        listener.wait()
        server.kill()
        server.wait()
        lost = json.loads(receiver.run("nft", "-j", "list", "counters"))["nftables"][-1]["counter"]["packets"]
        counts = {"packets": count(raw, "ip"), "not_ip": count(raw, "not ip"), "flows": flows(raw), "lost": lost}
        (folder / "lossy.pcap.gz").write_bytes(gzip.compress(raw.read_bytes(), 9, mtime=0))
    (folder / "lossy.json").write_text(json.dumps(counts, indent=2) + "\n")
    print(counts)


def count(path: Path, condition: str) -> int:
    """Count the packets that tshark displays under a condition."""
    return len(run("tshark", "-r", str(path), "-Y", condition).splitlines())


def flows(path: Path) -> int:
    """Count the distinct addresses, ports and protocols of IP packets, one direction each, as tshark reads them."""
    names = ("ip.src", "ip.dst", "ip.proto", "tcp.srcport", "tcp.dstport", "udp.srcport", "udp.dstport")
    fields = [part for name in names for part in ("-e", name)]
    lines = run("tshark", "-r", str(path), "-Y", "ip", "-T", "fields", *fields).splitlines()
    return len(set(lines))


if __name__ == "__main__":
    main()
