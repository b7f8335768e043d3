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
    FRAGMENT,
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
def fill_in_checksum(out, ip, end, ip_bytes, more_bytes):
    """Write the checksum of the TCP, UDP or ICMP header of the packet whose headers are out[ip:end].

    A first fragment, of a datagram that has `more_bytes` beyond it, gets the checksum and length of the whole: what
    follows it are zeros. Later fragments, headers that are cut off and SCTP, which has another kind of checksum, stay
    as they are.
    """
    if out[ip] >> 4 == 4:
        protocol, at, addresses = np.int64(out[ip + 9]), ip + 4 * (np.int64(out[ip]) & 15), ip + 12
        if (np.int64(out[ip + 6]) & 0x1F) << 8 | np.int64(out[ip + 7]):
            return
    else:
        protocol, at, addresses = np.int64(out[ip + 6]), ip + 40, ip + 8
        while protocol in (DESTINATION_OPTIONS, AUTHENTICATION, FRAGMENT):
            if protocol == FRAGMENT and (np.int64(out[at + 2]) << 8 | np.int64(out[at + 3])) >> 3:
                return
            unit, extra = (4, 2) if protocol == AUTHENTICATION else (8, 1)
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
    ip_bytes += more_bytes
    if protocol == UDP and more_bytes:
        whole = ip_bytes - (at - ip)
        out[at + 4], out[at + 5] = whole >> 8, whole & 0xFF
    total = _sum16(out, at, end)
    if protocol != ICMP:
        total += _sum16(out, addresses, addresses + (8 if out[ip] >> 4 == 4 else 32)) + protocol + ip_bytes - (at - ip)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    total = ~total & 0xFFFF
    if total == 0 and protocol == UDP:
        total = 0xFFFF
    out[at + place], out[at + place + 1] = total >> 8, total & 0xFF


@inline_kernel
def _put_fragment(out, ip, identification, offset, more):
    """Make the packet at out[ip:] the fragment of a datagram; `offset` is in units of eight bytes."""
    if out[ip] >> 4 == 4:
        out[ip + 4], out[ip + 5] = identification >> 8, identification & 0xFF
        place = more << 13 | offset
        out[ip + 6], out[ip + 7] = place >> 8, place & 0xFF
        out[ip + 10] = out[ip + 11] = 0
        total = _sum16(out, ip, ip + 4 * (np.int64(out[ip]) & 15))
        total = (total & 0xFFFF) + (total >> 16)
        total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
        out[ip + 10], out[ip + 11] = total >> 8, total & 0xFF
    else:
        out[ip + 6] = FRAGMENT
        place = offset << 3 | more
        out[ip + 41] = out[ip + 44] = out[ip + 45] = 0
        out[ip + 42], out[ip + 43] = place >> 8, place & 0xFF
        out[ip + 46], out[ip + 47] = identification >> 8, identification & 0xFF


@kernel
def write_frames(words, filled, packets, source, destination, fragments, out):
    """Write a record with an Ethernet frame for each record of raw IP headers, until `out` is too full for another.

    `words[:filled]` and its bytes are what `write_records` made of `packets` packets, all from the host `source`;
    `destination` is the number in the name of the host that each goes to, `fragments` what fragments.py says of each.
    Returns (packets done, words read, bytes
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
        more_bytes = np.int64(0)
        if fragments[i, 0]:
            _put_fragment(out, ip, fragments[i, 0], fragments[i, 1], fragments[i, 2])
            if fragments[i, 3]:
                network = 4 * (np.int64(out[ip]) & 15) if out[ip] >> 4 == 4 else 48
                more_bytes = fragments[i, 3] - (ip_bytes - network)
        fill_in_checksum(out, ip, ip + headers, ip_bytes, more_bytes)
        at += RECORD_WORDS + headers // 4
        written = frame + length
    return packets, at, written
