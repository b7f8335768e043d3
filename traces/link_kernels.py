"""From the first captured byte of a packet to its IP header: link types, tags, labels and encapsulations.

A link header leads to an ethertype, and `step` from each ethertype to the one behind its header, until IP
comes or something that is not IP. Numbers: IEEE 802 ethertypes, PPP (RFC 1661), PPPoE (RFC 2516), MPLS (RFC 3032),
Ethernet over MPLS (RFC 4448), NSH (RFC 8300). Where a header is cut off, so is the IP header.
"""

from __future__ import annotations

from ..kernels import lean_kernel
from .bytes_kernels import big16, big32, byte_at

(
    ETHERNET, RAW, RAW_4, RAW_6, COOKED, COOKED_2, PPP, CISCO_HDLC, LOOPBACK, FDDI, WIFI, RADIOTAP, NFLOG, UNREAD,
) = range(14)  # fmt: skip
"""How a packet's bytes begin; `links.py` maps the link types of trace files to these. UNREAD is never IP."""

ETHERTYPE_IPV4, ETHERTYPE_IPV6, ARP = 0x0800, 0x86DD, 0x0806
MPLS, MPLS_MULTICAST = 0x8847, 0x8848
PPPOE, E_TAG, VN_TAG, NSH = 0x8864, 0x893F, 0x8926, 0x894F
PROVIDER_BACKBONE, FABRIC_PATH, JUMBO_LLC = 0x88E7, 0x8903, 0x8870
LONGEST_LLC = 1500
"""Up to here an ethertype is the length of an LLC frame."""

CUT, NOTHING, SOME_IP, ETHERNET_FRAME = -1, -2, -3, -4
"""What stands in the place of an ethertype: a header that is cut, what is never IP, IP of the version in its first
byte, an Ethernet frame."""

IPV4, IPV6, EITHER_IP, NO_IP = 4, 6, 0, -1
"""What the link layer says of what follows; EITHER_IP where it leaves that to the version in the IP
header."""


@lean_kernel
def is_vlan(ethertype):
    """Say whether an ethertype is that of a VLAN tag."""
    return ethertype == 0x8100 or ethertype == 0x88A8 or ethertype == 0x9100 or ethertype == 0x9200


@lean_kernel
def step_tag(data, at, length, end):
    """Jump over a tag of `length` bytes that ends with an ethertype; return (ethertype, where its data begins)."""
    if at + length > end:
        return CUT, end
    return big16(data, at + length - 2), at + length


@lean_kernel
def step_ethernet(data, at, end):
    """Jump over the addresses and the ethertype of an Ethernet frame."""
    return step_tag(data, at, 14, end)


@lean_kernel
def step_llc(data, at, end):
    """Read an IEEE 802.2 header: SNAP with an ethertype, or IP by its own service access point."""
    if at + 3 > end:
        return CUT, end
    sap, control = big16(data, at), byte_at(data, at + 2)
    if sap == 0x0606 and control == 3:
        return ETHERTYPE_IPV4, at + 3
    if sap != 0xAAAA or control != 3:
        return NOTHING, at
    if at + 8 > end:
        return CUT, end
    vendor = big32(data, at + 2) & 0xFFFFFF
    ethertype = big16(data, at + 6)
    if (vendor == 0 or vendor == 0xF8) and ethertype > LONGEST_LLC:  # RFC 1042, and IEEE 802.1H for bridges
        return ethertype, at + 8
    return NOTHING, at


@lean_kernel
def step_ppp(data, at, end):
    """Read a PPP header, with or without HDLC framing (ff 03) and with a protocol of one byte or two."""
    if at + 2 <= end and byte_at(data, at) == 0xFF and byte_at(data, at + 1) == 0x03:
        at += 2
    if at >= end:
        return CUT, end
    protocol = byte_at(data, at)
    at += 1
    if protocol & 1 == 0:
        if at >= end:
            return CUT, end
        protocol = protocol << 8 | byte_at(data, at)
        at += 1
    if protocol == 0x0021:
        return ETHERTYPE_IPV4, at
    if protocol == 0x0057:
        return ETHERTYPE_IPV6, at
    if protocol == 0x0281 or protocol == 0x0283:
        return MPLS, at
    return NOTHING, at


