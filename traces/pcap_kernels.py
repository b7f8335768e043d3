"""Hot loop over the packets of a pcap file (`pcap.py` reads the file's header)."""

from __future__ import annotations

import numpy as np

from ..kernels import lean_kernel
from .header_kernels import decode_packet

FULL, NEED_MORE, DAMAGED = range(3)
"""Why the loop stopped: no row is free, the next packet is not whole, the next packet's header is
impossible."""


@lean_kernel
def word32(data, at, big):
    """Read four bytes in the byte order of the file."""
    first = np.int64(data[np.uint64(at)])
    second = np.int64(data[np.uint64(at + 1)])
    third = np.int64(data[np.uint64(at + 2)])
    fourth = np.int64(data[np.uint64(at + 3)])
    if big:
        return first << 24 | second << 16 | third << 8 | fourth
    return fourth << 24 | third << 16 | second << 8 | first


@lean_kernel
def decode_pcap(
    data, position, end, big, ns_per_tick, link, most_bytes,
    time_ns, src, dst, src_port, dst_port, protocols, ip_bytes, payload_bytes, tcp_flags, tcp_seq, dscp,
    at, latest_ns, skipped,
):  # fmt: skip
    """Write the packets of data[position:end] to the rows from `at` on, until the rows or the bytes run out.

    `big` says that the most significant byte comes first. A packet that claims more than `most_bytes`
    captured bytes is damage. Returns (why it stopped, position, next free row, latest time, whether a time
    fell below an earlier one).
    """
    falls = False
    why = FULL
    rows = len(time_ns)
    while at < rows:
        if position + 16 > end:
            why = NEED_MORE
            break
        captured = word32(data, position + 8, big)
        if captured > most_bytes:
            why = DAMAGED
            break
        start = position + 16
        following = start + captured
        if following > end:
            why = NEED_MORE
            break
        now_ns = word32(data, position, big) * 1_000_000_000 + word32(data, position + 4, big) * ns_per_tick
        on_wire = word32(data, position + 12, big)
        at = decode_packet(
            data, start, following, on_wire, link, now_ns,
            time_ns, src, dst, src_port, dst_port, protocols, ip_bytes, payload_bytes, tcp_flags, tcp_seq,
            dscp, at, skipped,
        )  # fmt: skip
        if now_ns < latest_ns:
            falls = True
        else:
            latest_ns = now_ns
        position = following
    return why, position, at, latest_ns, falls
