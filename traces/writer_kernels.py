"""Hot loops that turn packet columns into pcap records of raw IP headers (`writer.py` says what for).

Every header written is a number of 32-bit words, so records are made of words, in the machine's byte order.
"""

from __future__ import annotations

import numpy as np

from ..kernels import inline_kernel, kernel

RECORD_WORDS = 4
IPV4_WORDS = 5
IPV6_WORDS = 10
FRAGMENT_WORDS = 2
LONGEST_OPTIONS_WORDS = 10
LONGEST_EXTENSION_WORDS = 256
ICMP, TCP, UDP, ICMPV6, SCTP = 1, 6, 17, 58, 132
DESTINATION_OPTIONS, FRAGMENT, AUTHENTICATION = 60, 44, 51
FOUR_NOPS = np.uint32(0x01010101)

WHOLE, LATER_FRAGMENT, CUT, BAD_OFFSET, IMPOSSIBLE = 0, 1, 2, 3, 4


@inline_kernel
def network_order(word):
    """Turn a number of 32 bits into the word whose first byte in memory is the most significant."""
    return np.uint32((word & 0xFF) << 24 | (word & 0xFF00) << 8 | (word >> 8) & 0xFF00 | (word >> 24) & 0xFF)


@inline_kernel
def is_ipv4(src_high, src_low, dst_high, dst_low):
    """Say whether both addresses of a packet are IPv4 addresses."""
    upper = (src_low >> np.uint64(32)) ^ np.uint64(0xFFFF) | (dst_low >> np.uint64(32)) ^ np.uint64(0xFFFF)
    return (src_high | dst_high | upper) == np.uint64(0)


