"""Hot loops that work out what crosses each monitor (`crossings.py` says what for).

In two steps, because few crossings are of one monitor: first where each crossing comes from, without a branch, since
whether a packet crosses a monitor cannot be predicted; then the columns. Numbers of packets and routes are unsigned,
which spares numba the test for negative indices.
"""

from __future__ import annotations

import numpy as np

from ..kernels import lean_kernel, mix64

SALT = np.uint64(0xD1342543DE82EF95)
ONE = np.uint64(1)


@lean_kernel
def origins(route, crosses, told_before, origin, told_at):
    """Write the packets that cross a monitor, in order, with room for what it is told; returns how many there are.

    `crosses[r]` is 1 where packets on route r cross it. Told thing j comes before packet `told_before[j]` (which
    never falls); `told_at[j]` gets its place. `origin` needs room for one more than all packets and told things.
    """
    at = np.uint64(0)
    packet = np.uint64(0)
    packets = np.uint64(len(route))
    for j in range(len(told_before) + 1):
        until = np.uint64(told_before[j]) if j < len(told_before) else packets
        for i in range(packet, until):
            origin[at] = np.uint32(i)
            at += np.uint64(crosses[np.uint64(route[i])])
        packet = until
        if j < len(told_before):
            told_at[j] = at
            origin[at] = np.uint32(0)
            at += ONE
    return at


@lean_kernel
def gather(
    origin, route, key, ip_bytes, time_ns, forward, delay, reached, by_route, span, serial, seed,
    out_key, out_kind, out_bytes, out_time_ns, out_luck, out_span,
):  # fmt: skip
    """Write the columns of one monitor's crossings.

    `reached` is 1 where the monitor stands behind the selector, `by_route` or else by crossing: there bit `delay` of a
    packet's `forward` mask says that it comes tagged (TAGGED is 1, PACKET 0). `seed` is the monitor's own.
    """
    first = np.uint64(serial)
    shift = np.uint8(delay)
    for p in range(np.uint64(len(origin))):
        i = np.uint64(origin[p])
        r = np.uint64(route[i])
        out_key[p] = key[i]
        out_kind[p] = forward[i] >> shift & reached[r if by_route else p]
        out_bytes[p] = ip_bytes[i]
        out_time_ns[p] = time_ns[i]
        out_luck[p] = np.uint32(mix64((first + i) * SALT ^ seed) >> np.uint64(32))
        out_span[p] = span[r]


@lean_kernel
def put_told(
    told_at, told_key, told_kind, told_time_ns, told_span, out_key, out_kind, out_bytes, out_time_ns, out_span
):
    """Write what a monitor is told at its places among the crossings."""
    for j in range(len(told_at)):
        p = told_at[j]
        out_key[p] = told_key[j]
        out_kind[p] = told_kind[j]
        out_bytes[p] = 0
        out_time_ns[p] = told_time_ns[j]
        out_span[p] = told_span[j]


@lean_kernel
def cross(
    route, key, ip_bytes, time_ns, forward, delay, serial, seed, crosses, reached, span,
    told_before, told_key, told_kind, told_time_ns, told_span,
    origin, told_at, out_key, out_kind, out_bytes, out_time_ns, out_luck, out_span,
):  # fmt: skip
    """Work out what crosses one monitor: write its columns, which have room for all packets; returns how many."""
    n = origins(route, crosses, told_before, origin, told_at)
    if len(route) > 0:
        gather(
            origin[:n], route, key, ip_bytes, time_ns, forward, delay, reached, True, span, serial, seed,
            out_key, out_kind, out_bytes, out_time_ns, out_luck, out_span,
        )  # fmt: skip
    put_told(told_at, told_key, told_kind, told_time_ns, told_span, out_key, out_kind, out_bytes, out_time_ns, out_span)
    return n


# networks with so many monitors that few packets cross any one of them: each packet is dealt to its monitors, once


@lean_kernel
def count_dealt(route, start, monitor, counts):
    """Add up how many packets cross each monitor; route r crosses `monitor[start[r]:start[r + 1]]`."""
    for i in range(len(route)):
        for j in range(start[route[i]], start[route[i] + 1]):
            counts[monitor[j]] += 1


@lean_kernel
def deal(route, start, monitor, reached, at, packet, tagged):
    """Write the packets that cross each monitor, in order, from `at[m]` on (which moves), and whether tags reach it."""
    for i in range(len(route)):
        for j in range(start[route[i]], start[route[i] + 1]):
            place = at[monitor[j]]
            packet[place] = i
            tagged[place] = reached[j]
            at[monitor[j]] = place + 1


@lean_kernel
def merge(packet, reached, told_before, origin, tagged, told_at):
    """Write the packets dealt to one monitor, with room for what it is told (as `origins`); returns how many."""
    at, taken = 0, 0
    for j in range(len(told_before) + 1):
        until = np.int64(told_before[j]) if j < len(told_before) else np.int64(2**62)
        while taken < len(packet) and packet[taken] < until:
            origin[at] = packet[taken]
            tagged[at] = reached[taken]
            taken += 1
            at += 1
        if j < len(told_before):
            told_at[j] = at
            origin[at] = 0
            tagged[at] = 0
            at += 1
    return at


@lean_kernel
def cross_dealt(
    packet, packet_reached, route, key, ip_bytes, time_ns, forward, delay, serial, seed, span,
    told_before, told_key, told_kind, told_time_ns, told_span,
    origin, tagged, told_at, out_key, out_kind, out_bytes, out_time_ns, out_luck, out_span,
):  # fmt: skip
    """Do what `cross` does, for a monitor to which packets have been dealt."""
    n = merge(packet, packet_reached, told_before, origin, tagged, told_at)
    if len(route) > 0:
        gather(
            origin[:n], route, key, ip_bytes, time_ns, forward, delay, tagged, False, span, serial, seed,
            out_key, out_kind, out_bytes, out_time_ns, out_luck, out_span,
        )  # fmt: skip
    put_told(told_at, told_key, told_kind, told_time_ns, told_span, out_key, out_kind, out_bytes, out_time_ns, out_span)
    return n
