"""Hot loops that turn packet columns into pcap records of raw IP headers (`writer.py` says what for)."""

from __future__ import annotations

import numpy as np

from ..kernels import inline_kernel, kernel

RECORD_HEADER = 16
IPV4_HEADER = 20
IPV6_HEADER = 40
FRAGMENT_HEADER = 8
LONGEST_OPTIONS = 40
LONGEST_EXTENSION = 2048
ICMP, TCP, UDP, ICMPV6, SCTP = 1, 6, 17, 58, 132
DESTINATION_OPTIONS, FRAGMENT = 60, 44
NOP = 1

WHOLE, LATER_FRAGMENT, CUT, IMPOSSIBLE = 0, 1, 2, 3


@inline_kernel
def put16(out, at, value):
    """Write 16 bits, the most significant byte first."""
    out[at] = np.uint8((value >> 8) & 0xFF)
    out[at + 1] = np.uint8(value & 0xFF)


@inline_kernel
def put32(out, at, value):
    """Write 32 bits, the most significant byte first."""
    put16(out, at, (value >> 16) & 0xFFFF)
    put16(out, at + 2, value & 0xFFFF)


@inline_kernel
def put32_little(out, at, value):
    """Write 32 bits, the least significant byte first."""
    out[at] = np.uint8(value & 0xFF)
    out[at + 1] = np.uint8((value >> 8) & 0xFF)
    out[at + 2] = np.uint8((value >> 16) & 0xFF)
    out[at + 3] = np.uint8((value >> 24) & 0xFF)


@inline_kernel
def put_words(out, at, high, low):
    """Write the 128 bits of an address, the most significant byte first."""
    for i in range(8):
        shift = np.uint64(56 - 8 * i)
        out[at + i] = np.uint8((high >> shift) & np.uint64(0xFF))
        out[at + 8 + i] = np.uint8((low >> shift) & np.uint64(0xFF))


@inline_kernel
def is_ipv4(src, dst, i):
    """Say whether both addresses of packet i are IPv4 addresses."""
    zero, mapped, shift = np.uint64(0), np.uint64(0xFFFF), np.uint64(32)
    return (
        src[i, 0] == zero
        and dst[i, 0] == zero
        and src[i, 1] >> shift == mapped
        and dst[i, 1] >> shift == mapped
    )


@kernel
def header_shape(ipv4, protocol, ip_bytes, payload_bytes, has_ports, has_tcp_fields):
    """Find headers that a reader understands as the given columns: (kind, IP header bytes, transport header bytes).

    1. What IP length and payload leave beyond the smallest headers becomes TCP options, then IPv4 options or an
       IPv6 destination options header, all of them padding.
    2. Where that cannot be, a packet without payload, flags and sequence number is a later fragment if it has no
       ports, else one whose transport header was cut off behind the ports.
    """
    base = IPV4_HEADER if ipv4 else IPV6_HEADER
    room = ip_bytes - base
    if room < 0:
        return IMPOSSIBLE, 0, 0
    if protocol == ICMP or protocol == ICMPV6:
        return WHOLE, base, min(8, room)
    if protocol != TCP and protocol != UDP and protocol != SCTP:
        return WHOLE, base, 0
    transport = 20 if protocol == TCP else (8 if protocol == UDP else 12)
    slack = room - transport - payload_bytes
    if slack >= 0 and slack % 4 == 0:  # 1.
        options = min(slack, LONGEST_OPTIONS) if protocol == TCP else 0
        if not ipv4 and protocol == TCP and (slack - options) % 8 != 0:
            options -= 4
        extra = slack - options
        if ipv4 and extra <= LONGEST_OPTIONS:
            return WHOLE, base + extra, transport + options
        if not ipv4 and extra % 8 == 0 and extra <= LONGEST_EXTENSION:
            return WHOLE, base + extra, transport + options
    if payload_bytes == 0 and not has_tcp_fields:  # 2.
        if has_ports and room >= 4:
            return CUT, base, 4
        if not has_ports and ipv4:
            return LATER_FRAGMENT, base, 0
        if not has_ports and room >= FRAGMENT_HEADER:
            return LATER_FRAGMENT, base + FRAGMENT_HEADER, 0
    return IMPOSSIBLE, 0, 0


