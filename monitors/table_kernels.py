"""Hot loops of the two-mode sample-and-hold table (`table.py` says what it is and numbers the rules).

Crossings are taken in batches of 32. First one bit tells of most flows that the table does not hold them. Then the
slots of the others are looked up, so that many lookups are on their way at a time and the cache lines of what they
find are asked for; of this comes a list of what there is to do, which is then done in order. A lookup that the batch
itself has outdated is made again. Slots and buckets are unsigned, which spares numba the test for negative indices.
"""

from __future__ import annotations

import math

import numpy as np

from ..kernels import inline_kernel, kernel, prefetch
from .bucket_kernels import WAYS, count_ways, first_way, last_way, least_word, ways_at_least, ways_equal
from .ghost_kernels import (
    BYTES_MASK,
    HOMELESS,
    PACKET_SHIFT,
    SINCE_NS,
    VOLUME,
    count_ghost,
    find_ghost,
    ghost_in,
    host,
    lodge,
    lodge_all,
    release,
    turn_out_entry,
    volume_of,
)
from .layout_kernels import (
    ANNOUNCED,
    BAR,
    BYTES,
    CLOCK,
    COUNTS,
    EIGHT,
    EVICTIONS,
    FIRST_NS,
    GHOSTS,
    KNOWN,
    LAST_NS,
    LOGGED,
    MOVES,
    NOWHERE,
    PACKETS,
    PRE_BYTES,
    PRE_PACKETS,
    REFUSED_SAMPLES,
    SAMPLED_NS,
    SELECTED,
    SELECTED_COLLISIONS,
    SELECTED_FLOWS,
    SELECTED_NS,
    SPARE,
    STANDING,
    first_bucket,
    rank_of_tagged,
    second_bucket,
)
from .mark_kernels import mark, marked

BATCH = np.uint64(32)  # crossings looked up before they are applied
FAR = 1 << 17  # slots of a table so large that asking for cache lines ahead pays (10 MB)

# what may cross a monitor (Crossings.kind)
PACKET, TAGGED, HINT, SELECT = range(4)

VISITS = 2 + 16 + 128  # buckets searched for room where all slots of a flow are selected: all within two moves

ZERO, ONE, THREE, FOUR, SEVEN, SIXTEEN = (np.uint64(i) for i in (0, 1, 3, 4, 7, 2 * WAYS))

CLOCK_SHIFT = 6  # the clock follows the ranks of the evicted with a weight of 1/64
CLOCK_UNITS = 65536.0  # of rank, for one square root of a byte


@inline_kernel
def weight(size):
    """Return how far above the clock the mode `recent` ranks a flow of `size` bytes."""
    return np.int64(math.sqrt(size) * CLOCK_UNITS) + 1


@inline_kernel
def advanced(clock, rank):
    """Return the clock after the eviction of a flow: it follows the ranks of those who go."""
    return clock + ((np.int64(rank & ~STANDING) - clock) >> CLOCK_SHIFT)


@inline_kernel
def find(fp, one, two, key):
    """Return the slot of two buckets that holds a key, or NOWHERE.

    Without a branch: whether and in which bucket a key is found cannot be predicted.
    """
    found = ways_equal(fp, one, key) | ways_equal(fp, two, key) << EIGHT
    way = first_way(found | ONE << SIXTEEN)
    in_two = ZERO - (way >> THREE & ONE)
    return (one + (in_two & (two - one)) + (way & SEVEN)) | (ZERO - (way >> FOUR))


@inline_kernel
def free_slot(rank, one, two):
    """Return a free slot of the emptier of two buckets, or NOWHERE."""
    free_one, free_two = ways_equal(rank, one, np.uint64(0)), ways_equal(rank, two, np.uint64(0))
    slot = NOWHERE
    if free_one | free_two:
        if count_ways(free_one) >= count_ways(free_two):
            slot = one + last_way(free_one)
        else:
            slot = two + last_way(free_two)
    return slot


@inline_kernel
def lowest(rank, one, two):
    """Return the slot of two buckets that goes first: the one with the lowest rank."""
    least = min(least_word(rank, one), least_word(rank, two))
    way_one, way_two = first_way(ways_equal(rank, one, least)), first_way(ways_equal(rank, two, least))
    return one + way_one if way_one <= way_two else two + way_two


