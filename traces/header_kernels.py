"""From captured bytes to packet columns: IP and transport header (`link_kernels.py` finds where IP begins).

The loops over a file's packets (`pcap_kernels.py`, `pcapng_kernels.py`) take `decode_packet` into themselves,
so a packet's bytes are read once. Every read is checked against the captured length: no input makes it read
beyond a packet.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels import inline_kernel, lean_kernel
from .bytes_kernels import big16, big32, big64, byte_at
from .link_kernels import EITHER_IP, ETHERNET, ETHERTYPE_IPV4, NO_IP, RAW, RAW_4, behind_link, is_vlan

NOT_IP, CUT_OFF, MALFORMED, OUT_OF_ORDER = range(4)
SKIP_REASONS = ("not_ip", "cut_off", "malformed", "out_of_order")
"""Why a packet is not measured: positions in the array of counts, and their names."""
VLAN_TAGGED = len(SKIP_REASONS)
"""Position, behind them, of the count of packets that were measured and had a VLAN tag."""
UNTIMED = VLAN_TAGGED + 1
"""Position of the count of packets that were measured and have no time in the file."""
COUNTS = UNTIMED + 1

HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, NO_NEXT, DESTINATION = 0, 43, 44, 51, 59, 60
TCP, UDP, SCTP = 6, 17, 132
JUMBO_PAYLOAD = 0xC2


@lean_kernel
def behind_extensions(data, protocol, at, end):
    """Follow the chain of IPv6 extension headers; return (last protocol, where it begins, whether ports may
    follow).

    ESP and "no next header" end the chain, and so does a header that is cut.
    """
    while True:
        if protocol in (HOP_BY_HOP, ROUTING, DESTINATION):
            if at + 2 > end:
                return protocol, at, False
            following = at + (byte_at(data, at + 1) + 1) * 8
        elif protocol == AUTHENTICATION:
            if at + 2 > end:
                return protocol, at, False
            following = at + (byte_at(data, at + 1) + 2) * 4
        elif protocol == FRAGMENT:
            if at + 8 > end:
                return protocol, at, False
            following = at + 8
            if big16(data, at + 2) >> 3 != 0:
                return byte_at(data, at), following, False
        else:
            return protocol, at, True
        protocol = byte_at(data, at)
        at = following


@lean_kernel
def jumbo_bytes(data, at, end):
    """Return the payload's length that a hop-by-hop header at `at` says (jumbo payload option, RFC 2675), or 0."""
    if at + 2 > end:
        return 0
    last = min(at + (byte_at(data, at + 1) + 1) * 8, end)
    at += 2
    while at + 6 <= last:
        kind, length = byte_at(data, at), byte_at(data, at + 1)
        if kind == JUMBO_PAYLOAD and length == 4:
            return big32(data, at + 2)
        at += 1 if kind == 0 else 2 + length
    return 0


