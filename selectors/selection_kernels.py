"""Hot loops of the set of selected flows (`selection.py` has the numbered rules)."""

from __future__ import annotations

import numpy as np

from ..kernels import lean_kernel, mix64

ANYWHERE = np.int64(-1)
ODD = np.uint64(0x9E3779B97F4A7C15)
ONE = np.uint8(1)
THREE, SEVEN = np.uint64(3), np.uint64(7)


@lean_kernel
def at_device(key, where):
    """Return the fingerprint of a (flow, device) pair, never 0; for the flow anywhere it is the key itself."""
    value = mix64(key ^ (np.uint64(where + 2) * ODD))
    if value == np.uint64(0):
        value = np.uint64(1)
    return value


@lean_kernel
def probe(fp, print_):
    """Return the slot that holds a fingerprint, or the free one where it would go."""
    mask = np.int64(len(fp) - 1)
    slot = np.int64(print_ >> np.uint64(7)) & mask
    while fp[slot] != np.uint64(0) and fp[slot] != print_:
        slot = (slot + 1) & mask
    return slot


@lean_kernel
def mark(marks, key):
    """Mark a flow as one that may be selected."""
    bit = key & np.uint64(8 * len(marks) - 1)
    marks[bit >> THREE] |= ONE << np.uint8(bit & SEVEN)


@lean_kernel
def marked(marks, key):
    """Return 1 where a flow may be selected, 0 where it is not: a look at one bit, and most flows are not."""
    bit = key & np.uint64(8 * len(marks) - 1)
    return marks[bit >> THREE] >> np.uint8(bit & SEVEN) & ONE


@lean_kernel
def rehash(flow, at, entries, flows, fp, entry, marks):
    """Put all entries, and the marks of their flows, into empty tables."""
    for e in range(entries):
        key = flows[flow[e]]
        print_ = key
        if at[e] == ANYWHERE:
            mark(marks, key)
        else:
            print_ = at_device(key, at[e])
        slot = probe(fp, print_)
        fp[slot] = print_
        entry[slot] = e


@lean_kernel
def past_delays(since_ns, delays_ns, now):
    """Return the mask of delays that are over since a selection (rule 3)."""
    mask = np.uint8(0)
    for d in range(len(delays_ns)):
        if now >= since_ns + delays_ns[d]:
            mask |= np.uint8(1 << d)
    return mask


@lean_kernel
def in_force(since_ns, last_true_ns, hold_ns, delays_ns, now):
    """Return the mask of delays with which a selection makes packets leave tagged now (rules 2 and 3)."""
    mask = np.uint8(0)
    if now <= last_true_ns + hold_ns:
        mask = past_delays(since_ns, delays_ns, now)
    return mask


@lean_kernel
def select(
    begin, key, where, reverse_key, reverse_where, true, time_ns, hold_ns, delays_ns,
    marks, fp, entry, flow, at, first_ns, since_ns, last_true_ns, entries, flows, flow_count,
    forward, reverse, after, past, made, selections,
):  # fmt: skip
    """Take sightings in order, from number `begin` on, while there is room for new selections.

    Returns (sightings taken, entries, flows, selections) so far. `made` gets (flow, where, time, row, entry, and when
    the event was last true in the earlier selection of the same flow and device).
    """
    n = np.uint64(len(key))
    for i in range(np.uint64(begin), n):
        answers = np.uint8(reverse_where[i] >= 0) & marked(marks, reverse_key[i])
        if not (marked(marks, key[i]) | answers | np.uint8(true[i])):
            continue
        if true[i] and entries + 2 > len(flow):
            return np.int64(i), entries, flow_count, selections
        now = time_ns[i]
        number = np.int64(-1)
        slot = probe(fp, key[i])
        if fp[slot] != np.uint64(0):
            e = entry[slot]
            number = np.int64(flow[e])
            past[i] = past_delays(first_ns[e], delays_ns, now)
            after[i] = in_force(since_ns[e], last_true_ns[e], hold_ns, delays_ns, now)
            if where[i] >= 0 and after[i]:
                here = probe(fp, at_device(key[i], where[i]))
                if fp[here] != np.uint64(0):
                    e = entry[here]
                    forward[i] = in_force(since_ns[e], last_true_ns[e], hold_ns, delays_ns, now)
        if answers:
            there = probe(fp, at_device(reverse_key[i], reverse_where[i]))
            if fp[there] != np.uint64(0):
                e = entry[there]
                reverse[i] = in_force(since_ns[e], last_true_ns[e], hold_ns, delays_ns, now)
        if not true[i]:
            continue
        # rules 1 and 2, for the flow anywhere and for the flow at this device
        for device in (ANYWHERE, np.int64(where[i])):
            print_ = key[i] if device == ANYWHERE else at_device(key[i], device)
            slot = probe(fp, print_)
            if fp[slot] == np.uint64(0):
                if device == ANYWHERE:
                    number = flow_count
                    flows[number] = key[i]
                    flow_count += 1
                    mark(marks, key[i])
                fp[slot] = print_
                entry[slot] = entries
                flow[entries] = number
                at[entries] = device
                first_ns[entries] = now
                since_ns[entries] = now
                last_true_ns[entries] = -hold_ns - 1 - (1 << 62)
                entries += 1
            e = entry[slot]
            if now > last_true_ns[e] + hold_ns:
                since_ns[e] = now
                if device != ANYWHERE:
                    made[selections, 0] = number
                    made[selections, 1] = device
                    made[selections, 2] = now
                    made[selections, 3] = i
                    made[selections, 4] = e
                    made[selections, 5] = last_true_ns[e]
                    selections += 1
            last_true_ns[e] = now
    return np.int64(n), entries, flow_count, selections
