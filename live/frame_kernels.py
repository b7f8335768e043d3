"""Hot loop that turns pcap records of raw IP headers into records of whole Ethernet frames (`frames.py` says what for).

The headers come from traces/writer_kernels.py. Behind them stand zeros up to the IP length, which leave a checksum as
it is, so the sums run over headers only.
"""

from __future__ import annotations

import numpy as np

from ..kernels import inline_kernel, kernel
from ..traces.writer_kernels import (
    AUTHENTICATION,
    DESTINATION_OPTIONS,
    ICMP,
    ICMPV6,
    RECORD_WORDS,
    TCP,
    UDP,
)

RECORD_BYTES = 16
ETHERNET_BYTES = 14


@inline_kernel
def _put_little(out, at, value):
    """Write 32 bits in the byte order that `frames.py` declares in the file's header."""
    for i in range(4):
        out[at + i] = (value >> (8 * i)) & 0xFF


@inline_kernel
def _put_mac(out, at, host):
    """Write the MAC address of a host (topologies/addresses.py), by its number in its name."""
    out[at] = 2
    out[at + 1] = out[at + 2] = out[at + 3] = 0
    out[at + 4] = host >> 8
    out[at + 5] = host & 0xFF


@inline_kernel
def _sum16(data, begin, end):
    """Add up the 16-bit numbers of an even number of bytes."""
    total = np.int64(0)
    for i in range(begin, end, 2):
        total += np.int64(data[i]) << 8 | np.int64(data[i + 1])
    return total


@kernel
def fill_in_checksum(out, ip, end, ip_bytes):
    """Write the checksum of the TCP, UDP or ICMP header of the packet whose headers are out[ip:end].

    Later fragments, headers that are cut off and SCTP, which has another kind of checksum, stay as they are.
    """
    if out[ip] >> 4 == 4:
        protocol, at, addresses = np.int64(out[ip + 9]), ip + 4 * (np.int64(out[ip]) & 15), ip + 12
        if (np.int64(out[ip + 6]) & 0x1F) << 8 | np.int64(out[ip + 7]):
            return
    else:
        protocol, at, addresses = np.int64(out[ip + 6]), ip + 40, ip + 8
        while protocol in (DESTINATION_OPTIONS, AUTHENTICATION):
            unit, extra = (8, 1) if protocol == DESTINATION_OPTIONS else (4, 2)
            protocol, at = np.int64(out[at]), at + unit * (np.int64(out[at + 1]) + extra)
    if protocol == TCP:
        place, least = 16, 20
    elif protocol == UDP:
        place, least = 6, 8
    elif protocol in (ICMP, ICMPV6):
        place, least = 2, 4
    else:
        return
    if at + least > end:
        return
    total = _sum16(out, at, end)
    if protocol != ICMP:
        total += _sum16(out, addresses, addresses + (8 if out[ip] >> 4 == 4 else 32)) + protocol + ip_bytes - (at - ip)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    total = ~total & 0xFFFF
    if total == 0 and protocol == UDP:
        total = 0xFFFF
    out[at + place], out[at + place + 1] = total >> 8, total & 0xFF


@kernel
def write_frames(words, filled, packets, source, destination, out):
    """Write a record with an Ethernet frame for each record of raw IP headers, until `out` is too full for another.

    `words[:filled]` and its bytes are what `write_records` made of `packets` packets, all from the host `source`;
    `destination` is the number in the name of the host that each goes to. Returns (packets done, words read, bytes
    written).
    """
    data = words.view(np.uint8)
    at = written = np.int64(0)
    for i in range(packets):
        headers, ip_bytes = np.int64(words[at + 2]), np.int64(words[at + 3])
        length = ETHERNET_BYTES + ip_bytes
        if written + RECORD_BYTES + length > len(out):
            return i, at, written
        for word in range(2):
            _put_little(out, written + 4 * word, np.int64(words[at + word]))
            _put_little(out, written + 8 + 4 * word, length)
        frame = written + RECORD_BYTES
        _put_mac(out, frame, destination[i])
        _put_mac(out, frame + 6, source)
        ip = frame + ETHERNET_BYTES
        first = 4 * (at + RECORD_WORDS)
        for byte in range(headers):
            out[ip + byte] = data[first + byte]
        out[ip + headers : ip + ip_bytes] = 0
        out[ip - 2], out[ip - 1] = (0x08, 0x00) if out[ip] >> 4 == 4 else (0x86, 0xDD)
        fill_in_checksum(out, ip, ip + headers, ip_bytes)
        at += RECORD_WORDS + headers // 4
        written = frame + length
    return packets, at, written
