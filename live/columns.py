"""The columns that a live run has beside those of a replay: what each is, its unit, and how it is computed.

`docs/columns.md` and `mozart list columns` are made of these declarations.
"""

from __future__ import annotations

from ..fields import Column

SOURCE = Column(
    "source",
    str,
    "",
    "what the row is of",
    "`live`, `replay` of what was sent, or `late replay` (tags as late as half)",
)
"""The first column of the rows of a live run; the others are those of a replay."""

PACKETS = (
    Column("packets_sent", int, "packets", "packets that hosts put on the wire", "seen leaving by the hosts' agents"),
    Column("packets_delivered", int, "packets", "packets that hosts received", "seen arriving by the hosts' agents"),
    Column(
        "packets_tagged", int, "packets", "packets sent that carried a tag anywhere",
        "seen inside the network with a DSCP other than 0 while tasks tag; each packet once",
    ),
    Column("packets_arrived_tagged", int, "packets", "packets that arrived with a tag", "must be 0"),
    Column(
        "packets_changed", int, "packets", "packets delivered with another DSCP than they were sent with",
        "where no task tags; must be 0",
    ),
)  # fmt: skip
"""What became of the packets, in run.json."""

COMPARISON = (
    Column("task", str, "", "name of the task", "as in the task file"),
    Column("column", str, "", "the column of the rows that is compared", "all but those that name the setting"),
    Column("live", float, "of the column", "its value in the live run", "null where the column is"),
    Column("replay", float, "of the column", "its value in the replay of what was sent", "null where the column is"),
    Column("difference", float, "of the column", "live less replay", "null where one of them is"),
    Column(
        "late_replay", float, "of the column", "its value in the late replay",
        "flows that the late replay calls unreachable count as in the replay; null for volumes, and without tags",
    ),
    Column("late_difference", float, "of the column", "live less late replay", "null where one of them is"),
)  # fmt: skip
"""comparison.csv: one row a task and column."""

SELECTED = (
    Column("task", str, "", "name of the task", "as in the task file"),
    Column("live", int, "flows", "flows selected live", "as the agents reported, each flow once"),
    Column("replay", int, "flows", "flows selected by the replay of what was sent", "each flow once"),
    Column("both", int, "flows", "flows selected by both", "by flow key"),
    Column("share", float, "share", "of the replay's flows, those selected live", "both / replay; null without one"),
)  # fmt: skip
"""`selected` in run.json: one row a task."""

DEVICES = (
    Column("packets", int, "packets", "packets measured", "taken from the capture ring by the device's agent"),
    Column(
        "cpu_percent", float, "% of a core", "processor time of the device's modules",
        "over the time from its first report's beginning to its last report's end; null where that is none",
    ),
    Column(
        "assumed_cpu_percent", float, "% of a core", "what the placement assumed of its modules",
        "sum of `cpu_percent` of its selectors and monitors, at most over its plans",
    ),
    Column("memory_bytes", int, "bytes", "memory of its selectors and monitors", "the most of all reports"),
    Column(
        "gaps_ns", list, "ns since 1970", "times in which nothing was measured", "[begin, end] of each"
    ),
)  # fmt: skip
"""`devices` in run.json: one entry a device."""

TIMES = (
    Column(
        "event_to_tag_ms", float, "ms", "from the completing packet to the flow's first tagged packet",
        "both as the selector's device saw them; p50, p99 and count of flows that kept sending (no pause above 5 ms)",
    ),
    Column("event_to_tag_ms.all", float, "ms", "the same of all flows with a tagged packet", "with their pauses"),
    Column(
        "event_to_tag_ms.in_force", float, "ms", "from the completing packet to the tag in force",
        "by the answer of the switch or the kernel, of all selections with a tag",
    ),
    Column("event_to_tag_ms.never", int, "selections", "selections that no tagged packet followed", "they had ended"),
    Column(
        "explicit_ms", float, "ms", "from a selection to when a monitor elsewhere knew of it", "of explicit messages"
    ),
)  # fmt: skip
"""Times in run.json, each as p50, p99 and count."""
