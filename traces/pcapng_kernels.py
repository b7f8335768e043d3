"""Hot loop over the blocks of a pcapng file (`pcapng.py` reads sections and interfaces)."""

from __future__ import annotations

import numpy as np

from ..kernels import flat, inline_kernel, lean_kernel
from .bytes_kernels import word32
from .header_kernels import UNTIMED, decode_packet

(
    FULL,
    NEED_MORE,
    SECTION,
    INTERFACE,
    LONG,
    BAD_LINK,
    BAD_LENGTH,
    BAD_TRAILER,
    NO_INTERFACE,
    BAD_CAPTURE,
    BAD_TIME,
) = range(11)
"""Why the loop stopped; from BAD_LENGTH on the file is damaged or cannot be read."""

LINK, SNAP_BYTES, MULTIPLIER, DIVISOR, SHIFT, MOST_TICKS, OFFSET_NS, INTERFACE_FIELDS = range(8)
"""What is known of an interface: a row of 64-bit words."""
UNKNOWN_LINK = 255

SECTION_BLOCK, INTERFACE_BLOCK, OLD_PACKET, SIMPLE_PACKET, ENHANCED_PACKET = 0x0A0D0D0A, 1, 2, 3, 6


@inline_kernel
def to_ns(ticks, multiplier, divisor, shift):
    """Turn a time stamp of an interface into nanoseconds, rounded down, without its offset."""
    ns = ticks * multiplier
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
    elif divisor != 1:
        ns = ticks // divisor
    return np.int64(ns)


@lean_kernel
def decode_pcapng(
    data, position, end, big, interfaces, known, most_bytes, last_ns,
    time_ns, src, dst, src_port, dst_port, protocols, ip_bytes, payload_bytes, tcp_flags, tcp_seq, dscp,
    at, skipped,
):  # fmt: skip
    """Write the packets of data[position:end] to the rows from `at` on, until the rows or the bytes run out.

    `interfaces` has a row for each of the `known` interfaces of the section. A block that carries a packet or
    an interface and has more than `most_bytes` bytes is damage; others may be longer, and are left to the caller
    to jump over. A simple packet has no time: it gets that of the packet before it, `last_ns` at first.

    Returns (why it stopped, position, next free row, time of the last packet).
    """
    src, dst = flat(src), flat(dst)
    why = FULL
    rows = len(time_ns)
    while at < rows:
        if position + 12 > end:
            why = NEED_MORE
            break
        kind = word32(data, position, big)
        if kind == SECTION_BLOCK:
            why = SECTION
            break
        length = word32(data, position + 4, big)
        packet = kind in (ENHANCED_PACKET, SIMPLE_PACKET, OLD_PACKET)
        header = 12
        if kind in (ENHANCED_PACKET, OLD_PACKET):
            header = 32
        elif kind == SIMPLE_PACKET:
            header = 16
        if length < header or length & 3 != 0 or (length > most_bytes and (packet or kind == INTERFACE_BLOCK)):
            why = BAD_LENGTH
            break
        following = position + length
        if length > most_bytes:
            why = LONG
            break
        if following > end:
            why = NEED_MORE
            break
        if word32(data, following - 4, big) != length:
            why = BAD_TRAILER
            break
        if kind == INTERFACE_BLOCK:
            why = INTERFACE
            break
        if not packet:
            position = following
            continue
        number = 0
        if kind != SIMPLE_PACKET:
            number = word32(data, position + 8, big)
            if kind == OLD_PACKET:
                number = number >> 16 if big else number & 0xFFFF
        if number >= known:
            why = NO_INTERFACE
            break
        which = np.uint64(number)
        link = np.int64(interfaces[which, LINK])
        if link == UNKNOWN_LINK:
            why = BAD_LINK
            break
        if kind == SIMPLE_PACKET:
            start = position + 12
            on_wire = word32(data, position + 8, big)
            captured = min(on_wire, length - header)
            if interfaces[which, SNAP_BYTES] != 0:
                captured = min(captured, np.int64(interfaces[which, SNAP_BYTES]))
        else:
            start = position + 28
            captured = word32(data, position + 20, big)
            on_wire = word32(data, position + 24, big)
            if captured > length - header:
                why = BAD_CAPTURE
                break
            ticks = np.uint64(word32(data, position + 12, big)) << np.uint64(32)
            ticks |= np.uint64(word32(data, position + 16, big))
            if ticks > interfaces[which, MOST_TICKS]:
                why = BAD_TIME
                break
            multiplier, divisor = interfaces[which, MULTIPLIER], interfaces[which, DIVISOR]
            last_ns = to_ns(ticks, multiplier, divisor, interfaces[which, SHIFT])
            last_ns += np.int64(interfaces[which, OFFSET_NS])
        before = at
        at = decode_packet(
            data, start, start + captured, on_wire, link, last_ns,
            time_ns, src, dst, src_port, dst_port, protocols, ip_bytes, payload_bytes, tcp_flags, tcp_seq,
            dscp, at, skipped,
        )  # fmt: skip
        if kind == SIMPLE_PACKET:
            skipped[UNTIMED] += at - before
        position = following
    return why, position, at, last_ns