@inline_kernel
def victim(rank, one, two):
    """Return the slot that a selected flow takes: the lowest of the bucket with fewer selected flows.

    Filling both buckets evenly is what keeps the table usable to the last slots (two-choice hashing).
    """
    in_one = count_ways(ways_at_least(rank, one, SELECTED))
    in_two = count_ways(ways_at_least(rank, two, SELECTED))
    return lowest(rank, one if in_one <= in_two else two, two if in_two <= in_one else one)


@inline_kernel
def other_bucket(key, slot, buckets):
    """Return the first slot of the bucket that a resident of `slot` could move to."""
    bucket = second_bucket(key, buckets)
    if bucket == slot - slot % EIGHT:
        bucket = first_bucket(key, buckets)
    return bucket


@inline_kernel
def move(fp, rank, stats, source, target, keeps_ghosts, homeless, counters):
    """Move a selected flow to another slot; ghosts stay where they are, or have to go if the flow has a past."""
    words = COUNTS
    moved = rank[source]
    if keeps_ghosts:
        if not moved & KNOWN:
            words = int(PRE_PACKETS)
        moved = moved & ~SPARE | host(rank, stats, counters, target, moved, homeless)
    fp[target], rank[target] = fp[source], moved
    for count in range(words):
        stats[target * EIGHT + np.uint64(count)] = stats[source * EIGHT + np.uint64(count)]


@inline_kernel
def begin_record(stats, slot, ghost, past, since, now, selects):
    """Begin the row of a flow with its past as a ghost, if it has one; the spare words are not written if `ghost`."""
    row = slot * EIGHT
    stats[row + PACKETS] = np.int64(past >> PACKET_SHIFT)
    stats[row + BYTES] = np.int64(past & BYTES_MASK)
    stats[row + FIRST_NS] = since
    stats[row + LAST_NS] = now
    stats[row + SELECTED_NS] = now if selects else -1
    if not ghost:
        stats[row + PRE_PACKETS] = stats[row + PACKETS]
        stats[row + PRE_BYTES] = stats[row + BYTES]
        stats[row + SAMPLED_NS] = since if past != ZERO or not selects else -1


