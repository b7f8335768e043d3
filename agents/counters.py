"""What a device counts, and says in each report: whatever was not seen, not understood, refused or late among it."""

from __future__ import annotations

NAMES = (
    "packets", "kernel_drops", "ring_losses", "not_ip", "cut_off", "malformed", "interface_losses",
    "selected", "late_selections", "refused_selections", "tags_installed", "dscp_cleaned", "tagger_faults",
    "module_faults", "device_faults", "observations_lost", "disk_faults", "reports_lost", "messages_lost",
    "messages_sent", "messages_received", "messages_malformed", "messages_late",
)  # fmt: skip
"""In this order: packets taken from the ring and measured; dropped by the kernel because the ring was full; times that
it was full; not IP; with a header that was not whole; with one that is wrong; times that the interface went away;
selections; those found when their hold was over; tags that the device refused; tags put in force; packets that lost a
DSCP of their own; connections to the switch that were lost, and messages of it that were none; selectors and monitors
that failed; times that all of the device failed and was begun anew; packets that the log of observations lacks; times
that the disk refused a report; reports that were lost; messages that the bus had no room for; explicit messages sent,
heard, not understood, and heard an epoch or more after they were sent."""


def zero() -> dict[str, int]:
    """Return all counters at zero."""
    return dict.fromkeys(NAMES, 0)
