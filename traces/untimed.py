"""Packets without a time in their file: pcapng simple packets, which get the time of the packet before them."""

from __future__ import annotations


def untimed_line(packets: int) -> str:
    """Say how many packets have no time and what that means; empty where all have one."""
    if not packets:
        return ""
    return f"{packets:,} packets have no time in the file (pcapng simple packets): rates are unknown"