@lean_kernel
def step_pppoe(data, at, end):
    """Read the header of a PPPoE session; other codes than 0 are of its control."""
    if at + 6 > end:
        return CUT, end
    if byte_at(data, at) != 0x11 or byte_at(data, at + 1) != 0:
        return NOTHING, at
    return step_ppp(data, at + 6, end)


@lean_kernel
def step_nsh(data, at, end):
    """Read a network service header, whose length is in words of four bytes."""
    if at + 4 > end:
        return CUT, end
    following = at + (byte_at(data, at + 1) & 63) * 4
    protocol = byte_at(data, at + 3)
    if byte_at(data, at) >> 6 != 0 or following < at + 8:
        return NOTHING, at
    if protocol == 1:
        return ETHERTYPE_IPV4, following
    if protocol == 2:
        return ETHERTYPE_IPV6, following
    if protocol == 3:
        return ETHERNET_FRAME, following
    if protocol == 4:
        return NSH, following
    if protocol == 5:
        return MPLS, following
    return NOTHING, at


@lean_kernel
def is_known(ethertype, room):
    """Say whether a frame with this ethertype and `room` bytes behind it is one that networks carry.

    Among them are ARP, LLDP, EAPOL, MACsec, CFM, PTP, PPPoE's control, slow protocols and loops.
    """
    if ethertype <= LONGEST_LLC:
        return 3 <= ethertype <= room
    if is_vlan(ethertype) or ethertype in (ETHERTYPE_IPV4, ETHERTYPE_IPV6):
        return True
    if ethertype in (MPLS, MPLS_MULTICAST, PPPOE, E_TAG, VN_TAG, NSH, PROVIDER_BACKBONE, FABRIC_PATH, JUMBO_LLC):
        return True
    return ethertype in (ARP, 0x88CC, 0x888E, 0x88E5, 0x8902, 0x88F7, 0x8863, 0x8809, 0x9000)


@lean_kernel
def ip_fits(data, version, at, end, wire_end):
    """Say whether an IP header of this version stands there whose packet ends within the wire's bytes."""
    if at >= end:
        return at < wire_end
    if byte_at(data, at) >> 4 != version:
        return False
    if version == 4:
        if byte_at(data, at) & 15 < 5:
            return False
        return at + 4 > end or at + big16(data, at + 2) <= wire_end
    return at + 6 > end or at + 40 + big16(data, at + 4) <= wire_end


@lean_kernel
def likeness(data, at, end, wire_end):
    """Say how much the bytes look like an Ethernet frame: 2 with fitting IP or ARP, 1 with a known ethertype, 0."""
    ethertype, at = step_ethernet(data, at, end)
    if ethertype == CUT or not is_known(ethertype, wire_end - at):
        return 0
    while is_vlan(ethertype):
        ethertype, at = step_tag(data, at, 4, end)
    if ethertype == ETHERTYPE_IPV4:
        return 2 if ip_fits(data, 4, at, end, wire_end) else 0
    if ethertype == ETHERTYPE_IPV6:
        return 2 if ip_fits(data, 6, at, end, wire_end) else 0
    if ethertype == ARP and at + 6 <= end and big32(data, at) == 0x00010800 and big16(data, at + 4) == 0x0604:
        return 2
    return 1


@lean_kernel
def is_ipv4_checksum_right(data, at, end):
    """Say whether an IPv4 header is captured whole and its checksum is right."""
    length = (byte_at(data, at) & 15) * 4
    if length < 20 or at + length > end:
        return False
    total = 0
    for place in range(at, at + length, 2):
        total += big16(data, place)
    total = (total & 0xFFFF) + (total >> 16)
    return (total & 0xFFFF) + (total >> 16) == 0xFFFF


