"""Hot loop over the packets of a capture ring (`ring.py` says what the ring is)."""

from __future__ import annotations

import numpy as np

from ..kernels import flat, lean_kernel, load_acquire, store_release
from ..traces.bytes_kernels import byte_at, little32
from ..traces.header_kernels import decode_packet
from ..traces.link_kernels import ETHERNET

# where things stand in a packet's header (struct tpacket3_hdr of linux/if_packet.h, a struct sockaddr_ll behind it)
NEXT, SECONDS, NANOSECONDS, CAPTURED, ON_WIRE, MAC, PACKET_TYPE = 0, 4, 8, 12, 16, 24, 58
PACKET_OUTGOING = 4


# and in a block's header (struct tpacket_block_desc), as words of four bytes
STATUS, PACKETS, FIRST = 2, 3, 4
KERNELS, OURS = 0, 1
BLOCK, AT, LEFT, LATEST_NS, CURSOR_WORDS = range(5)
"""What `cursor` holds: number of the block we are at, place of its next packet, packets left in it (-1: not begun),
latest time of all packets so far."""


@lean_kernel
def walk_blocks(
    data, words, block_bytes, cursor, outgoing,
    time_ns, src, dst, src_port, dst_port, protocols, ip_bytes, payload_bytes, tcp_flags, tcp_seq, dscp,
    row, skipped,
):  # fmt: skip
    """Write the packets of the blocks that are ours to the rows from `row` on; return the next row that is free.

    A block whose packets are all taken goes back to the kernel. `words` is `data` as blocks of 32-bit words. `outgoing`
    is set where the device sent the packet. Times never fall: a packet that is earlier than one before it (two
    processors fill one ring) takes that one's time.

    The kernel writes a block's packets, then its status; it may write the block again when we have written its status.
    So the status is read before the packets (acquire) and written after them (release), on ARM too.
    """
    src, dst = flat(src), flat(dst)
    rows = len(time_ns)
    block, at, left, latest_ns = cursor[BLOCK], cursor[AT], cursor[LEFT], cursor[LATEST_NS]
    while row < rows:
        if left < 0:
            if load_acquire(words, block * words.shape[1] + STATUS) & OURS == 0:
                break
            left = np.int64(words[block, PACKETS])
            at = block * block_bytes + np.int64(words[block, FIRST])
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
        if left == 0:
            store_release(words, block * words.shape[1] + STATUS, KERNELS)
            block = (block + 1) % len(words)
            left = -1
    cursor[BLOCK], cursor[AT], cursor[LEFT], cursor[LATEST_NS] = block, at, left, latest_ns
    return row
