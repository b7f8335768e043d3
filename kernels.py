"""How the hot loops are compiled: one decorator and the integer hash that all tables share.

Kernels take and return arrays and scalars, never Python objects; they release the GIL, so two of them run on two
cores. The compiled code is cached on disk, so only the first run on a machine pays for compiling. numba's own cache
looks at the file of a kernel alone and would keep code that has an old version of another file's part inlined; so the
cache of mozart has a folder for each state of all kernel files and each version of numba and numpy, in the user's cache
folder (or in NUMBA_CACHE_DIR).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, event
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

CACHE_DAYS = 30  # after which the code of another state of the files is removed


def _use_cache_of_this_state() -> None:
    """Let numba cache in a folder named by all kernel files and what compiles them; remove folders of old states."""
    if "NUMBA_CACHE_DIR" in os.environ:
        return
    here = Path(__file__).resolve().parent
    files = [Path(__file__), *sorted(here.glob("*/*_kernels.py"))]
    compilers = f"numba {numba.__version__} numpy {np.__version__}".encode()
    state = hashlib.sha256(b"".join([compilers, *(file.read_bytes() for file in files)])).hexdigest()[:16]
    place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mozart"
    try:
        for old in place.glob("kernels-" + "[0-9a-f]" * 16):
            if time.time() - old.stat().st_mtime > CACHE_DAYS * 86400:
                shutil.rmtree(old, ignore_errors=True)
        (place / f"kernels-{state}").mkdir(parents=True, exist_ok=True)
        os.utime(place / f"kernels-{state}")
    except OSError:
        return  # no such place for this user: numba finds another one
    numba.config.CACHE_DIR = str(place / f"kernels-{state}")


_use_cache_of_this_state()

MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)


@contextmanager
def compile_time() -> Generator[Callable[[], float]]:
    """Give a function that returns the seconds of compiling since then: 0 where all kernels were cached."""
    with event.install_listener("numba:compile", event.TimingListener()) as listener:
        yield lambda: listener.duration if listener.done else 0.0


class _LoadTimer(event.Listener):
    """Measures how long one thread compiles kernels or loads compiled ones."""

    def __init__(self) -> None:
        self.thread, self.depth, self.begun_s, self.total_s = threading.get_ident(), 0, 0.0, 0.0

    def on_start(self, event: Any) -> None:
        if threading.get_ident() == self.thread:
            if self.depth == 0:
                self.begun_s = time.monotonic()
            self.depth += 1

    def on_end(self, event: Any) -> None:
        if threading.get_ident() == self.thread:
            self.depth -= 1
            if self.depth == 0:
                self.total_s += time.monotonic() - self.begun_s


@contextmanager
def load_time() -> Generator[Callable[[], float]]:
    """Give a function that returns the seconds that this thread has compiled kernels, or loaded them, since then."""
    with event.install_listener("numba:compiler_lock", _LoadTimer()) as timer:
        yield lambda: timer.total_s


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a hot loop: no GIL, no bounds checks, division as numpy does it, code cached on disk."""
    return numba.njit(nogil=True, cache=True, error_model="numpy")(function)


def inline_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a helper of hot loops so that it becomes part of the loop that calls it."""
    return numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")(function)


def lean_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a hot loop, or a part of one, that allocates nothing: as `kernel`, but without reference counts.

    Counting the references of a dozen arrays at every call of a part can cost more than the work itself.
    """
    options: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "_nrt": False}
    return numba.njit(**options)(function)


@inline_kernel
def mix64(value: np.uint64) -> np.uint64:
    """Scramble 64 bits so that every input bit changes about half of the output bits (the splitmix64 finaliser)."""
    value = (value ^ (value >> np.uint64(30))) * MIX_1
    value = (value ^ (value >> np.uint64(27))) * MIX_2
    return value ^ (value >> np.uint64(31))


@inline_kernel
def flat(array: Any) -> Any:
    """View an array of several dimensions (C order) as one: a stride of 1 is known when a loop over it is compiled."""
    return array.reshape(array.size)


@intrinsic
def load_acquire(typing_context, array, index):
    """Read `array.flat[index]` (C order); what is read after it is not older than what its writer wrote before it.

    For memory that the kernel or another process writes. A plain read lets the processor (ARM does) or the compiler
    read what comes after it first.
    """

    def codegen(context, builder, signature, arguments):
        pointer, align = _element(context, builder, signature, arguments)
        return builder.load_atomic(pointer, "acquire", align, typ=context.get_value_type(array.dtype))

    return array.dtype(array, types.intp), codegen


@intrinsic
def store_release(typing_context, array, index, value):
    """Write `array.flat[index]` (C order); whoever sees it sees what was read and written before it as done."""

    def codegen(context, builder, signature, arguments):
        pointer, align = _element(context, builder, signature, arguments)
        builder.store_atomic(arguments[2], pointer, "release", align)
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), codegen


def _element(context, builder, signature, arguments):
    """Return a pointer to `array.flat[index]`, and the size that it is aligned to."""
    array = signature.args[0]
    view = make_array(array)(context, builder, arguments[0])
    return builder.gep(view.data, [arguments[1]]), context.get_abi_sizeof(context.get_value_type(array.dtype))


@intrinsic
def prefetch(typing_context, array, index):
    """Ask the processor to bring the cache line of `array.flat[index]` (C order), without waiting for it."""

    def codegen(context, builder, signature, arguments):
        view = make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.bitcast(builder.gep(view.data, [arguments[1]]), ir.IntType(8).as_pointer())
        i32 = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, i32, i32, i32])
        name = "llvm.prefetch.p0" if pointer.type.is_opaque else "llvm.prefetch.p0i8"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        builder.call(function, [pointer, i32(0), i32(3), i32(1)])  # for reading, keep in all caches, data
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen
