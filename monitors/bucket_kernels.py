"""Eight slots at a time: the comparisons that hash tables make on a whole bucket, as vector instructions.

A bucket is eight 64-bit words in a row, one cache line. Comparing it way by way costs a branch or a dependent
move a way; as one vector of eight words it is one comparison, whose outcome is a mask: bit w stands for way w.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

WAYS = 8  # words of a bucket: eight 64-bit keys are one cache line

_WORD = ir.IntType(64)
_BUCKET = ir.VectorType(_WORD, WAYS)


def _load(context: Any, builder: Any, array_type: Any, array: Any, start: Any) -> Any:
    """Load the eight words of `array` from `start` on as a vector."""
    view = make_array(array_type)(context, builder, array)
    pointer = builder.bitcast(builder.gep(view.data, [start]), _BUCKET.as_pointer())
    return builder.load(pointer, align=8, typ=_BUCKET)


def _everywhere(builder: Any, word: Any) -> Any:
    """Return a vector with a word in every way."""
    vector = builder.insert_element(ir.Constant(_BUCKET, ir.Undefined), word, ir.IntType(32)(0))
    ways = ir.Constant(ir.VectorType(ir.IntType(32), WAYS), [0] * WAYS)
    return builder.shuffle_vector(vector, ir.Constant(_BUCKET, ir.Undefined), ways)


def _comparison(predicate: str) -> Callable[..., Any]:
    """Return code that compares the words of a bucket with one word, as unsigned numbers."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, start, word = arguments
        words = _load(context, builder, signature.args[0], array, start)
        bits = builder.icmp_unsigned(predicate, words, _everywhere(builder, word))
        return builder.zext(builder.bitcast(bits, ir.IntType(WAYS)), _WORD)

    return codegen


@intrinsic
def ways_equal(typing_context, array, start, word):
    """Return the mask of the ways whose word, of the eight in `array` from `start` on, equals `word`."""
    return types.uint64(array, types.uint64, types.uint64), _comparison("==")


@intrinsic
def ways_at_least(typing_context, array, start, word):
    """Return the mask of the ways whose word, of the eight in `array` from `start` on, is at least `word`."""
    return types.uint64(array, types.uint64, types.uint64), _comparison(">=")


@intrinsic
def ways_alike(typing_context, array, start, mask, word):
    """Return the mask of the ways whose word, of the eight in `array` from `start` on, is `word` in `mask`'s bits."""

    def codegen(context, builder, signature, arguments):
        array, start, mask, word = arguments
        words = builder.and_(_load(context, builder, signature.args[0], array, start), _everywhere(builder, mask))
        bits = builder.icmp_unsigned("==", words, _everywhere(builder, word))
        return builder.zext(builder.bitcast(bits, ir.IntType(WAYS)), _WORD)

    return types.uint64(array, types.uint64, types.uint64, types.uint64), codegen


@intrinsic
def least_word(typing_context, array, start):
    """Return the lowest of the eight words of `array` from `start` on."""

    def codegen(context, builder, signature, arguments):
        words = _load(context, builder, signature.args[0], *arguments)
        kind = ir.FunctionType(_WORD, [_BUCKET])
        reduce = cgutils.get_or_insert_function(builder.module, kind, "llvm.vector.reduce.umin.v8i64")
        return builder.call(reduce, [words])

    return types.uint64(array, types.uint64), codegen


@intrinsic
def first_way(typing_context, mask):
    """Return the first way of a mask that is not empty; 64 for an empty one."""

    def codegen(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.IntType(1)(0))

    return types.uint64(types.uint64), codegen


@intrinsic
def last_way(typing_context, mask):
    """Return the last way of a mask, which must not be empty."""

    def codegen(context, builder, signature, arguments):
        return builder.sub(_WORD(63), builder.ctlz(arguments[0], ir.IntType(1)(0)))

    return types.uint64(types.uint64), codegen


@intrinsic
def count_ways(typing_context, mask):
    """Return the number of ways in a mask."""

    def codegen(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), codegen
