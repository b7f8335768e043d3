"""Hot loops of the port-scan event (`port_scan.py` has the numbered rules)."""

from __future__ import annotations

import numpy as np

from ..kernels import lean_kernel

TCP, UDP, SCTP = 6, 17, 132
SYN, SYN_OR_ACK = 2, 18
NO_ATTEMPT, ATTEMPT, DATAGRAM = 0, 1, 2
FLOW_WAYS = 4
IDLE_NS = np.int64(120_000_000_000)
FIRST_DYNAMIC_PORT = 32768


@lean_kernel
def classify(protocol, tcp_flags, src_port, dst_port, where, lost, watched, kind):
    """Write the kind of each packet: an attempt, none, or one of UDP or SCTP; return how many of the last there are."""
    datagrams = 0
    for i in range(len(kind)):
        kind[i] = NO_ATTEMPT
        if not (watched[dst_port[i]] or watched[src_port[i]]) or where[i] < 0 or lost[i]:
            continue
        if protocol[i] == TCP:
            if watched[dst_port[i]] and (tcp_flags[i] & SYN_OR_ACK) == SYN:
                kind[i] = ATTEMPT
        elif (protocol[i] == UDP or protocol[i] == SCTP) and (src_port[i] | dst_port[i]) != 0:
            kind[i] = DATAGRAM
            datagrams += 1
    return datagrams


@lean_kernel
def starting(flow, where, time_ns, src_port, dst_port, watched, flows, seen_ns, region, starts):
    """Write whether each packet of UDP or SCTP starts a flow toward a watched port; remember the flows.

    `flow` is the same for both directions. `flows[b]` holds the flows of one bucket, 0 where free, and `seen_ns` when
    each was last seen; a device has `region` buckets.
    """
    for i in range(len(flow)):
        bucket = np.int64(where[i]) * region + np.int64(
            ((flow[i] >> np.uint64(32)) * np.uint64(region)) >> np.uint64(32)
        )
        place, known = 0, False
        for way in range(FLOW_WAYS):
            if flows[bucket, way] == flow[i]:
                place, known = way, True
                break
            if flows[bucket, place] != 0 and (flows[bucket, way] == 0 or seen_ns[bucket, way] < seen_ns[bucket, place]):
                place = way
        runs = known and time_ns[i] - seen_ns[bucket, place] < IDLE_NS  # rule 2
        answers = src_port[i] < dst_port[i] and src_port[i] < FIRST_DYNAMIC_PORT  # rule 3
        starts[i] = watched[dst_port[i]] and not runs and not answers
        flows[bucket, place] = flow[i]
        seen_ns[bucket, place] = time_ns[i]


@lean_kernel
def distinct_pairs(row, fresh, pair, time_ns, pairs, tried_ns, window_ns, tried):
    """Write how many pairs the source of packet i has tried within the window. 0 in `pairs` is a place not used yet."""
    threshold = pairs.shape[1]
    for i in range(len(row)):
        r = row[i]
        if fresh[i]:
            pairs[r, :] = 0
        this = pair[i] if pair[i] != 0 else np.uint64(1)
        place, oldest, recent, known = -1, 0, 0, False
        for j in range(threshold):
            if pairs[r, j] == 0:
                if place < 0:
                    place = j
                continue
            if pairs[r, j] == this:
                place, known = j, True
            elif time_ns[i] - tried_ns[r, j] < window_ns:
                recent += 1
            if tried_ns[r, j] < tried_ns[r, oldest]:
                oldest = j
        if not known and place < 0:
            # all places are used by others: the pair tried least recently gives way
            recent -= time_ns[i] - tried_ns[r, oldest] < window_ns
            place = oldest
        pairs[r, place] = this
        tried_ns[r, place] = time_ns[i]
        tried[i] = recent + 1
