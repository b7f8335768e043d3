"""Hot loop of the loss event (`loss.py` has the numbered rules)."""

from __future__ import annotations

import numpy as np

from ..kernels import kernel

TCP = 6
FIN, SYN = np.uint32(1), np.uint32(2)


@kernel
def retransmissions(
    row, fresh, lost, protocol, tcp_seq, tcp_flags, payload_bytes,
    packets, retransmitted, highest_end, threshold, min_packets, true,
):  # fmt: skip
    """Set `true[i]` where the loss event is true at sighting i."""
    for i in range(len(row)):
        r = row[i]
        if r < 0:
            continue
        if fresh[i]:
            packets[r] = 0
            retransmitted[r] = 0
        if lost[i]:
            retransmitted[r] += 1  # rule 2
        else:
            packets[r] += 1
            if protocol[i] == TCP:
                flags = np.uint32(tcp_flags[i])
                extra = (flags & FIN) + ((flags & SYN) >> np.uint32(1))
                end = np.uint32(tcp_seq[i] + payload_bytes[i] + extra)
                if packets[r] == 1:
                    highest_end[r] = end
                else:
                    if payload_bytes[i] and np.int32(np.uint32(tcp_seq[i] - highest_end[r])) < 0:
                        retransmitted[r] += 1  # rule 1
                    if np.int32(np.uint32(end - highest_end[r])) > 0:
                        highest_end[r] = end
        true[i] = packets[r] >= min_packets and retransmitted[r] >= threshold * packets[r]  # rule 3