@kernel
def header_shape(ipv4, protocol, ip_bytes, payload_bytes, has_ports, has_tcp_fields):
    """Find headers that a reader understands as the given columns: (kind, words of IP header, of next).

    1. What IP length and payload leave beyond the smallest headers becomes TCP options, then IPv4 options or
       an IPv6 extension header, all of them padding.
    2. Where that cannot be, a packet without payload, flags and sequence number is a later fragment if it has
       no ports, else one whose transport header was cut off behind the ports.
    3. A TCP packet that has them has an offset that points nowhere.
    """
    base = IPV4_WORDS if ipv4 else IPV6_WORDS
    room = ip_bytes - 4 * base
    if room < 0:
        return IMPOSSIBLE, 0, 0
    if protocol != TCP and protocol != UDP and protocol != SCTP:
        is_icmp = protocol in (ICMP, ICMPV6)
        return WHOLE, base, min(2, room // 4) if is_icmp else 0
    transport = 5 if protocol == TCP else (2 if protocol == UDP else 3)
    slack_bytes = room - 4 * transport - payload_bytes
    if slack_bytes >= 0 and slack_bytes % 4 == 0:  # 1.
        slack = slack_bytes // 4
        options = min(slack, LONGEST_OPTIONS_WORDS) if protocol == TCP else 0
        if not ipv4 and options > 0 and slack - options == 1:  # no extension header is that short
            options -= 1
        extra = slack - options
        if extra <= LONGEST_OPTIONS_WORDS if ipv4 else (extra != 1 and extra <= LONGEST_EXTENSION_WORDS):
            return WHOLE, base + extra, transport + options
    if payload_bytes == 0 and not has_tcp_fields:  # 2.
        if has_ports and room >= 4:
            return CUT, base, 1
        if not has_ports and ipv4:
            return LATER_FRAGMENT, base, 0
        if not has_ports:
            fits = room >= 4 * FRAGMENT_WORDS
            return LATER_FRAGMENT if fits else CUT, base + (FRAGMENT_WORDS if fits else 0), 0
    if payload_bytes == 0 and protocol == TCP and room >= 14:  # 3.
        return BAD_OFFSET, base, 5
    return IMPOSSIBLE, 0, 0


@kernel
def put_ipv4(out, at, src, dst, protocol, ip_bytes, dscp, words, kind):
    """Write an IPv4 header with its checksum; a length beyond 16 bits stands as 0, as offloading does it."""
    first = (0x40 | words) << 24 | dscp << 18 | (ip_bytes if ip_bytes <= 0xFFFF else 0)
    second = 1 if kind == LATER_FRAGMENT else 0x4000
    third = 64 << 24 | protocol << 16
    options = words - IPV4_WORDS
    total = (first >> 16) + (first & 0xFFFF) + second + (third >> 16) + options * 0x0202
    total += (src >> 16) + (src & 0xFFFF) + (dst >> 16) + (dst & 0xFFFF)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    out[at] = network_order(first)
    out[at + 1] = network_order(second)
    out[at + 2] = network_order(third | (~total & 0xFFFF))
    out[at + 3] = network_order(src)
    out[at + 4] = network_order(dst)
    for i in range(options):
        out[at + IPV4_WORDS + i] = FOUR_NOPS


@kernel
def put_address(out, at, high, low):
    """Write an IPv6 address."""
    shift, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    out[at] = network_order(np.int64(high >> shift))
    out[at + 1] = network_order(np.int64(high & mask))
    out[at + 2] = network_order(np.int64(low >> shift))
    out[at + 3] = network_order(np.int64(low & mask))


@kernel
def put_ipv6(out, at, protocol, ip_bytes, dscp, words, kind):
    """Write an IPv6 header but for the addresses, and behind it an extension header.

    Padding is a destination options header, or an authentication header for an odd number of words.
    """
    extension = words - IPV6_WORDS
    behind = ip_bytes - 4 * IPV6_WORDS
    next_header, detail = protocol, 0
    if kind == LATER_FRAGMENT:
        next_header, detail = FRAGMENT, 1 << 3
    elif extension % 2 == 1:
        next_header, detail = AUTHENTICATION, (extension - 2) << 16
    elif extension > 0:
        next_header, detail = DESTINATION_OPTIONS, (extension // 2 - 1) << 16
    out[at] = network_order(6 << 28 | dscp << 22)
    out[at + 1] = network_order((behind if behind <= 0xFFFF else 0) << 16 | next_header << 8 | 64)
    for i in range(extension):
        out[at + IPV6_WORDS + i] = 0
    if extension > 0:
        out[at + IPV6_WORDS] = network_order(protocol << 24 | detail)


@kernel
def put_transport(out, at, protocol, words, src_port, dst_port, seq, flags, behind, kind):
    """Write a TCP, UDP, SCTP or ICMP header; `behind` is how many bytes the IP header leaves for it."""
    if words == 0:
        return
    for i in range(1, words):
        out[at + i] = 0
    out[at] = network_order(src_port << 16 | dst_port)
    if protocol == TCP and words >= 5:
        out[at + 1] = network_order(seq)
        out[at + 3] = network_order((0 if kind == BAD_OFFSET else words) << 28 | flags << 16 | 0xFFFF)
        for i in range(5, words):
            out[at + i] = FOUR_NOPS
    elif protocol == UDP and words >= 2:
        out[at + 1] = network_order((behind if behind <= 0xFFFF else 0) << 16)
    elif protocol in (ICMP, ICMPV6):
        out[at] = network_order((8 if protocol == ICMP else 128) << 24)


@kernel
def write_records(
    time_ns, src, dst, src_port, dst_port, protocol, ip_bytes, payload_bytes, tcp_flags, tcp_seq, dscp, out
):
    """Write one nanosecond pcap record a packet into the words of `out`, until it is too full for another.

    Returns (packets written, words written, whether the next packet is one that no headers can express).
    """
    at = 0
    for i in range(len(time_ns)):
        src_high, src_low, dst_high, dst_low = src[i, 0], src[i, 1], dst[i, 0], dst[i, 1]
        ipv4 = is_ipv4(src_high, src_low, dst_high, dst_low)
        number, length = np.int64(protocol[i]), np.int64(ip_bytes[i])
        has_ports = (src_port[i] | dst_port[i]) != 0
        has_tcp_fields = tcp_flags[i] != 0 or tcp_seq[i] != 0
        kind, network, transport = header_shape(
            ipv4, number, length, np.int64(payload_bytes[i]), has_ports, has_tcp_fields
        )
        if kind == IMPOSSIBLE or time_ns[i] < 0 or time_ns[i] >= 1_000_000_000 << 32:
            return i, at, True
        if at + RECORD_WORDS + network + transport > len(out):
            return i, at, False
        out[at] = np.uint32(time_ns[i] // 1_000_000_000)
        out[at + 1] = np.uint32(time_ns[i] % 1_000_000_000)
        out[at + 2] = np.uint32(4 * (network + transport))
        out[at + 3] = np.uint32(max(length, 4 * (network + transport)))
        at += RECORD_WORDS
        code = np.int64(dscp[i]) & 63
        if ipv4:
            low = np.uint64(0xFFFFFFFF)
            put_ipv4(out, at, np.int64(src_low & low), np.int64(dst_low & low), number, length, code, network, kind)
        else:
            put_ipv6(out, at, number, length, code, network, kind)
            put_address(out, at + 2, src_high, src_low)
            put_address(out, at + 6, dst_high, dst_low)
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
            length - 4 * network,
            kind,
        )
        at += transport
    return len(time_ns), at, False