@lean_kernel
def decode_any_packet(
    data, start, end, on_wire, link, now_ns,
    time_ns, src, dst, src_port, dst_port, protocols, ip_bytes, payload_bytes, tcp_flags, tcp_seq, dscp,
    at, skipped,
):  # fmt: skip
    """Do what `decode_packet` does, for a packet of any kind."""
    kind, ip = behind_link(data, link, start, end, start + max(on_wire, end - start))
    if kind == NO_IP:
        skipped[NOT_IP] += 1
        return at
    if ip >= end:
        skipped[MALFORMED if on_wire <= end - start else CUT_OFF] += 1
        return at
    row = np.uint64(at)
    high, low = row + row, row + row + np.uint64(1)
    version = byte_at(data, ip) >> 4
    if kind != EITHER_IP and kind != version:
        skipped[MALFORMED] += 1
        return at
    ports_follow = True
    if version == 4:
        header_bytes = (byte_at(data, ip) & 15) * 4
        if header_bytes < 20:
            skipped[MALFORMED] += 1
            return at
        header_end = ip + header_bytes
        if header_end > end:
            skipped[MALFORMED if on_wire <= end - start else CUT_OFF] += 1
            return at
        total = big16(data, ip + 2)
        if total == 0:  # segmentation offload: the length did not fit, or the card fills it in
            total = max(on_wire, end - start) - (ip - start)
        if total < header_bytes:
            skipped[MALFORMED] += 1
            return at
        protocol = byte_at(data, ip + 9)
        ports_follow = big16(data, ip + 6) & 0x1FFF == 0
        src[high] = 0
        src[low] = np.uint64(0xFFFF00000000 | big32(data, ip + 12))
        dst[high] = 0
        dst[low] = np.uint64(0xFFFF00000000 | big32(data, ip + 16))
        dscp[row] = byte_at(data, ip + 1) >> 2
    elif version == 6:
        if ip + 40 > end:
            skipped[MALFORMED if on_wire <= end - start else CUT_OFF] += 1
            return at
        total = 40 + big16(data, ip + 4)
        protocol = byte_at(data, ip + 6)
        if total == 40 and protocol != NO_NEXT:  # a jumbogram, or segmentation offload
            jumbo = jumbo_bytes(data, ip + 40, end) if protocol == HOP_BY_HOP else 0
            total = 40 + jumbo if jumbo > 0 else max(on_wire, end - start) - (ip - start)
        protocol, header_end, ports_follow = behind_extensions(data, protocol, ip + 40, min(end, ip + total))
        src[high] = big64(data, ip + 8)
        src[low] = big64(data, ip + 16)
        dst[high] = big64(data, ip + 24)
        dst[low] = big64(data, ip + 32)
        dscp[row] = big16(data, ip) >> 6 & 63
    else:
        skipped[NOT_IP] += 1
        return at
    here = min(end, ip + total) - header_end  # bytes of the transport header and behind that were captured
    source_port = np.int64(0)
    destination_port = np.int64(0)
    payload: Any = np.int64(0)
    flags = np.int64(0)
    seq = np.int64(0)
    if ports_follow and protocol in (TCP, UDP, SCTP):
        if here >= 4:
            source_port = big16(data, header_end)
            destination_port = big16(data, header_end + 2)
        payload = ip + total - header_end
        if protocol == UDP:
            payload -= 8
        elif protocol == SCTP:
            payload -= 12
        elif here >= 14:
            offset = (byte_at(data, header_end + 12) >> 4) * 4
            payload = payload - offset if offset >= 20 else 0
            flags = byte_at(data, header_end + 13)
            seq = big32(data, header_end + 4)
        else:  # without the sequence number a payload would look like a retransmission
            payload = 0
    src_port[row] = source_port
    dst_port[row] = destination_port
    protocols[row] = protocol
    ip_bytes[row] = total
    payload_bytes[row] = max(payload, 0)
    tcp_flags[row] = flags
    tcp_seq[row] = seq
    time_ns[row] = now_ns
    if link == ETHERNET and is_vlan(big16(data, start + 12)):
        skipped[VLAN_TAGGED] += 1
    return at + 1


@inline_kernel
def decode_packet(
    data, start, end, on_wire, link, now_ns,
    time_ns, src, dst, src_port, dst_port, protocols, ip_bytes, payload_bytes, tcp_flags, tcp_seq, dscp,
    at, skipped,
):  # fmt: skip
    """Write the columns of the packet in data[start:end] to row `at`; return the next free row.

    A packet that cannot be measured is counted in `skipped`, and the row stays free. `on_wire` is the length
    of the whole packet, link header included. `src` and `dst` are flat: high word and low word in turn.

    What nearly all packets are, TCP or UDP in IPv4 without options, takes few steps here and has no branch between
    the two; "in" would compile to slower code. All others are left to a function of their own, so that the loops
    which take this one into themselves stay short.
    """
    ip = start + 14 * np.int64(link == ETHERNET)
    if ip + 34 <= end and (
        (link - RAW) * (link - RAW_4) == 0 or (link == ETHERNET and big16(data, start + 12) == ETHERTYPE_IPV4)
    ):
        row = np.uint64(at)
        high, low = row + row, row + row + np.uint64(1)
        word = big64(data, ip)  # version, header length, type of service, total length, identification, fragment
        total = np.int64(word >> np.uint64(32) & np.uint64(0xFFFF))
        protocol = byte_at(data, ip + 9)
        if (
            word & np.uint64(0xFF000000_00001FFF) == np.uint64(0x45000000_00000000)
            and total >= 34
            and (protocol ^ TCP) * (protocol ^ UDP) == 0
        ):
            tcp = np.int64(protocol == TCP)
            ports = big64(data, ip + 20)  # ports, sequence number
            last = big16(data, ip + 32)  # length of the TCP header, flags
            behind = total - 20 - (tcp * (last >> 12) * 4 + (1 - tcp) * 8)
            time_ns[row] = now_ns
            src[high] = 0
            src[low] = np.uint64(0xFFFF00000000 | big32(data, ip + 12))
            dst[high] = 0
            dst[low] = np.uint64(0xFFFF00000000 | big32(data, ip + 16))
            src_port[row] = ports >> np.uint64(48)
            dst_port[row] = ports >> np.uint64(32)
            protocols[row] = protocol
            ip_bytes[row] = total
            payload_bytes[row] = max(behind, 0) * np.int64(last >> 12 >= 5 * tcp)
            tcp_flags[row] = last * tcp
            tcp_seq[row] = ports * np.uint64(tcp)
            dscp[row] = word >> np.uint64(50) & np.uint64(63)
            return at + 1
    return decode_any_packet(
        data, start, end, on_wire, link, now_ns,
        time_ns, src, dst, src_port, dst_port, protocols, ip_bytes, payload_bytes, tcp_flags, tcp_seq, dscp,
        at, skipped,
    )  # fmt: skip
