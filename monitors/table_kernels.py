"""Hot loops of the two-mode sample-and-hold table (`table.py` says what it is and numbers the rules)."""

from __future__ import annotations

import numpy as np

from ..kernels import inline_kernel, kernel, prefetch

WAYS = 8  # slots of a bucket: eight 64-bit keys are one cache line
LOOKAHEAD = 12  # crossings between asking for a bucket's cache lines and using them

# what may cross a monitor (Crossings.kind)
PACKET, TAGGED, HINT, SELECT = 0, 1, 2, 3

# what a slot counts (columns of `stats`)
PACKETS, BYTES, FIRST_NS, LAST_NS, SELECTED_NS, PRE_PACKETS, PRE_BYTES, SAMPLED_NS = range(8)

# what a table counts (entries of `counters`)
REFUSED_SAMPLES, SELECTED_COLLISIONS, EVICTIONS, MOVES, SELECTED_FLOWS, LOGGED = range(6)

VISITS = 96  # buckets searched for room where all slots of a flow are selected: at most two moves

SELECTED = np.uint64(1 << 63)
NONE = np.int64(-1)
LOW_HALF = np.uint64(0xFFFFFFFF)


@inline_kernel
def first_bucket(key, buckets):
    """Return the first slot of the first of a key's two buckets."""
    return np.int64(((key >> np.uint64(32)) * buckets) >> np.uint64(32)) * WAYS


@inline_kernel
def second_bucket(key, buckets):
    """Return the first slot of the second of a key's two buckets (another one, where there are two)."""
    slot = np.int64(((key & LOW_HALF) * buckets) >> np.uint64(32)) * WAYS
    if slot == first_bucket(key, buckets):
        slot += WAYS
        if slot == np.int64(buckets) * WAYS:
            slot = 0
    return slot


@inline_kernel
def find(fp, slot, key):
    """Return the slot of a bucket that holds a key, or -1."""
    found = np.int64(-1)
    for way in range(WAYS):
        if fp[slot + way] == key:
            found = slot + way
    return found


@inline_kernel
def free_slot(rank, one, two):
    """Return a free slot of the emptier of two buckets, or -1."""
    free_one, free_two = 0, 0
    slot_one, slot_two = np.int64(-1), np.int64(-1)
    for way in range(WAYS):
        if rank[one + way] == 0:
            free_one += 1
            slot_one = one + way
        if rank[two + way] == 0:
            free_two += 1
            slot_two = two + way
    return slot_one if free_one >= free_two else slot_two


@inline_kernel
def lowest(rank, one, two):
    """Return the slot of two buckets that goes first: the one with the lowest rank."""
    best = one
    for way in range(WAYS):
        if rank[one + way] < rank[best]:
            best = one + way
        if rank[two + way] < rank[best]:
            best = two + way
    return best


@inline_kernel
def victim(rank, one, two):
    """Return the slot that a selected flow takes: the lowest of the bucket with fewer selected flows.

    Filling both buckets evenly is what keeps the table usable to the last slots (two-choice hashing).
    """
    selected = 0
    for way in range(WAYS):
        selected += (rank[one + way] >= SELECTED) - np.int64(rank[two + way] >= SELECTED)
    if selected == 0:
        return lowest(rank, one, two)
    bucket = one if selected < 0 else two
    return lowest(rank, bucket, bucket)


@inline_kernel
def other_bucket(key, slot, buckets):
    """Return the first slot of the bucket that a resident of `slot` could move to."""
    bucket = second_bucket(key, buckets)
    if bucket == slot - slot % WAYS:
        bucket = first_bucket(key, buckets)
    return bucket