@kernel
def make_room(fp, rank, stats, one, two, newcomer, keeps_ghosts, homeless, crossing, moves, counters):
    """Make room where all slots of a tagged flow are selected, by moving residents to their other buckets.

    1. Breadth first over the buckets that residents could move to, until one has a slot that is not selected.
    2. Where none has, of all slots seen the one of the lowest rank goes, if it is lower than that of the newcomer.
    3. The residents on the way move by one step each. Each move is logged in `moves`, where that is not empty, as
       (crossing, from, to). Ghosts that cannot stay are put on the list `homeless`.

    Returns the slot made free, or NOWHERE.
    """
    buckets = np.uint64(len(fp) // WAYS)
    bucket = np.empty(VISITS, np.uint64)
    via = np.empty(VISITS, np.uint64)  # slot whose resident would move into this bucket
    parent = np.empty(VISITS, np.int64)
    bucket[0], bucket[1] = one, two
    parent[0] = parent[1] = -1
    known = 2
    step = 0
    target, least = NOWHERE, newcomer
    for visit in range(VISITS):
        if visit >= known:
            break
        here = bucket[visit]
        slot = lowest(rank, here, here)
        if rank[slot] < least:
            target, least, step = slot, rank[slot], visit
            if least < SELECTED:
                break
        for way in range(WAYS):
            resident = here + np.uint64(way)
            if known < VISITS and fp[resident] != 0:  # 0: a slot that is blocked
                bucket[known] = other_bucket(fp[resident], resident, buckets)
                via[known] = resident
                parent[known] = visit
                known += 1
    if least >= SELECTED:
        counters[SELECTED_COLLISIONS] += 1
        counters[BAR] = max(counters[BAR], np.int64(least & ~(SELECTED | SPARE)))
        if target == NOWHERE:
            return NOWHERE
        counters[SELECTED_FLOWS] -= 1
    else:
        counters[EVICTIONS] += least != 0
        if keeps_ghosts and least != 0:
            turn_out_entry(fp, stats, counters, target, homeless)
    while parent[step] >= 0:
        source = via[step]
        move(fp, rank, stats, source, target, keeps_ghosts, homeless, counters)
        if len(moves):
            moves[counters[LOGGED], 0] = crossing
            moves[counters[LOGGED], 1] = source
            moves[counters[LOGGED], 2] = target
            counters[LOGGED] += 1
        counters[MOVES] += 1
        target = source
        step = parent[step]
    return target


@kernel
def observe(
    key, kind, length, time_ns, luck, span,
    fp, rank, stats, counters, marks,
    chance, heeds_tags, heeds_hints, priority, recency,
    slot_out, fresh_out, moves, capacity,
):  # fmt: skip
    """Take crossings into a table, in order; `table.Table` numbers the rules that stand at the branches.

    Per crossing i: `key[i]` (uint64), `kind[i]`, `length[i]` (bytes), `time_ns[i]`, `luck[i]` (uint32, uniform),
    `span[i]` (uint8, of the flow's path). An untagged packet of an absent flow is admitted where luck < chance.
    `stats` is flat, eight words a slot; `marks` are of the flows in the table, or none. Where `slot_out` (full of -1)
    has room, the slots that crossings went to are written, whether their flows are new there, and the moves between
    slots.
    """
    n = np.uint64(len(key))
    tells = len(slot_out) > 0
    counters[LOGGED] = 0
    clock = counters[CLOCK]
    buckets = np.uint64(len(fp) // WAYS)
    far = len(fp) > FAR
    selecting = np.uint64(0)  # bit k: crossings of kind k select their flow
    if heeds_tags:
        selecting |= ONE << np.uint64(TAGGED) | ONE << np.uint64(SELECT)
    if heeds_hints:
        selecting |= ONE << np.uint64(HINT)
    slots = np.empty(BATCH, np.uint64)
    work = np.empty(BATCH, np.uint64)
    likely = np.empty(BATCH, np.uint64)
    looks_first = len(marks) > 0
    keeps_ghosts = priority and not recency
    homeless = np.zeros(HOMELESS, np.uint64)
    begin = end = np.uint64(0)
    while begin < n:
        if begin == end:
            end = min(begin + BATCH, n)
            if far:
                for i in range(end, min(end + BATCH, n)):
                    prefetch(fp, first_bucket(key[i], buckets))
                    prefetch(fp, second_bucket(key[i], buckets))
        candidates = end - begin
        if looks_first:
            candidates = np.uint64(0)
            for i in range(begin, end):
                selects = (selecting >> np.uint64(kind[i])) & ONE
                likely[candidates] = i
                candidates += selects | marked(marks, key[i]) | np.uint64(luck[i] < chance)
        items = np.uint64(0)
        ghosts = counters[GHOSTS] > 0
        for candidate in range(candidates):
            c = likely[candidate] if looks_first else begin + candidate
            one, two = first_bucket(key[c], buckets), second_bucket(key[c], buckets)
            slot = find(fp, one, two, key[c])
            what = kind[c]
            selects = (selecting >> np.uint64(what)) & ONE
            is_packet = what <= TAGGED
            work[items] = c
            slots[items] = slot
            items += selects | np.uint64(is_packet & ((slot != NOWHERE) | (luck[c] < chance) | ghosts))
            if far and (recency or ghosts):
                absent = ZERO - np.uint64(slot == NOWHERE)
                prefetch(rank, (one & absent) | (slot & ~absent))
                prefetch(rank, (two & absent) | (slot & ~absent))
                prefetch(stats, (slot & ~absent) * EIGHT)
        skips = items < end - begin
        begin = end
        stale = False  # whether flows came into the table since the lookups
        for item in range(items):
            i = work[item]
            slot = slots[item]
            flow = key[i]
            what = kind[i]
            now = time_ns[i]
            selects = (selecting >> np.uint64(what)) & ONE != 0
            is_packet = what <= TAGGED
            if stale and (slot == NOWHERE or fp[slot] != flow):
                slot = find(fp, first_bucket(flow, buckets), second_bucket(flow, buckets), flow)
            if slot != NOWHERE:
                # (a) the flow has an entry: update it, set its selected bit
                here = rank[slot]
                row = slot * EIGHT
                if selects and here < SELECTED:
                    if here < ANNOUNCED:
                        stats[row + SELECTED_NS] = now
                        stats[row + PRE_PACKETS] = stats[row + PACKETS]
                        stats[row + PRE_BYTES] = stats[row + BYTES]
                    if what == HINT:
                        here |= ANNOUNCED
                    else:
                        here = rank_of_tagged(flow, span[i])
                        if not recency:
                            here |= KNOWN
                        counters[SELECTED_FLOWS] += 1
                if is_packet:
                    packets = stats[row + PACKETS]
                    if packets == 0:
                        stats[row + FIRST_NS] = now
                    size = stats[row + BYTES] + length[i]
                    stats[row + PACKETS] = packets + 1
                    stats[row + BYTES] = size
                    stats[row + LAST_NS] = now
                    if here < SELECTED:
                        if recency:
                            here = (here & STANDING) | np.uint64(clock + weight(size))
                        else:
                            here += np.uint64(length[i])
                rank[slot] = here
                if tells:
                    slot_out[i] = slot
                    fresh_out[i] = False
                continue
            if what == HINT:
                continue
            one, two = first_bucket(flow, buckets), second_bucket(flow, buckets)
            ghost = find_ghost(rank, stats, one, two, flow) if counters[GHOSTS] else NOWHERE
            newcomer = past = ZERO
            since = now
            if selects:
                # (b) no entry, selected: a free slot, else over the lowest non-selected one, else over a selected one
                newcomer = rank_of_tagged(flow, span[i])
                if ghost != NOWHERE:
                    past, since = np.uint64(stats[ghost * EIGHT + VOLUME]), stats[ghost * EIGHT + SINCE_NS]
                    newcomer |= KNOWN
                    release(rank, counters, ghost)
                slot = free_slot(rank, one, two)
                if slot == NOWHERE and priority:
                    slot = victim(rank, one, two)
                    if rank[slot] < SELECTED:
                        counters[EVICTIONS] += 1
                        clock = advanced(clock, rank[slot])
                        if keeps_ghosts:
                            turn_out_entry(fp, stats, counters, slot, homeless)
                    elif counters[SELECTED_FLOWS] >= capacity and np.int64(newcomer & ~SELECTED) <= counters[BAR]:
                        counters[SELECTED_COLLISIONS] += 1
                        slot = NOWHERE
                    else:
                        slot = make_room(
                            fp, rank, stats, one, two, newcomer, keeps_ghosts, homeless, i, moves, counters
                        )
                elif slot == NOWHERE:
                    counters[SELECTED_COLLISIONS] += 1
                if slot == NOWHERE:  # never where there was a ghost: the flow whose words it had ranks lower
                    continue
            else:
                # (c) no entry, not selected: with the sampling probability into a free slot, or into spare words
                if ghost != NOWHERE:
                    count_ghost(rank, stats, counters, ghost, length[i])
                    continue
                if luck[i] >= chance:
                    continue
                slot = free_slot(rank, one, two)
                if slot == NOWHERE and recency:
                    slot = lowest(rank, one, two)
                    if rank[slot] < ANNOUNCED:
                        counters[EVICTIONS] += 1
                        clock = advanced(clock, rank[slot])
                    else:
                        slot = NOWHERE
                if slot == NOWHERE:
                    # a flow that ranks below the bar may be one that was tagged, and had to go
                    drawn = volume_of(1, length[i])
                    fits = keeps_ghosts and np.int64(rank_of_tagged(flow, span[i]) & ~SELECTED) > counters[BAR]
                    if not fits or not lodge(rank, stats, counters, one, two, flow, drawn, now):
                        counters[REFUSED_SAMPLES] += 1
                        continue
            stale = True
            if looks_first:
                mark(marks, flow)
            if slot != NOWHERE:
                size = np.int64(length[i]) if is_packet else np.int64(0)
                if selects:
                    newcomer |= host(rank, stats, counters, slot, newcomer, homeless) if keeps_ghosts else ZERO
                    counters[SELECTED_FLOWS] += 1
                else:
                    newcomer = np.uint64(clock + weight(size)) if recency else np.uint64(size + 1)
                fp[slot], rank[slot] = flow, newcomer
                begin_record(stats, slot, ghost_in(newcomer) if keeps_ghosts else ZERO, past, since, now, selects)
                stats[slot * EIGHT + PACKETS] += np.int64(is_packet)
                stats[slot * EIGHT + BYTES] += size
                if homeless[0] != ZERO:
                    lodge_all(rank, stats, counters, buckets, homeless)
                if tells:
                    slot_out[i] = slot
                    fresh_out[i] = True
            if skips:
                # a packet left off the list may belong to the new flow: look the rest of the batch up again
                begin = i + ONE
                break
    counters[CLOCK] = clock
