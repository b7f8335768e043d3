"""Reading whole numbers out of bytes at any place, in one instruction each, for the loops over captured bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from ..kernels import lean_kernel


def _reader(bits: int, big: bool) -> Any:
    """Make a function that reads a number of some bits, most or least significant byte first.

    It takes (data, at) and checks nothing: data[at:] must have that many bits, and `at` not be negative.
    """

    @intrinsic
    def read(typing_context, data, at):
        def codegen(context, builder, signature, arguments):
            view = make_array(signature.args[0])(context, builder, arguments[0])
            word = ir.IntType(bits)
            pointer = builder.bitcast(builder.gep(view.data, [arguments[1]]), word.as_pointer())
            value = builder.load(pointer, align=1)
            if big:
                value = builder.bswap(value)
            return value if bits == 64 else builder.zext(value, ir.IntType(64))

        return (types.uint64 if bits == 64 else types.int64)(data, types.int64), codegen

    return read


big16, big32, big64 = _reader(16, True), _reader(32, True), _reader(64, True)
"""Most significant byte first, as in headers; int64 but for the last, which is uint64."""
little32 = _reader(32, False)


@lean_kernel
def word32(data, at, big):
    """Read four bytes in the byte order of the file."""
    return big32(data, at) if big else little32(data, at)


@lean_kernel
def byte_at(data, at):
    """Read one byte; `at` is never negative, which spares the test for Python's negative indices."""
    return np.int64(data[np.uint64(at)])
