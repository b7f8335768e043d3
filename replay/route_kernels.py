"""Hot loops that send packets over routes (`routes.py` says what for)."""

from __future__ import annotations

import numpy as np

from ..kernels import lean_kernel, mix64
from ..traces.site_kernels import below

PATH_SALT = np.uint64(0xE7037ED1A0B428DB)


@lean_kernel
def path_between(a, b, addresses, ports, protocol, first, count, outside):
    """Return the path of a flow from host a to host b: one of those of equal cost, the same one for its answers.

    `addresses` (two words) and `ports` are those of source and destination, joined by exclusive or.
    `first[a, b]` and `count[a, b]` are the paths from a to b; `outside` is the route of packets that do not enter the
    network, because their two ends are the same host or one of them has none (-1).
    """
    if a < 0 or b < 0 or a == b:
        return np.int32(outside)
    header = np.uint64(ports) << np.uint64(8) | np.uint64(protocol)
    choice = addresses[0] * PATH_SALT + addresses[1] ^ header * PATH_SALT
    return np.int32(first[a, b] + below(choice, count[a, b]))


@lean_kernel
def find_selectors(route, where_of, reverse_where_of, where, reverse_where):
    """Write the selector that each packet crosses, and that which selects for its reverse flow, by its route."""
    for i in range(np.uint64(len(route))):
        r = np.uint64(route[i])
        where[i] = where_of[r]
        reverse_where[i] = reverse_where_of[r]


@lean_kernel
def drop(route, serial, seed, hop_start, hop_chance, cut, round_trip_ns, time_ns, noticed_ns):
    """Drop packets on links: a dropped packet's route becomes the part of it that it crossed.

    Route r's links are `hop_start[r]` to `hop_start[r + 1]`; link j drops a packet with probability `hop_chance[j]`
    and `cut[j]` is the route up to it. Writes the time at which the sender learns of a drop, or -1; returns the
    number of drops.
    """
    drops = 0
    for i in range(len(route)):
        noticed_ns[i] = -1
        r = route[i]
        if r + 1 >= len(hop_start):  # outside
            continue
        for j in range(hop_start[r], hop_start[r + 1]):
            if hop_chance[j] > 0.0:
                draw = mix64(mix64(np.uint64(serial + i) ^ seed) + np.uint64(j - hop_start[r]) * PATH_SALT)
                if np.float64(draw >> np.uint64(11)) < hop_chance[j] * 9007199254740992.0:
                    route[i] = cut[j]
                    noticed_ns[i] = time_ns[i] + round_trip_ns[r]
                    drops += 1
                    break
    return drops


@lean_kernel
def add_up(start, links, value, sums):
    """Write the sum of the values of each path's links, added in order; links[i] is -1 behind the last device."""
    for p in range(len(sums)):
        total = 0.0
        for i in range(start[p], start[p + 1]):
            if links[i] >= 0:
                total += value[links[i]]
        sums[p] = total
