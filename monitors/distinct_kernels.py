"""Hot loops of the HyperLogLog sketches that count distinct values (`measures.py` says what for)."""

from __future__ import annotations

import math

import numpy as np

from ..kernels import kernel
from .table_kernels import TAGGED

REGISTERS = 64
ALPHA = 0.709  # the bias correction for 64 registers (Flajolet et al. 2007)


@kernel
def update(item, kind, slot, fresh, moves, registers):
    """Take the items of crossings, in order, into the sketches of the slots that they went to."""
    move = 0
    for i in range(len(slot)):
        while move < len(moves) and moves[move, 0] == i:
            for j in range(REGISTERS):
                registers[moves[move, 2], j] = registers[moves[move, 1], j]
            move += 1
        row = slot[i]
        if row < 0:
            continue
        if fresh[i]:
            for j in range(REGISTERS):
                registers[row, j] = 0
        if kind[i] > TAGGED:
            continue
        register = item[i] & np.uint64(REGISTERS - 1)
        rest = item[i] >> np.uint64(6)
        rank = np.uint8(1)
        while rank < 58 and not rest & np.uint64(1):
            rest >>= np.uint64(1)
            rank += np.uint8(1)
        if rank > registers[row, register]:
            registers[row, register] = rank


@kernel
def estimate(registers):
    """Return the estimated number of distinct values in each sketch."""
    result = np.zeros(len(registers), np.float64)
    for i in range(len(registers)):
        total, empty = 0.0, 0
        for j in range(REGISTERS):
            total += math.pow(2.0, -float(registers[i, j]))
            empty += registers[i, j] == 0
        result[i] = ALPHA * REGISTERS * REGISTERS / total
        if result[i] <= 2.5 * REGISTERS and empty:
            result[i] = REGISTERS * math.log(REGISTERS / empty)
    return result
