"""What every device saw of a run, and which packets those were: the exact truth that a run is judged by.

A packet keeps its headers on its way, so it is known again by them: by the hash of all its columns but its time and
DSCP, and by being the n-th such packet that the device saw. The n-th is also the n-th that was sent, as long as no
earlier one of exactly the same headers was lost; then its time of sending is off by the gap between the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..agents.observed import SUFFIX, read
from ..agents.pairs import Pairs
from ..bus.config import DeviceConfig
from ..traces.keys import FlowHash
from ..traces.packets import PacketBatch
from ..traces.writer import PcapWriter

ODD = np.uint64(0x9E3779B97F4A7C15)
NOT_SENT = -1


@dataclass(frozen=True)
class Seen:
    """The packets that one device saw during the run, in order."""

    device: str
    packets: PacketBatch
    outgoing: NDArray[np.bool_]
    """The device, a host, sent them."""
    pair: NDArray[np.int32]
    """Number of the pair of sites (agents/pairs.py)."""
    serial: NDArray[np.int64]
    """Number of each packet among all that were sent, or -1."""
    sent_ns: NDArray[np.int64]
    """When it was sent; where that is not known, when the device saw it."""
    flow_hash: FlowHash

    def keys(self, kind: str, reverse: bool = False) -> NDArray[np.uint64]:
        """Return the key of each packet's flow."""
        return self.flow_hash.keys(self.packets, kind, reverse)


class Observations:
    """The observations of all devices of a run."""

    def __init__(self, folder: str | Path, devices: Mapping[str, DeviceConfig]) -> None:
        """Read the files of those devices that have one; packets before the first epoch or after the end are left out.

        `devices` is what each was told to do.
        """
        self.devices = devices
        self.missing: list[str] = []
        """Devices without a file: they saw nothing, or their agent never ran."""
        any_device = next(iter(devices.values()))
        self.pairs, self.flow_hash = Pairs(any_device), FlowHash(bytes.fromhex(any_device.flow_secret))
        plain = {}
        for device, config in devices.items():
            path = Path(folder) / f"{device}{SUFFIX}"
            if path.exists():
                plain[device] = _in_time(*read(path), config)
            else:
                self.missing.append(device)
        self.sent = self._sent(plain)
        self.seen = {device: self._seen(device, *found) for device, found in plain.items()}

    def _sent(self, plain: Mapping[str, tuple[PacketBatch, NDArray[np.bool_]]]) -> PacketBatch:
        """Return all packets that hosts sent, in order of time."""
        parts = [packets[np.flatnonzero(outgoing)] for packets, outgoing in plain.values()]
        joined = [np.concatenate(columns) for columns in zip(*(p.columns() for p in parts), strict=True)]
        if not joined:
            return PacketBatch.empty(0)
        order = np.argsort(joined[0], kind="stable")
        return PacketBatch(*(column[order] for column in joined))

    @cached_property
    def _sent_names(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Names of the sent packets in order of name, and their numbers."""
        names = names_of(self.sent, self.flow_hash)
        order = np.argsort(names, kind="stable")
        return names[order], order

    def _seen(self, device: str, packets: PacketBatch, outgoing: NDArray[np.bool_]) -> Seen:
        pair = np.empty(len(packets), np.int32)
        self.pairs.write(packets, pair)
        serial = np.full(len(packets), NOT_SENT, np.int64)
        known, numbers = self._sent_names
        # a host sees twice what it sends to itself by way of nobody: never; so both directions are counted apart
        for some in (np.flatnonzero(outgoing), np.flatnonzero(~outgoing)):
            if len(some) and len(known):
                names = names_of(packets[some], self.flow_hash)
                at = np.minimum(np.searchsorted(known, names), len(known) - 1)
                serial[some] = np.where(known[at] == names, numbers[at], NOT_SENT)
        sent_ns = packets.time_ns.copy()
        sent_ns[serial != NOT_SENT] = self.sent.time_ns[serial[serial != NOT_SENT]]
        return Seen(device, packets, outgoing, pair, serial, sent_ns, self.flow_hash)

    def write_sent(self, path: Path, without_dscp: bool, span: tuple[int, int]) -> int:
        """Write the packets sent in [begin, end) as a capture; returns how many.

        With `without_dscp` tags do not stay on them.
        """
        begin, end = np.searchsorted(self.sent.time_ns, span)
        packets = self.sent[begin:end]
        if without_dscp:
            packets = replace(packets, dscp=np.zeros_like(packets.dscp))
        with PcapWriter(path) as writer:
            writer.write(packets)
        return len(packets)

    def watched(self, device: str, pairs: Iterable[str]) -> NDArray[np.bool_]:
        """Return which of a device's packets belong to one of some pairs of hosts."""
        return self.pairs.mark(pairs)[self.seen[device].pair] > 0


def _in_time(
    packets: PacketBatch, outgoing: NDArray[np.uint8], config: DeviceConfig
) -> tuple[PacketBatch, NDArray[np.bool_]]:
    """Leave out what was seen before the first epoch or after the end."""
    inside = packets.time_ns >= config.epoch_start_ns
    if config.end_ns is not None:
        inside &= packets.time_ns < config.end_ns
    return packets[inside], outgoing[inside] > 0


def names_of(packets: PacketBatch, flow_hash: FlowHash) -> NDArray[np.uint64]:
    """Return a number for each packet by which it is known at every device: its headers, and which of such it is."""
    name = kinds_of(packets, flow_hash)
    with np.errstate(over="ignore"):
        order = np.argsort(name, kind="stable")
        ranked = name[order]
        first = np.concatenate([[True], ranked[1:] != ranked[:-1]]) if len(name) else np.zeros(0, np.bool_)
        begin = np.flatnonzero(first)
        count = np.empty(len(name), np.uint64)
        count[order] = np.arange(len(name)) - begin[np.cumsum(first) - 1] if len(name) else 0
        return mixed(name + count * ODD)


def kinds_of(packets: PacketBatch, flow_hash: FlowHash) -> NDArray[np.uint64]:
    """Return a number for each packet that those with the same headers share, whatever their time and DSCP."""
    with np.errstate(over="ignore"):
        name = flow_hash.keys(packets, "five-tuple")
        for column in (packets.ip_bytes, packets.payload_bytes, packets.tcp_flags, packets.tcp_seq):
            name = mixed(name ^ column.astype(np.uint64))
    return name


def mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64 bits (the finaliser of splitmix64)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