@kernel
def relocate(fp, rank, stats, one, two, crossing, moves, counters):
    """Make room where all slots of a flow are selected, by moving residents to their other buckets.

    Breadth first over the buckets that residents could move to, until one has a slot that is not selected; then
    the residents on the way move by one step each. Each move is logged in `moves`, where that is not empty, as
    (crossing, from, to). Returns the slot made free, or -1.
    """
    buckets = np.uint64(len(fp) // WAYS)
    bucket = np.empty(VISITS, np.int64)
    via = np.empty(VISITS, np.int64)  # slot whose resident would move into this bucket
    parent = np.empty(VISITS, np.int64)
    bucket[0], bucket[1] = one, two
    parent[0] = parent[1] = -1
    known = 2
    for visit in range(VISITS):
        if visit >= known:
            break
        here = bucket[visit]
        target = lowest(rank, here, here)
        if rank[target] < SELECTED:
            step = visit
            while parent[step] >= 0:
                source = via[step]
                fp[target], rank[target] = fp[source], rank[source]
                stats[target, :] = stats[source, :]
                if len(moves):
                    moves[counters[LOGGED], 0] = crossing
                    moves[counters[LOGGED], 1] = source
                    moves[counters[LOGGED], 2] = target
                    counters[LOGGED] += 1
                counters[MOVES] += 1
                target = source
                step = parent[step]
            return target
        for way in range(WAYS):
            if known < VISITS and fp[here + way] != 0:  # 0: a slot that is blocked
                bucket[known] = other_bucket(fp[here + way], here + way, buckets)
                via[known] = here + way
                parent[known] = visit
                known += 1
    return NONE


@kernel
def observe(
    key, kind, length, time_ns, luck,
    fp, rank, stats, counters,
    chance, heeds_tags, heeds_hints, priority, recency,
    slot_out, fresh_out, moves, capacity,
):  # fmt: skip
    """Take crossings into a table, in order; `table.Table` numbers the rules that stand at the branches.

    Per crossing i: `key[i]` (uint64), `kind[i]`, `length[i]` (bytes), `time_ns[i]`, `luck[i]` (uint32, uniform). An
    untagged packet of an absent flow is admitted where luck < chance. Where `slot_out` has room, the slot that
    crossing i went to (or -1) and whether its flow is new there are written, and the moves between slots.
    """
    n = len(key)
    tells = len(slot_out) > 0
    counters[LOGGED] = 0
    buckets = np.uint64(len(fp) // WAYS)
    far = len(fp) > 1 << 15
    for i in range(n):
        if far and i + LOOKAHEAD < n:
            prefetch(fp, first_bucket(key[i + LOOKAHEAD], buckets))
            prefetch(fp, second_bucket(key[i + LOOKAHEAD], buckets))
        flow = key[i]
        what = kind[i]
        now = time_ns[i]
        selects = (heeds_tags and (what == TAGGED or what == SELECT)) or (heeds_hints and what == HINT)
        is_packet = what <= TAGGED
        if not is_packet and not selects:
            if tells:
                slot_out[i] = -1
            continue
        one = first_bucket(flow, buckets)
        slot = find(fp, one, flow)
        if slot < 0:
            two = second_bucket(flow, buckets)
            slot = find(fp, two, flow)
        if slot >= 0:
            # (a) the flow has an entry: update it, set its selected bit
            here = rank[slot]
            if selects and here < SELECTED:
                here |= SELECTED
                counters[SELECTED_FLOWS] += 1
                stats[slot, SELECTED_NS] = now
                stats[slot, PRE_PACKETS] = stats[slot, PACKETS]
                stats[slot, PRE_BYTES] = stats[slot, BYTES]
            if is_packet:
                if stats[slot, PACKETS] == 0:
                    stats[slot, FIRST_NS] = now
                stats[slot, PACKETS] += 1
                stats[slot, BYTES] += length[i]
                stats[slot, LAST_NS] = now
                if recency:
                    here = (here & SELECTED) | np.uint64(now + 1)
                else:
                    here += np.uint64(length[i])
            rank[slot] = here
            if tells:
                slot_out[i] = slot
                fresh_out[i] = False
            continue
        if tells:
            slot_out[i] = -1
        if selects:
            if what == HINT:
                continue
            # (b) no entry, selected: a free slot, else over the lowest non-selected one
            slot = free_slot(rank, one, two)
            if slot < 0 and priority:
                slot = victim(rank, one, two)
                if rank[slot] < SELECTED:
                    counters[EVICTIONS] += 1
                elif counters[SELECTED_FLOWS] < capacity:
                    slot = relocate(fp, rank, stats, one, two, i, moves, counters)
                else:
                    slot = NONE
            if slot < 0:
                counters[SELECTED_COLLISIONS] += 1
                continue
        else:
            # (c) no entry, not selected: with the sampling probability into a free slot
            if luck[i] >= chance:
                continue
            slot = free_slot(rank, one, two)
            if slot < 0 and recency:
                slot = lowest(rank, one, two)
                if rank[slot] >= SELECTED:
                    slot = NONE
                else:
                    counters[EVICTIONS] += 1
            if slot < 0:
                counters[REFUSED_SAMPLES] += 1
                continue
        bytes_now = np.int64(length[i]) if is_packet else np.int64(0)
        fp[slot] = flow
        rank[slot] = np.uint64(now + 1) if recency else np.uint64(bytes_now)
        stats[slot, PACKETS] = 1 if is_packet else 0
        stats[slot, BYTES] = bytes_now
        stats[slot, FIRST_NS] = now
        stats[slot, LAST_NS] = now
        stats[slot, SELECTED_NS] = NONE
        stats[slot, PRE_PACKETS] = 0
        stats[slot, PRE_BYTES] = 0
        stats[slot, SAMPLED_NS] = NONE
        if selects:
            rank[slot] |= SELECTED
            counters[SELECTED_FLOWS] += 1
            stats[slot, SELECTED_NS] = now
        else:
            stats[slot, SAMPLED_NS] = now
        if tells:
            slot_out[i] = slot
            fresh_out[i] = True
