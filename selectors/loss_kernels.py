"""Hot loop of the loss event (`loss.py` has the numbered rules)."""

from __future__ import annotations

import numpy as np

from ..kernels import lean_kernel, prefetch

TCP = 6
FIN, SYN = np.uint32(1), np.uint32(2)
PACKETS, RETRANSMITTED, HIGHEST_END = range(3)  # what a row of `flows` holds
LOOKAHEAD = 12


@lean_kernel
def retransmissions(
    row, fresh, lost, protocol, tcp_seq, tcp_flags, payload_bytes, flows, threshold, min_packets, true
):  # fmt: skip
    """Set `true[i]` where the loss event is true at sighting i."""
    n = len(row)
    for i in range(n):
        if i + LOOKAHEAD < n and row[i + LOOKAHEAD] >= 0:
            prefetch(flows, row[i + LOOKAHEAD] * 4)
        r = row[i]
        if r < 0:
            continue
        if fresh[i]:
            flows[r, PACKETS] = 0
            flows[r, RETRANSMITTED] = 0
        if lost[i]:
            flows[r, RETRANSMITTED] += 1  # rule 2
        else:
            flows[r, PACKETS] += 1
            if protocol[i] == TCP:
                flags = np.uint32(tcp_flags[i])
                extra = (flags & FIN) + ((flags & SYN) >> np.uint32(1))
                end = np.uint32(tcp_seq[i] + payload_bytes[i] + extra)
                highest = flows[r, HIGHEST_END]
                if flows[r, PACKETS] == 1:
                    flows[r, HIGHEST_END] = end
                else:
                    if payload_bytes[i] and np.int32(np.uint32(tcp_seq[i] - highest)) < 0:
                        flows[r, RETRANSMITTED] += 1  # rule 1
                    if np.int32(np.uint32(end - highest)) > 0:
                        flows[r, HIGHEST_END] = end
        packets = flows[r, PACKETS]
        true[i] = packets >= min_packets and flows[r, RETRANSMITTED] >= threshold * packets  # rule 3
