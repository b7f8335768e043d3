"""Hot loops that find the state row of each packet's flow in a selector's bounded table.

A device's region has buckets of eight rows (`WAYS`; of fewer, where memory is for fewer). The keys of a bucket are one
cache line, compared as one vector. A block of packets is looked up at a time: first the buckets of the next block are
asked for, then the rows of this one are found and asked for, and then used in order; a row found is looked up again
where the block itself has given it to another flow. Rows are unsigned, which spares numba the test for negative ones.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from ..kernels import lean_kernel, prefetch

WAYS = 8
BLOCK = np.uint64(32)
SEEN_NS = 0
"""The word of a state row that all selectors have: when the flow was last seen."""
ONE, EIGHT, HALF = np.uint64(1), np.uint64(WAYS), np.uint64(32)


@intrinsic
def way_of(typing_context, array, start, word):
    """Return which of the eight words of `array` from `start` on equals `word`; 8 where none does."""

    def codegen(context, builder, signature, arguments):
        i32, i64 = ir.IntType(32), ir.IntType(64)
        eight, ways = ir.VectorType(i64, WAYS), ir.VectorType(i32, WAYS)
        view = make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.bitcast(builder.gep(view.data, [arguments[1]]), eight.as_pointer())
        words = builder.load(pointer, align=8, typ=eight)
        undefined = ir.Constant(eight, ir.Undefined)
        wanted = builder.insert_element(undefined, arguments[2], i32(0))
        wanted = builder.shuffle_vector(wanted, undefined, ir.Constant(ways, [0] * WAYS))
        equal = builder.bitcast(builder.icmp_unsigned("==", words, wanted), ir.IntType(WAYS))
        return builder.cttz(builder.or_(builder.zext(equal, i64), i64(1 << WAYS)), ir.IntType(1)(1))

    return types.uint64(array, types.uint64, types.uint64), codegen


@lean_kernel
def first_row(key, device, buckets, ways):
    """Return the first row of a flow's bucket in the region of its device."""
    bucket = ((key >> HALF) * np.uint64(buckets)) >> HALF
    return (np.uint64(device) * np.uint64(buckets) + bucket) * np.uint64(ways)


@lean_kernel
def find_way(fp, start, ways, flow):
    """Return which row of a bucket is that of a flow, 8 where none is."""
    if ways == WAYS:
        return way_of(fp, start, flow)
    for way in range(np.uint64(ways)):
        if fp[start + way] == flow:
            return way
    return EIGHT


@lean_kernel
def claim_row(fp, state, start, ways, flow, counters):
    """Give a flow a row of its bucket: a free one, else that of the flow seen least recently (then counted)."""
    row = start
    for way in range(np.uint64(ways)):
        if fp[start + way] == 0:
            row = start + way
            break
        if state[start + way, SEEN_NS] < state[row, SEEN_NS]:
            row = start + way
    counters[0] += fp[row] != 0
    fp[row] = flow
    return row


@lean_kernel
def locate(key, where, time_ns, fp, state, buckets, ways, counters, row, fresh):
    """Write the row of each sighting's flow, or -1 where `where` is -1; `fresh` is set where the flow had none.

    `fp` has the key of each row's flow, 0 where it is free. `counters[0]` counts the flows that gave way.
    """
    n = np.uint64(len(key))
    begin = np.uint64(0)
    while begin < n:
        end = min(begin + BLOCK, n)
        for i in range(end, min(end + BLOCK, n)):
            if where[i] >= 0:
                prefetch(fp, first_row(key[i], where[i], buckets, ways))
        for i in range(begin, end):
            row[i] = -1
            if where[i] >= 0:
                start = first_row(key[i], where[i], buckets, ways)
                way = find_way(fp, start, ways, key[i])
                row[i] = np.int64(start + (way & ~EIGHT))
                prefetch(state, (start + (way & ~EIGHT)) * np.uint64(state.shape[1]))
        for i in range(begin, end):
            if where[i] >= 0:
                here = np.uint64(row[i])
                fresh[i] = False
                if fp[here] != key[i]:
                    start = first_row(key[i], where[i], buckets, ways)
                    way = find_way(fp, start, ways, key[i])
                    here = start + way
                    if way == EIGHT:
                        here = claim_row(fp, state, start, ways, key[i], counters)
                        fresh[i] = True
                    row[i] = np.int64(here)
                state[here, SEEN_NS] = time_ns[i]
        begin = end