@inline_kernel
def put_ipv4(out, at, src, dst, protocol, ip_bytes, dscp, header, kind):
    """Write an IPv4 header with its checksum; a length beyond 16 bits stands as 0, as offloading cards have it."""
    put16(out, at, (0x40 | header // 4) << 8 | dscp << 2)
    put16(out, at + 2, ip_bytes if ip_bytes <= 0xFFFF else 0)
    put16(out, at + 4, 0)
    put16(out, at + 6, 1 if kind == LATER_FRAGMENT else 0x4000)
    put16(out, at + 8, 64 << 8 | protocol)
    put16(out, at + 10, 0)
    put32(out, at + 12, np.int64(src & np.uint64(0xFFFFFFFF)))
    put32(out, at + 16, np.int64(dst & np.uint64(0xFFFFFFFF)))
    for i in range(at + IPV4_HEADER, at + header):
        out[i] = NOP
    total = 0
    for i in range(at, at + header, 2):
        total += np.int64(out[i]) << 8 | np.int64(out[i + 1])
    total = (total & 0xFFFF) + (total >> 16)
    put16(out, at + 10, ~(total + (total >> 16)) & 0xFFFF)


@inline_kernel
def put_ipv6(out, at, src_high, src_low, dst_high, dst_low, protocol, ip_bytes, dscp, header, kind):
    """Write an IPv6 header and at most one extension header: a fragment's, or destination options as padding."""
    extension = header - IPV6_HEADER
    behind = ip_bytes - IPV6_HEADER
    next_header = protocol
    if extension > 0:
        next_header = FRAGMENT if kind == LATER_FRAGMENT else DESTINATION_OPTIONS
    put32(out, at, 6 << 28 | dscp << 22)
    put16(out, at + 4, behind if behind <= 0xFFFF else 0)
    put16(out, at + 6, next_header << 8 | 64)
    put_words(out, at + 8, src_high, src_low)
    put_words(out, at + 24, dst_high, dst_low)
    for i in range(at + IPV6_HEADER, at + header):
        out[i] = 0
    if extension > 0:
        out[at + IPV6_HEADER] = np.uint8(protocol)
        if kind == LATER_FRAGMENT:
            put16(out, at + IPV6_HEADER + 2, 1 << 3)
        else:
            out[at + IPV6_HEADER + 1] = np.uint8(extension // 8 - 1)


@inline_kernel
def put_transport(out, at, protocol, length, src_port, dst_port, seq, flags, behind):
    """Write a TCP, UDP, SCTP or ICMP header of `length` bytes; `behind` is what the IP header leaves for it."""
    for i in range(at, at + length):
        out[i] = 0
    if protocol == ICMP or protocol == ICMPV6:
        if length > 0:
            out[at] = 8 if protocol == ICMP else 128
    elif length >= 4:
        put16(out, at, src_port)
        put16(out, at + 2, dst_port)
        if protocol == TCP and length >= 20:
            put32(out, at + 4, seq)
            put16(out, at + 12, (length // 4) << 12 | flags)
            put16(out, at + 14, 0xFFFF)
            for i in range(at + 20, at + length):
                out[i] = NOP
        elif protocol == UDP and length >= 8:
            put16(out, at + 4, behind if behind <= 0xFFFF else 0)


@kernel
def record_bytes(
    time_ns, src, dst, src_port, dst_port, protocol, ip_bytes, payload_bytes, tcp_flags, tcp_seq
):
    """Return (bytes that the packets' records take, -1), or (0, the first packet that no headers can express)."""
    total = 0
    for i in range(len(time_ns)):
        kind, network, transport = header_shape(
            is_ipv4(src, dst, i),
            np.int64(protocol[i]),
            np.int64(ip_bytes[i]),
            np.int64(payload_bytes[i]),
            (src_port[i] | dst_port[i]) != 0,
            tcp_flags[i] != 0 or tcp_seq[i] != 0,
        )
        if kind == IMPOSSIBLE or time_ns[i] < 0 or time_ns[i] >= 1_000_000_000 << 32:
            return 0, i
        total += RECORD_HEADER + network + transport
    return total, -1


@kernel
def write_records(
    time_ns, src, dst, src_port, dst_port, protocol, ip_bytes, payload_bytes, tcp_flags, tcp_seq, dscp, out
):
    """Write one nanosecond pcap record a packet, as large together as `record_bytes` says."""
    at = 0
    for i in range(len(time_ns)):
        ipv4 = is_ipv4(src, dst, i)
        number, length = np.int64(protocol[i]), np.int64(ip_bytes[i])
        kind, network, transport = header_shape(
            ipv4,
            number,
            length,
            np.int64(payload_bytes[i]),
            (src_port[i] | dst_port[i]) != 0,
            tcp_flags[i] != 0 or tcp_seq[i] != 0,
        )
        put32_little(out, at, time_ns[i] // 1_000_000_000)
        put32_little(out, at + 4, time_ns[i] % 1_000_000_000)
        put32_little(out, at + 8, network + transport)
        put32_little(out, at + 12, length)
        at += RECORD_HEADER
        code = np.int64(dscp[i]) & 63
        if ipv4:
            put_ipv4(out, at, src[i, 1], dst[i, 1], number, length, code, network, kind)
        else:
            put_ipv6(out, at, src[i, 0], src[i, 1], dst[i, 0], dst[i, 1], number, length, code, network, kind)
        at += network
        put_transport(
            out,
            at,
            number,
            transport,
            np.int64(src_port[i]),
            np.int64(dst_port[i]),
            np.int64(tcp_seq[i]),
            np.int64(tcp_flags[i]),
            length - network,
        )
        at += transport
