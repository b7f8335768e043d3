"""Hot loop that finds the packets in a block of a pcapng file (`pcapng.py` reads sections and interfaces)."""

from __future__ import annotations

import numpy as np

from ..kernels import inline_kernel, kernel
from .pcap_kernels import word32

(
    NEED_MORE,
    FULL,
    SECTION,
    INTERFACE,
    BAD_LENGTH,
    BAD_TRAILER,
    NO_INTERFACE,
    BAD_CAPTURE,
    BAD_TIME,
    BAD_LINK,
) = range(10)
"""Why the walk stopped; from BAD_LENGTH on the file is damaged or cannot be read."""

LINK, SNAP_BYTES, MULTIPLIER, DIVISOR, SHIFT, MOST_TICKS, OFFSET_NS, INTERFACE_FIELDS = range(8)
"""What is known of an interface: a row of 64-bit words."""
UNKNOWN_LINK = 255

SECTION_BLOCK, INTERFACE_BLOCK, OLD_PACKET, SIMPLE_PACKET, ENHANCED_PACKET = 0x0A0D0D0A, 1, 2, 3, 6


@inline_kernel
def to_ns(ticks, interface):
    """Turn a time stamp of an interface into nanoseconds, rounded down, without its offset."""
    ns = ticks * interface[MULTIPLIER]
    shift = interface[SHIFT]
    if shift != 0:
        billion = np.uint64(1_000_000_000)
        seconds = ticks >> shift
        rest = ticks - (seconds << shift)
        high = (rest >> np.uint64(32)) * billion
        low = (rest & np.uint64(0xFFFFFFFF)) * billion
        if shift >= np.uint64(32):
            ns = seconds * billion + ((high + (low >> np.uint64(32))) >> (shift - np.uint64(32)))
        else:
            ns = seconds * billion + (low >> shift)
    elif interface[DIVISOR] != 1:
        ns = ticks // interface[DIVISOR]
    return np.int64(ns)


@kernel
def walk_pcapng(
    data, position, end, swapped, interfaces, known, most_bytes, last_ns,
    time_ns, starts, captured, wire, links,
):  # fmt: skip
    """Write where the packets in data[position:end] stand; return (packets, position behind, why, latest
    time).

    `interfaces` has a row for each of the `known` interfaces of the section. A packet block of more than
    `most_bytes` bytes is damage; other blocks may be longer and are jumped over, to a position behind `end`
    where need be. A simple packet has no time: it gets that of the packet before it, `last_ns` at the
    beginning.
    """
    count = 0
    while count < len(time_ns):
        if position + 12 > end:
            return count, position, NEED_MORE, last_ns
        kind = word32(data, position, swapped)
        if kind == SECTION_BLOCK:
            return count, position, SECTION, last_ns
        length = word32(data, position + 4, swapped)
        if length < 12 or length & 3 != 0:
            return count, position, BAD_LENGTH, last_ns
        wanted = kind in (ENHANCED_PACKET, OLD_PACKET, SIMPLE_PACKET, INTERFACE_BLOCK)
        if length > most_bytes:
            if wanted:
                return count, position, BAD_LENGTH, last_ns
            position += length
            continue
        following = position + length
        if following > end:
            return count, position, NEED_MORE, last_ns
        if word32(data, following - 4, swapped) != length:
            return count, position, BAD_TRAILER, last_ns
        if kind == INTERFACE_BLOCK:
            return count, position, INTERFACE, last_ns
        if wanted:
            header = 16 if kind == SIMPLE_PACKET else 32
            if length < header:
                return count, position, BAD_LENGTH, last_ns
            number = 0
            if kind == ENHANCED_PACKET:
                number = word32(data, position + 8, swapped)
            elif kind == OLD_PACKET:
                number = word32(data, position + 8, swapped)
                number = number >> 16 if swapped else number & 0xFFFF
            if number >= known:
                return count, position, NO_INTERFACE, last_ns
            interface = interfaces[number]
            if interface[LINK] == UNKNOWN_LINK:
                return count, position, BAD_LINK, last_ns
            room = length - header
            if kind == SIMPLE_PACKET:
                on_wire = word32(data, position + 8, swapped)
                taken = min(on_wire, room)
                if interface[SNAP_BYTES] != 0:
                    taken = min(taken, np.int64(interface[SNAP_BYTES]))
                starts[count] = position + 12
            else:
                taken = word32(data, position + 20, swapped)
                on_wire = word32(data, position + 24, swapped)
                if taken > room:
                    return count, position, BAD_CAPTURE, last_ns
                ticks = np.uint64(word32(data, position + 12, swapped)) << np.uint64(32)
                ticks |= np.uint64(word32(data, position + 16, swapped))
                if ticks > interface[MOST_TICKS]:
                    return count, position, BAD_TIME, last_ns
                last_ns = to_ns(ticks, interface) + np.int64(interface[OFFSET_NS])
                starts[count] = position + 28
            time_ns[count] = last_ns
            captured[count] = taken
            wire[count] = on_wire
            links[count] = interface[LINK]
            count += 1
        position = following
    return count, position, FULL, last_ns