@lean_kernel
def behind_labels(data, at, end, wire_end):
    """Decide what follows the last MPLS label, which says nothing of that itself; return (what, where).

    1. IPv4 with a right checksum is IPv4, whatever else the bytes may look like.
    2. A fitting Ethernet frame with IP or ARP is one, behind a control word (0 in its first four bits) or not: its
       first byte is one of an address, so it may look like IPv4 or IPv6.
    3. 4 or 6 in the first four bits is IP where the whole packet fits into the wire's bytes.
    4. What is left is an Ethernet frame where it has a known ethertype, else nothing that can be measured.
    """
    if at >= end:
        return SOME_IP, at
    first = byte_at(data, at) >> 4
    if first == 4 and is_ipv4_checksum_right(data, at, end):  # 1.
        return SOME_IP, at
    plain = likeness(data, at, end, wire_end)
    behind_word = likeness(data, at + 4, end, wire_end) if first == 0 else 0
    if behind_word == 2:  # 2.
        return ETHERNET_FRAME, at + 4
    if plain == 2:
        return ETHERNET_FRAME, at
    if (first == 4 or first == 6) and ip_fits(data, first, at, end, wire_end):  # 3.
        return SOME_IP, at
    if behind_word == 1:  # 4.
        return ETHERNET_FRAME, at + 4
    if plain == 1:
        return ETHERNET_FRAME, at
    if first == 4 and at + 2 <= end and byte_at(data, at) & 15 < 5:
        return SOME_IP, at  # malformed
    if at + 18 > end and end < wire_end:
        return CUT, end
    return NOTHING, at


@lean_kernel
def step_labels(data, at, end, wire_end):
    """Jump over a stack of MPLS labels."""
    bottom = False
    while not bottom:
        if at + 4 > end:
            return CUT, end
        bottom = byte_at(data, at + 2) & 1 == 1
        at += 4
    return behind_labels(data, at, end, wire_end)


@lean_kernel
def step(data, ethertype, at, end, wire_end):
    """Go one header further: return the next (ethertype, where its data begins)."""
    if is_vlan(ethertype):
        return step_tag(data, at, 4, end)
    if ethertype == ETHERNET_FRAME:
        return step_ethernet(data, at, end)
    if ethertype in (MPLS, MPLS_MULTICAST):
        return step_labels(data, at, end, wire_end)
    if ethertype == PPPOE:
        return step_pppoe(data, at, end)
    if 0 <= ethertype <= LONGEST_LLC or ethertype == JUMBO_LLC:
        return step_llc(data, at, end)
    if ethertype == VN_TAG:
        return step_tag(data, at, 6, end)
    if ethertype == E_TAG:
        return step_tag(data, at, 8, end)
    if ethertype == NSH:
        return step_nsh(data, at, end)
    if ethertype == PROVIDER_BACKBONE:  # the service's tag, then the customer's frame
        return step_tag(data, at, 4 + 14, end)
    if ethertype == FABRIC_PATH:
        return step_tag(data, at, 2 + 14, end)
    return NOTHING, at


@lean_kernel
def behind_ethertype(data, ethertype, at, end, wire_end):
    """Follow all that stands between an ethertype and an IP header; return (what follows, where)."""
    while True:
        if ethertype == ETHERTYPE_IPV4:
            return IPV4, at
        if ethertype == ETHERTYPE_IPV6:
            return IPV6, at
        if ethertype == SOME_IP:
            return EITHER_IP, at
        if ethertype == CUT:
            return EITHER_IP, end
        if ethertype == NOTHING:
            return NO_IP, at
        ethertype, at = step(data, ethertype, at, end, wire_end)


@lean_kernel
def behind_family(data, at, end):
    """Read the address family of a BSD loopback, in the byte order of the machine that wrote it or of networks."""
    if at + 4 > end:
        return CUT, end
    family = big32(data, at)
    if family > 0xFFFF:  # written by a machine of the other byte order
        family = byte_at(data, at + 1) << 8 | byte_at(data, at)
        if big16(data, at + 2) != 0:
            return NOTHING, at
    if family == 2:
        return ETHERTYPE_IPV4, at + 4
    if family == 24 or family == 28 or family == 30 or family == 10:  # AF_INET6 of NetBSD, FreeBSD, macOS, Linux
        return ETHERTYPE_IPV6, at + 4
    return NOTHING, at


@lean_kernel
def behind_radiotap(data, at, end):
    """Return (where the 802.11 header begins, whether padding to four bytes follows it) behind a radiotap header.

    The header is little-endian; padding is said by a flag, which stands behind the words that say what is present
    and behind a time of eight bytes, aligned to eight.
    """
    if at + 8 > end:
        return end, False
    length = byte_at(data, at + 3) << 8 | byte_at(data, at + 2)
    present = byte_at(data, at + 4)
    place = at + 8
    while place + 4 <= end and byte_at(data, place - 1) & 0x80 != 0:
        place += 4
    if present & 1 != 0:
        place = at + (place - at + 7) // 8 * 8 + 8
    padded = present & 2 != 0 and place < end and byte_at(data, place) & 0x20 != 0
    return min(at + max(length, 8), end), padded


