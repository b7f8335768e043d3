"""Hot loop of the loss event (`loss.py` has the numbered rules)."""

from __future__ import annotations

import numpy as np

from ..kernels import lean_kernel, prefetch
from .state_kernels import BLOCK, EIGHT, ONE, SEEN_NS, claim_row, find_way, first_row

TCP = 6
FIN, SYN = np.uint32(1), np.uint32(2)
PACKETS, HIGHEST_END, RETRANSMITTED, STATE_WORDS = 1, 2, 3, 4
"""Words of a state row, beside the time. With four words a row lies within a cache line; each count has one of its own,
so that none carries into another however long a flow lives."""
SIGN = np.uint32(31)


@lean_kernel
def retransmissions(
    key, where, time_ns, lost, protocol, tcp_seq, tcp_flags, payload_bytes,
    fp, state, buckets, ways, counters, threshold, min_packets, work, found, true, value,
):  # fmt: skip
    """Find the row of each sighting's flow (as `state_kernels.locate`), and set `true[i]` where the event is true.

    There `value[i]` is the share retransmitted. Without a branch, but for flows that have no row yet and those for
    which the event is true, which are few: what a packet is cannot be predicted. `work` and `found` are room for a
    block.
    """
    n = np.uint64(len(key))
    least = np.uint64(min_packets)
    begin = np.uint64(0)
    while begin < n:
        end = min(begin + BLOCK, n)
        for i in range(end, min(end + BLOCK, n)):
            prefetch(fp, first_row(key[i], max(where[i], 0), buckets, ways))
        items = np.uint64(0)
        for i in range(begin, end):
            start = first_row(key[i], max(where[i], 0), buckets, ways)
            way = find_way(fp, start, ways, key[i]) & ~EIGHT
            work[items] = i
            found[items] = start + way
            prefetch(state, (start + way) * np.uint64(STATE_WORDS))
            items += np.uint64(where[i] >= 0)
        for item in range(items):
            i, row = work[item], found[item]
            if fp[row] != key[i]:
                start = first_row(key[i], where[i], buckets, ways)
                way = find_way(fp, start, ways, key[i])
                row = start + way
                if way == EIGHT:
                    row = claim_row(fp, state, start, ways, key[i], counters)
                    state[row, PACKETS] = 0
                    state[row, RETRANSMITTED] = 0
            drop = np.uint64(lost[i])  # rule 2
            packets = np.uint64(state[row, PACKETS]) + (ONE - drop)
            tcp = (ONE - drop) & np.uint64(protocol[i] == TCP)
            flags, seq = np.uint32(tcp_flags[i]), np.uint32(tcp_seq[i])
            end_seq = np.uint32(seq + payload_bytes[i] + (flags & FIN) + ((flags & SYN) >> np.uint32(1)))
            highest = np.uint32(state[row, HIGHEST_END])
            first = np.uint64(packets == ONE)
            below = np.uint64(np.uint32(seq - highest) >> SIGN)
            above = np.uint64(np.uint32(highest - end_seq) >> SIGN)
            again = tcp & (ONE - first) & below & np.uint64(payload_bytes[i] != 0)  # rule 1
            retransmitted = np.uint64(state[row, RETRANSMITTED]) + drop + again
            state[row, SEEN_NS] = time_ns[i]
            state[row, PACKETS] = np.int64(packets)
            state[row, RETRANSMITTED] = np.int64(retransmitted)
            state[row, HIGHEST_END] = np.int64(end_seq if tcp & (first | above) else highest)
            lossy = (packets >= least) & (np.int64(retransmitted) >= threshold * np.int64(packets))  # rule 3
            true[i] = lossy
            if lossy:
                value[i] = np.int64(retransmitted) / np.int64(packets)
        begin = end
