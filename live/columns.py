"""The columns that a live run has beside those of a replay: what each is, its unit, and how it is computed.

`report.py` writes the tables by these declarations; `mozart list columns` and docs/columns.md are made of them.
"""

from __future__ import annotations

from ..recordsets import Column, Recordset
from ..replay.columns import ROWS as REPLAYED

ROWS = Recordset(
    "live rows",
    1,
    "The rows of a live run, with those of the replays beside it.",
    (
        Column(
            "source",
            "text",
            "what the row is of",
            computed="`live`, `replay` of what was sent, or `late replay` (tags as late as half)",
        ),
        Column(
            "overloaded",
            "bool",
            "whether the run asked for more than the machine could carry",
            nullable=True,
            computed="as `load` in run.json says; null for replays",
        ),
        *REPLAYED,
    ),
)
"""`rows.csv` and `rows.parquet`."""

COMPARISON = Recordset(
    "comparison",
    1,
    "One row a task and column of the rows that is compared.",
    (
        Column("task", "text", "name of the task", computed="as in the task file"),
        Column(
            "column", "text", "the column of the rows that is compared", computed="all but those that name the setting"
        ),
        Column(
            "live",
            "float64",
            "its value in the live run",
            "of the column",
            nullable=True,
            computed="null where the column is",
        ),
        Column(
            "replay",
            "float64",
            "its value in the replay of what was sent",
            "of the column",
            nullable=True,
            computed="null where the column is",
        ),
        Column(
            "difference",
            "float64",
            "live less replay",
            "of the column",
            nullable=True,
            computed="null where one of them is",
        ),
        Column(
            "late_replay",
            "float64",
            "its value in the late replay",
            "of the column",
            nullable=True,
            computed="flows that the late replay calls unreachable count as in the replay; null for volumes, and "
            "without tags",
        ),
        Column(
            "late_difference",
            "float64",
            "live less late replay",
            "of the column",
            nullable=True,
            computed="null where one of them is",
        ),
    ),
)
"""`comparison.csv` and `comparison.parquet`."""

PACKETS = Recordset(
    "packets",
    1,
    "What became of the packets of a live run, in `run.json`.",
    (
        Column(
            "packets_sent",
            "int64",
            "packets that hosts put on the wire",
            "packets",
            computed="seen leaving by the hosts' agents",
        ),
        Column(
            "packets_delivered",
            "int64",
            "packets that hosts received",
            "packets",
            computed="seen arriving by the hosts' agents",
        ),
        Column(
            "packets_tagged",
            "int64",
            "packets sent that carried a tag anywhere",
            "packets",
            computed="seen inside the network with a DSCP other than 0 while tasks tag; each packet once",
        ),
        Column("packets_arrived_tagged", "int64", "packets that arrived with a tag", "packets", computed="must be 0"),
        Column(
            "packets_changed",
            "int64",
            "packets delivered with another DSCP than they were sent with",
            "packets",
            computed="where no task tags; must be 0",
        ),
    ),
)
"""The first entries of run.json."""

SELECTED = Recordset(
    "selected",
    1,
    "One entry a task, under `selected` in `run.json` of a live run.",
    (
        Column("task", "text", "name of the task", computed="as in the task file"),
        Column("live", "int64", "flows selected live", "flows", computed="as the agents reported, each flow once"),
        Column("replay", "int64", "flows selected by the replay of what was sent", "flows", computed="each flow once"),
        Column("both", "int64", "flows selected by both", "flows", computed="by flow key"),
        Column(
            "share",
            "float64",
            "of the replay's flows, those selected live",
            "share",
            nullable=True,
            computed="both / replay; null without one",
        ),
    ),
)
"""`selected` in run.json."""

DEVICES = Recordset(
    "devices",
    1,
    "One entry a device, under `devices` in `run.json` of a live run; `gaps_ns` beside them lists [begin, "
    "end] of each time in which the device measured nothing.",
    (
        Column(
            "packets",
            "int64",
            "packets measured",
            "packets",
            computed="taken from the capture ring by the device's agent",
        ),
        Column(
            "cpu_percent",
            "float64",
            "processor time of the device's modules",
            "% of a core",
            nullable=True,
            computed="over the time from its first report's beginning to its last report's end; null where that is "
            "none",
        ),
        Column(
            "assumed_cpu_percent",
            "float64",
            "what the placement assumed of its modules",
            "% of a core",
            computed="sum of `cpu_percent` of its selectors and monitors, at most over its plans",
        ),
        Column(
            "memory_bytes", "int64", "memory of its selectors and monitors", "bytes", computed="the most of all reports"
        ),
    ),
)
"""`devices` in run.json."""

TIMES = Recordset(
    "times",
    1,
    "Times in `run.json` of a live run: each has `p50`, `p99` and `count`, as far as a time has them.",
    (
        Column(
            "event_to_tag_ms",
            "float64",
            "from the completing packet to the flow's first tagged packet",
            "ms",
            computed="both as the selector's device saw them; p50, p99 and count of flows that kept sending (no pause "
            "above 5 ms)",
        ),
        Column(
            "event_to_tag_ms.all",
            "float64",
            "the same of all flows with a tagged packet",
            "ms",
            computed="with their pauses",
        ),
        Column(
            "event_to_tag_ms.in_force",
            "float64",
            "from the completing packet to the tag in force",
            "ms",
            computed="by the answer of the switch or the kernel, of all selections with a tag",
        ),
        Column(
            "event_to_tag_ms.never",
            "int64",
            "selections that no tagged packet followed",
            "selections",
            computed="they had ended",
        ),
        Column(
            "explicit_ms",
            "float64",
            "from a selection to when a monitor elsewhere knew of it",
            "ms",
            computed="of explicit messages",
        ),
    ),
)
"""Times in run.json."""
