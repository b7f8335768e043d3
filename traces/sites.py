"""Sites: which host of the topology stands for an address of the trace.

`hash` spreads addresses evenly; `prefix` takes the host whose longest prefix holds the address. Both give one host
for an address, so a flow and its reverse flow join the same two hosts. Where both ends of a packet fall to the same
host it never enters the network, and where an address has no prefix nobody knows where it enters: such packets are
counted and left out.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import SpecError
from . import site_kernels
from .packets import PacketBatch, address_words

NO_HOST = -1


class Sites:
    """Which host stands for an address."""

    def find(self, address: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Return the number of the host of each address (shape (addresses, 2)), NO_HOST where there is none."""
        raise NotImplementedError

    def hosts_of(self, batch: PacketBatch) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the number of the source's and of the destination's host for each packet, NO_HOST where none."""
        return self.find(batch.src), self.find(batch.dst)


class HashSites(Sites):
    """Spreads addresses over the hosts by a hash of the address."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self.hosts = len(hosts)

    def find(self, address: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Return the number of the host of each address."""
        host = np.empty(len(address), np.int32)
        site_kernels.spread(address, self.hosts, host)
        return host


class PrefixSites(Sites):
    """Finds the host whose longest prefix holds an address."""

    def __init__(self, hosts: Sequence[str], prefixes: Mapping[str, Sequence[str] | str]) -> None:
        """Take the prefixes (CIDR) of each host; raises SpecError for a host or a prefix that does not exist."""
        rows, number = [], {host: i for i, host in enumerate(hosts)}
        for host, given in prefixes.items():
            if host not in number:
                raise SpecError(f"traffic.prefixes names {host}, and the topology has no such host")
            for text in [given] if isinstance(given, str) else given:
                rows.append((*_prefix_words(host, text), number[host]))
        rows.sort(key=lambda row: -row[2])
        self.words = np.array([row[:2] for row in rows], np.uint64).reshape(-1, 2)
        self.length = np.array([row[2] for row in rows], np.int64)
        self.host = np.array([row[3] for row in rows], np.int32)

    def find(self, address: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Return the number of the host of each address, NO_HOST where no prefix holds it."""
        host = np.empty(len(address), np.int32)
        site_kernels.longest_prefix(address, self.words, self.length, self.host, host)
        return host


def _prefix_words(host: str, text: str) -> tuple[int, int, int]:
    """Return (high word, low word, length in 128 bits) of a prefix."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise SpecError(
            f"traffic.prefixes.{host}: {text!r} is no prefix ({error}); write one as 192.0.2.0/24"
        ) from None
    return *address_words(str(network.network_address)), network.prefixlen + (96 if network.version == 4 else 0)
