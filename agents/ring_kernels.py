"""Hot loop over the packets of one block of a capture ring (`ring.py` says what the ring is)."""

from __future__ import annotations

import numpy as np

from ..kernels import lean_kernel
from ..traces.bytes_kernels import little32
from ..traces.header_kernels import ETHERNET, byte_at, decode_packet

# where things stand in a packet's header (struct tpacket3_hdr of linux/if_packet.h, a struct sockaddr_ll behind it)
NEXT, SECONDS, NANOSECONDS, CAPTURED, ON_WIRE, MAC, PACKET_TYPE = 0, 4, 8, 12, 16, 24, 58
PACKET_OUTGOING = 4


@lean_kernel
def walk_block(
    data, at, left, outgoing, latest_ns,
    time_ns, src, dst, src_port, dst_port, protocols, ip_bytes, payload_bytes, tcp_flags, tcp_seq, dscp,
    row, skipped,
):  # fmt: skip
    """Write the packets of a block to the rows from `row` on, `left` of them from data[at:], until no row is free.

    `outgoing` is set where the device sent the packet. Times never fall: a packet that is earlier than `latest_ns` or
    than one before it (two processors fill one ring) takes that one's time. Returns (place of the next packet, packets
    left, next free row, latest time).
    """
    rows = len(time_ns)
    while left > 0 and row < rows:
        now_ns = little32(data, at + SECONDS) * 1_000_000_000 + little32(data, at + NANOSECONDS)
        latest_ns = max(latest_ns, now_ns)
        start = at + (byte_at(data, at + MAC) | byte_at(data, at + MAC + 1) << 8)
        outgoing[row] = np.uint8(byte_at(data, at + PACKET_TYPE) == PACKET_OUTGOING)
        row = decode_packet(
            data, start, start + little32(data, at + CAPTURED), little32(data, at + ON_WIRE), ETHERNET, latest_ns,
            time_ns, src, dst, src_port, dst_port, protocols, ip_bytes, payload_bytes, tcp_flags, tcp_seq, dscp,
            row, skipped,
        )  # fmt: skip
        at += little32(data, at + NEXT)
        left -= 1
    return at, left, row, latest_ns
