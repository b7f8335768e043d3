"""Hot loop over the packets of a pcap file (`pcap.py` reads the file's header)."""

from __future__ import annotations

import numpy as np

from ..kernels import flat, lean_kernel, prefetch
from .bytes_kernels import big32, little32
from .header_kernels import decode_packet

FULL, NEED_MORE, DAMAGED, FILE_HEADER = range(4)
"""Why the loop stopped: no row is free, the next packet is not whole, the next packet's header is impossible, or may
be the header of another file."""
AHEAD_BYTES = 1024
"""How far ahead of its use the file is fetched into the cache: some fifteen short packets."""


@lean_kernel
def is_file_magic(word):
    """Say whether four bytes, read as a little-endian number, are those that pcap files begin with."""
    return word == 0xA1B2C3D4 or word == 0xD4C3B2A1 or word == 0xA1B23C4D or word == 0x4D3CB2A1


@lean_kernel
def decode_pcap(
    data, position, end, big, ns_per_tick, link, swapped, most_bytes,
    time_ns, src, dst, src_port, dst_port, protocols, ip_bytes, payload_bytes, tcp_flags, tcp_seq, dscp,
    at, skipped,
):  # fmt: skip
    """Write the packets of data[position:end] to the rows from `at` on, until the rows or the bytes run out.

    `big` says that the most significant byte comes first, `swapped` that the two lengths may stand the other way
    round. A packet that claims more than `most_bytes` captured bytes is damage. Returns (why it stopped, position,
    next free row).
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
        if swapped and captured > on_wire:
            captured, on_wire = on_wire, captured
        if np.uint64(captured - 1) >= np.uint64(most_bytes):  # 0, or more
            if captured != 0:
                why = DAMAGED
                break
            if on_wire == 0 and is_file_magic(little32(data, position)):
                why = FILE_HEADER
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
