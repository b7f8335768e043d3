"""Hot loop over the packets of a pcap file (`pcap.py` reads the file's header)."""

from __future__ import annotations

from ..kernels import flat, lean_kernel, prefetch
from .bytes_kernels import big32, little32
from .header_kernels import decode_packet

FULL, NEED_MORE, DAMAGED = range(3)
"""Why the loop stopped: no row is free, the next packet is not whole, the next packet's header is
impossible."""
AHEAD_BYTES = 1024
"""How far ahead of its use the file is fetched into the cache: some fifteen short packets."""


@lean_kernel
def decode_pcap(
    data, position, end, big, ns_per_tick, link, most_bytes,
    time_ns, src, dst, src_port, dst_port, protocols, ip_bytes, payload_bytes, tcp_flags, tcp_seq, dscp,
    at, skipped,
):  # fmt: skip
    """Write the packets of data[position:end] to the rows from `at` on, until the rows or the bytes run out.

    `big` says that the most significant byte comes first. A packet that claims more than `most_bytes`
    captured bytes is damage. Returns (why it stopped, position, next free row).
    """
    src, dst = flat(src), flat(dst)
    why = FULL
    rows = len(time_ns)
    while at < rows:
        if position + 16 > end:
            why = NEED_MORE
            break
        seconds, fraction = little32(data, position), little32(data, position + 4)
        captured, on_wire = little32(data, position + 8), little32(data, position + 12)
        if big:
            seconds, fraction = big32(data, position), big32(data, position + 4)
            captured, on_wire = big32(data, position + 8), big32(data, position + 12)
        if captured > most_bytes:
            why = DAMAGED
            break
        start = position + 16
        prefetch(data, position + AHEAD_BYTES)
        following = start + captured
        if following > end:
            why = NEED_MORE
            break
        now_ns = seconds * 1_000_000_000 + fraction * ns_per_tick
        at = decode_packet(
            data, start, following, on_wire, link, now_ns,
            time_ns, src, dst, src_port, dst_port, protocols, ip_bytes, payload_bytes, tcp_flags, tcp_seq,
            dscp, at, skipped,
        )  # fmt: skip
        position = following
    return why, position, at
