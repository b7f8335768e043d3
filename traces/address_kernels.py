"""Hot loop that writes addresses as text (`addresses.py`)."""

from __future__ import annotations

import numpy as np

from ..kernels import lean_kernel

ZERO, DOT, COLON, LETTER_A = np.uint8(48), np.uint8(46), np.uint8(58), np.uint8(97)
LOW_HALF = np.uint64(0xFFFFFFFF)
MAPPED, HALF = np.uint64(0xFFFF), np.uint64(32)
GROUPS = 8
NO_RUN = 99


@lean_kernel
def write_byte(value, out, at):
    """Write a number below 256 in decimal digits; returns the place behind it."""
    if value >= 100:
        out[at] = ZERO + np.uint8(value // 100)
        at += 1
    if value >= 10:
        out[at] = ZERO + np.uint8(value // 10 % 10)
        at += 1
    out[at] = ZERO + np.uint8(value % 10)
    return at + 1


@lean_kernel
def write_group(value, out, at):
    """Write sixteen bits in lower-case hexadecimal digits without leading zeros; returns the place behind them."""
    begun = False
    for place in range(4):
        digit = (value >> (12 - 4 * place)) & 15
        if digit or begun or place == 3:
            out[at] = ZERO + np.uint8(digit) if digit < 10 else LETTER_A + np.uint8(digit - 10)
            at += 1
            begun = True
    return at


@lean_kernel
def group_of(high, low, number):
    """Return one of the eight groups of an IPv6 address."""
    word = high if number < 4 else low
    return np.int64((word >> np.uint64(48 - 16 * (number & 3))) & MAPPED)


@lean_kernel
def longest_run(high, low):
    """Return (first group, groups) of the longest run of zero groups, the first of equal ones; at least two groups."""
    best, length = NO_RUN, 1
    begin = 0
    for number in range(GROUPS + 1):
        if number == GROUPS or group_of(high, low, number) != 0:
            if number - begin > length:
                best, length = begin, number - begin
            begin = number + 1
    return best, length


@lean_kernel
def write_six(high, low, out, at):
    """Write an IPv6 address (RFC 5952); returns the place behind it."""
    run, length = longest_run(high, low)
    number = 0
    while number < GROUPS:
        if number == run:
            out[at] = COLON
            at += 1
            number += length
            if number == GROUPS:
                out[at] = COLON
                at += 1
            continue
        if number > 0:
            out[at] = COLON
            at += 1
        at = write_group(group_of(high, low, number), out, at)
        number += 1
    return at


@lean_kernel
def write_addresses(words, out, end):
    """Write addresses, one behind the other, into `out`; `end[i + 1]` is the place behind address i."""
    at = 0
    for i in range(len(words)):
        high, low = words[i, 0], words[i, 1]
        if high == 0 and low >> HALF == MAPPED:
            for place in range(4):
                if place:
                    out[at] = DOT
                    at += 1
                at = write_byte(np.int64((low >> np.uint64(24 - 8 * place)) & np.uint64(255)), out, at)
        else:
            at = write_six(high, low, out, at)
        end[i + 1] = at
