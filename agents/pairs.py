"""Pairs: which two sites a packet goes between, as a number, and what is told of a pair ('h1>h5') as a column.

Pair (a, b) of the hosts number a and b has the number a x hosts + b. The last number, `none`, is that of all packets
that do not enter the network: both ends at one site, or an end at no site.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from ..bus.config import DeviceConfig
from ..errors import BusError
from ..traces.packets import PacketBatch
from ..traces.sites import PrefixSites
from .pair_kernels import concerned, pairs_by_hash


class Pairs:
    """The pairs of a network's hosts."""

    def __init__(self, config: DeviceConfig) -> None:
        """Take the hosts and how addresses belong to them; raises BusError for a map that does not exist."""
        if config.map not in ("hash", "prefix"):
            raise BusError(f"{config.device}: no map {config.map!r} of addresses to hosts; there are hash and prefix")
        self.hosts = config.hosts
        self.none = len(config.hosts) ** 2
        self._number = {host: i for i, host in enumerate(config.hosts)}
        self._prefixes = PrefixSites(config.hosts, config.prefixes) if config.map == "prefix" else None

    def write(self, batch: PacketBatch, pair: NDArray[np.int32]) -> None:
        """Write the pair of each packet."""
        if self._prefixes is None:
            pairs_by_hash(batch.src, batch.dst, len(self.hosts), pair)
            return
        a, b = self._prefixes.hosts_of(batch)
        pair[:] = np.where((a < 0) | (b < 0) | (a == b), self.none, a * len(self.hosts) + b)

    def concerned(self, pair: NDArray[np.int32], concerns: NDArray[np.uint64]) -> int:
        """Return the bits that a column by pair number has for any of some packets."""
        return int(concerned(pair, concerns))

    def number(self, pair: str) -> int:
        """Return the number of a pair; raises BusError for one that is not of this network."""
        source, _, destination = pair.partition(">")
        try:
            return self._number[source] * len(self.hosts) + self._number[destination]
        except KeyError:
            raise BusError(f"no pair {pair!r} among the hosts {', '.join(self.hosts)}") from None

    def name(self, pair: int) -> str:
        """Return the name of a pair by its number."""
        source, destination = divmod(pair, len(self.hosts))
        return f"{self.hosts[source]}>{self.hosts[destination]}"

    def mark(self, pairs: Iterable[str], of: int = 1, column: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Return a column by pair number that has the bits `of` where the pair is named, added to `column`."""
        marked = np.zeros(self.none + 1, np.uint8) if column is None else column
        for pair in pairs:
            marked[self.number(pair)] |= of
        return marked

    def values(self, given: Mapping[str, int]) -> NDArray[np.uint8]:
        """Return a column by pair number with the values given, 255 at most, else 0."""
        column = np.zeros(self.none + 1, np.uint8)
        for pair, value in given.items():
            column[self.number(pair)] = min(value, 255)
        return column

    def reversed(self, column: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a column by pair number as the packets in the opposite direction have it."""
        hosts = len(self.hosts)
        turned = column.copy()
        turned[: self.none] = column[: self.none].reshape(hosts, hosts).T.reshape(-1)
        return turned
