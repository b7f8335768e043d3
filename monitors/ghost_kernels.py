"""Ghosts: flows without a slot, counted in words that the slots of others do not need.

A tagged flow that was not known before its tag has no past: three words of its slot (packets and bytes before the
event, and when it was sampled) would stand there for nothing. In the mode `mozart` they count another flow, its
*ghost*: one that had to leave the table, or was drawn where no slot was free. A ghost has no record; but when its own
tag comes, it enters the table with its past.

A ghost stands in a slot of its own two buckets. It stays with that slot, whoever moves in there, as long as the words
are spare. The lowest byte of the slot's rank is a hash of the ghost, 0 where there is none, so that a look at the ranks
of a bucket tells of nearly all flows that they are no ghost there.
"""

from __future__ import annotations

import numpy as np

from ..kernels import inline_kernel, kernel
from .bucket_kernels import first_way, ways_alike
from .layout_kernels import (
    BYTES,
    EIGHT,
    FIRST_NS,
    FORGOTTEN,
    GHOSTS,
    KNOWN,
    NOWHERE,
    PACKETS,
    PRE_BYTES,
    PRE_PACKETS,
    SAMPLED_NS,
    SELECTED,
    SPARE,
    first_bucket,
    second_bucket,
)

GHOST, VOLUME, SINCE_NS = PRE_PACKETS, PRE_BYTES, SAMPLED_NS
"""The spare words: the ghost's key, its packets above its bytes, and when it was first counted."""
PACKET_SHIFT, BYTES_MASK = np.uint64(40), np.uint64((1 << 40) - 1)
MOST_PACKETS = 1 << 23
"""A flow of so many packets is no ghost; nor is one whose bytes would not fit below them."""
HOSTING = SELECTED | KNOWN | SPARE
"""What the ranks of slots have in common that have words to spare, and of those that have the same ghost in them."""
ZERO, ONE, TWO, THREE = (np.uint64(i) for i in range(4))
MOST_HOMELESS = 4
"""Ghosts that one insertion turns out at most: one a move, of which there are two, one where the newcomer goes, and the
flow that had to leave."""
HOMELESS = 1 + 3 * MOST_HOMELESS
"""Words of a list of ghosts that look for a slot: how many they are, and three words each."""


@inline_kernel
def volume_of(packets, size):
    """Return packets and bytes as one word."""
    return np.uint64(packets) << PACKET_SHIFT | np.uint64(size)


@inline_kernel
def hash_of_ghost(flow):
    """Return the byte that tells of a ghost, never 0."""
    return max(flow & SPARE, ONE)


@inline_kernel
def ghost_in(rank):
    """Return the hash of the ghost in a slot of this rank, 0 where it has none."""
    return rank & SPARE if rank & (SELECTED | KNOWN) == SELECTED else ZERO


@inline_kernel
def slot_of_way(one, two, way):
    """Return the slot of a way, counted through two buckets."""
    return one + way if way < EIGHT else two + way - EIGHT


@inline_kernel
def find_ghost(rank, stats, one, two, flow):
    """Return the slot of two buckets that has a flow for its ghost, or NOWHERE."""
    wanted = SELECTED | hash_of_ghost(flow)
    alike = ways_alike(rank, one, HOSTING, wanted) | ways_alike(rank, two, HOSTING, wanted) << EIGHT
    slot = NOWHERE
    while alike != ZERO:
        slot = slot_of_way(one, two, first_way(alike))
        if np.uint64(stats[slot * EIGHT + GHOST]) == flow:
            break
        slot = NOWHERE
        alike &= alike - ONE
    return slot


@inline_kernel
def release(rank, counters, slot):
    """Let the ghost of a slot go."""
    rank[slot] &= ~SPARE
    counters[GHOSTS] -= 1


@inline_kernel
def count_ghost(rank, stats, counters, slot, length):
    """Count a packet of the ghost in a slot; let it go where its counts have no room any more."""
    volume = np.uint64(stats[slot * EIGHT + VOLUME])
    full = (volume & BYTES_MASK) + np.uint64(length) > BYTES_MASK
    volume += volume_of(1, length)
    stats[slot * EIGHT + VOLUME] = np.int64(volume)
    if full or volume >> PACKET_SHIFT >= MOST_PACKETS:
        release(rank, counters, slot)
        counters[FORGOTTEN] += 1


@inline_kernel
def lodge(rank, stats, counters, one, two, flow, volume, since_ns):
    """Give a ghost the first slot of its two buckets that has words to spare; returns whether there is one."""
    empty = ways_alike(rank, one, HOSTING, SELECTED) | ways_alike(rank, two, HOSTING, SELECTED) << EIGHT
    if empty != ZERO:
        slot = slot_of_way(one, two, first_way(empty))
        rank[slot] |= hash_of_ghost(flow)
        stats[slot * EIGHT + GHOST] = np.int64(flow)
        stats[slot * EIGHT + VOLUME] = np.int64(volume)
        stats[slot * EIGHT + SINCE_NS] = np.int64(since_ns)
        counters[GHOSTS] += 1
    return empty != ZERO


@inline_kernel
def turn_out(homeless, flow, volume, since_ns):
    """Put a ghost on the list of those that look for a slot."""
    at = ONE + homeless[0] * THREE
    homeless[at] = flow
    homeless[at + ONE] = volume
    homeless[at + TWO] = np.uint64(since_ns)
    homeless[0] += ONE


@inline_kernel
def turn_out_entry(fp, stats, counters, slot, homeless):
    """Put the flow of a slot, which is not selected and has to leave the table, on the list, if it has a past."""
    packets = stats[slot * EIGHT + PACKETS]
    if 0 < packets < MOST_PACKETS and np.uint64(stats[slot * EIGHT + BYTES]) <= BYTES_MASK:
        volume = volume_of(packets, stats[slot * EIGHT + BYTES])
        turn_out(homeless, fp[slot], volume, stats[slot * EIGHT + FIRST_NS])
    else:
        counters[FORGOTTEN] += 1


@inline_kernel
def host(rank, stats, counters, slot, newcomer, homeless):
    """Return the hash of the ghost that a slot goes on to have with a flow of this rank, 0 if none.

    A flow with a past of its own needs the words: the ghost that is there is put on the list.
    """
    ghost = ghost_in(rank[slot])
    if ghost != ZERO and newcomer & KNOWN:
        row = slot * EIGHT
        turn_out(homeless, np.uint64(stats[row + GHOST]), np.uint64(stats[row + VOLUME]), stats[row + SINCE_NS])
        release(rank, counters, slot)
        ghost = ZERO
    return ghost


@kernel
def lodge_all(rank, stats, counters, buckets, homeless):
    """Give all on the list a slot, as far as there are some; the others are forgotten."""
    for number in range(homeless[0]):
        at = ONE + np.uint64(number) * THREE
        flow = homeless[at]
        one, two = first_bucket(flow, buckets), second_bucket(flow, buckets)
        if not lodge(rank, stats, counters, one, two, flow, homeless[at + ONE], homeless[at + TWO]):
            counters[FORGOTTEN] += 1
    homeless[0] = ZERO