@lean_kernel
def behind_wifi(data, at, end, padded):
    """Read the header of an IEEE 802.11 frame: plain data, whole or a first fragment, leads to LLC."""
    if at + 2 > end:
        return CUT, end
    control, flags = byte_at(data, at), byte_at(data, at + 1)
    if control & 0x0F != 8 or control & 0x40 != 0 or flags & 0x40 != 0:  # no data frame, none in it, or encrypted
        return NOTHING, at
    if at + 24 > end:
        return CUT, end
    if byte_at(data, at + 22) & 15 != 0:
        return NOTHING, at
    length = 24 + (6 if flags & 3 == 3 else 0)
    aggregated = False
    if control & 0x80 != 0:  # quality of service
        if at + length + 2 > end:
            return CUT, end
        aggregated = byte_at(data, at + length) & 0x80 != 0
        length += 2 + (4 if flags & 0x80 != 0 else 0)
    if padded:
        length = (length + 3) // 4 * 4
    if aggregated:  # the first of several packets stands for all
        length += 14
    return step_llc(data, min(at + length, end), end)


@lean_kernel
def behind_nflog(data, at, end):
    """Find the packet in a message of Linux's netfilter log: lengths and types, in the writer's byte order."""
    if at + 4 > end:
        return CUT, end
    family = byte_at(data, at)
    at += 4
    while at + 4 <= end:
        little = byte_at(data, at + 3) == 0  # types are small numbers
        length, kind = big16(data, at), big16(data, at + 2)
        if little:
            length, kind = byte_at(data, at + 1) << 8 | byte_at(data, at), byte_at(data, at + 2)
        if kind & 0x7FFF == 9:
            if family == 2:
                return ETHERTYPE_IPV4, at + 4
            if family == 10:
                return ETHERTYPE_IPV6, at + 4
            return (SOME_IP if family == 0 else NOTHING), at + 4
        if length < 4:
            return NOTHING, at
        at += (length + 3) // 4 * 4
    return CUT, end


@lean_kernel
def first_step(data, link, at, end):
    """Read the link header; return (ethertype, where its data begins)."""
    if link == ETHERNET:
        return step_ethernet(data, at, end)
    if link == RAW:
        return SOME_IP, at
    if link == RAW_4:
        return ETHERTYPE_IPV4, at
    if link == RAW_6:
        return ETHERTYPE_IPV6, at
    if link == PPP:
        return step_ppp(data, at, end)
    if link == LOOPBACK:
        return behind_family(data, at, end)
    if link == NFLOG:
        return behind_nflog(data, at, end)
    if link == WIFI:
        return behind_wifi(data, at, end, False)
    if link == RADIOTAP:
        frame, padded = behind_radiotap(data, at, end)
        return behind_wifi(data, frame, end, padded)
    if link == FDDI:
        if at + 13 > end:
            return CUT, end
        return step_llc(data, at + 13, end) if byte_at(data, at) >> 4 & 7 == 5 else (NOTHING, at)
    if link == UNREAD:
        return NOTHING, at
    ethertype, following = CUT, end
    if link == COOKED_2:
        if at + 20 <= end:
            ethertype, following = big16(data, at), at + 20
    else:
        ethertype, following = step_tag(data, at, 16 if link == COOKED else 4, end)
    if 0 <= ethertype <= LONGEST_LLC and (ethertype != 4 or link == CISCO_HDLC):  # 4: Linux's number of LLC
        return NOTHING, at
    return ethertype, following


@lean_kernel
def behind_link(data, link, at, end, wire_end):
    """Return (IPV4, IPV6, EITHER_IP or NO_IP; where the IP header begins) of the packet in data[at:end].

    On the wire it ended at `wire_end`. A link header that is cut gives (EITHER_IP, end): an IP header with no byte
    captured.
    """
    ethertype, following = first_step(data, link, at, end)
    return behind_ethertype(data, ethertype, following, end, wire_end)
