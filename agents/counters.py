"""What a device counts, and says in each report: whatever was not seen, not understood, refused or late among it."""

from __future__ import annotations

NAMES = (
    "packets", "kernel_drops", "ring_losses", "not_ip", "cut_off", "malformed", "interface_losses",
    "selected", "late_selections", "refused_selections", "tags_installed", "dscp_cleaned",
    "messages_sent", "messages_received", "messages_malformed", "messages_late",
)  # fmt: skip
"""In this order: packets taken from the ring and measured; dropped by the kernel because the ring was full; times that
it was full; not IP; with a header that was not whole; with one that is wrong; times that the interface went away;
selections; those found when their hold was over; tags that the device refused; tags put in force; untagged packets of
which the DSCP was cleared; explicit messages sent, heard, not understood, and heard an epoch or more after they were
sent."""


def zero() -> dict[str, int]:
    """Return all counters at zero."""
    return dict.fromkeys(NAMES, 0)
