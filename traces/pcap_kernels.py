"""Hot loop that finds the packets in a block of a pcap file (`pcap.py` reads the file's header)."""

from __future__ import annotations

import numpy as np

from ..kernels import inline_kernel, kernel

NEED_MORE, FULL, DAMAGED = range(3)


@inline_kernel
def word32(data, at, swapped):
    """Read four bytes in the byte order of the file."""
    first = np.int64(data[np.uint64(at)])
    second = np.int64(data[np.uint64(at + 1)])
    third = np.int64(data[np.uint64(at + 2)])
    fourth = np.int64(data[np.uint64(at + 3)])
    if swapped:
        return first << 24 | second << 16 | third << 8 | fourth
    return fourth << 24 | third << 16 | second << 8 | first


@kernel
def walk_pcap(data, position, end, swapped, ns_per_tick, most_bytes, time_ns, starts, captured, wire):
    """Write where the packets in data[position:end] stand; return (packets, position behind them, why it
    stopped).

    `swapped` says that the most significant byte comes first. A record that claims more than `most_bytes`
    bytes is damage.
    """
    count = 0
    while count < len(time_ns):
        if position + 16 > end:
            return count, position, NEED_MORE
        length = word32(data, position + 8, swapped)
        if length > most_bytes:
            return count, position, DAMAGED
        following = position + 16 + length
        if following > end:
            return count, position, NEED_MORE
        seconds = word32(data, position, swapped)
        time_ns[count] = seconds * 1_000_000_000 + word32(data, position + 4, swapped) * ns_per_tick
        starts[count] = position + 16
        captured[count] = length
        wire[count] = word32(data, position + 12, swapped)
        position = following
        count += 1
    return count, position, FULL
