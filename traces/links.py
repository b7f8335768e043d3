"""The link types of trace files that mozart reads (numbers of https://www.tcpdump.org/linktypes.html)."""

from __future__ import annotations

from ..errors import TraceError
from .link_kernels import (
    CISCO_HDLC,
    COOKED,
    COOKED_2,
    ETHERNET,
    FDDI,
    LOOPBACK,
    NFLOG,
    PPP,
    RADIOTAP,
    RAW,
    RAW_4,
    RAW_6,
    WIFI,
)

LINK_TYPES: dict[int, tuple[str, int]] = {
    0: ("BSD loopback", LOOPBACK),
    1: ("Ethernet", ETHERNET),
    9: ("PPP", PPP),
    10: ("FDDI", FDDI),
    12: ("raw IP", RAW),
    14: ("raw IP", RAW),
    101: ("raw IP", RAW),
    104: ("Cisco HDLC", CISCO_HDLC),
    105: ("802.11", WIFI),
    108: ("OpenBSD loopback", LOOPBACK),
    113: ("Linux cooked", COOKED),
    127: ("802.11 with radiotap", RADIOTAP),
    228: ("raw IPv4", RAW_4),
    229: ("raw IPv6", RAW_6),
    239: ("netfilter log", NFLOG),
    276: ("Linux cooked 2", COOKED_2),
}
"""Link type: (name, how the packets begin)."""


def link_code(link_type: int, where: str) -> int:
    """Return how packets of a link type begin, or raise a TraceError that names the type."""
    if link_type not in LINK_TYPES:
        known = ", ".join(f"{number} ({name})" for number, (name, _) in LINK_TYPES.items())
        raise TraceError(
            f"{where}: link type {link_type} is not one that mozart reads: {known}. "
            "Where tshark finds IP packets in it, write them as raw IP: tshark -r TRACE -U IP -w OUT.pcapng"
        )
    return LINK_TYPES[link_type][1]
