"""What a host and a port are called on a live network: MAC addresses, interface names.

A host stands for a site, and its MAC address says which: packets keep the IP addresses of the trace. Interfaces are
named as Mininet names them, in the order of the topology's links: h1-eth0 at a host, s3-eth1, s3-eth2 ... at a switch.
"""

from __future__ import annotations

from .topology import Topology

MAX_HOST = 0xFFFF


def host_mac(host: str) -> str:
    """Return the MAC address of host hN: 02:00:00:00:HH:LL, N in the last two bytes.

    Raises ValueError for what is no host's name, or beyond h65535.
    """
    number = int(host[1:]) if host[:1] == "h" and host[1:].isdecimal() else 0
    if not 0 < number <= MAX_HOST:
        raise ValueError(f"{host!r} is no host with a MAC address; hosts are h1 to h{MAX_HOST}")
    return f"02:00:00:00:{number >> 8:02x}:{number & 0xFF:02x}"


def interfaces(topology: Topology) -> dict[str, dict[str, str]]:
    """Return the name of the interface by device and neighbour: {'s3': {'s1': 's3-eth1', ...}, 'h1': ...}."""
    found: dict[str, dict[str, str]] = {device: {} for device in topology.devices}
    hosts = set(topology.hosts)
    for link in topology.links:
        for device, neighbour in ((link.a, link.b), (link.b, link.a)):
            number = len(found[device]) + (device not in hosts)
            found[device][neighbour] = f"{device}-eth{number}"
    return found


def measure_port(switch: str) -> str:
    """Return the name of a switch's internal port that carries copies of the packets to be measured."""
    return f"{switch}-mon"
