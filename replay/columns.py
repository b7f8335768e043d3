"""The columns of a replay's tables: what each is, its unit, and how it is computed.

`report.py` writes the tables by these declarations, `mozart list columns` shows them, and docs/columns.md is made of
them. A run on a real network (live/) has the same rows; what it adds is declared there.
"""

from __future__ import annotations

from ..recordsets import Column, Recordset

SETTING = (
    Column("task", "text", "name of the task", computed="as in the task file"),
    Column("mode", "text", "how the monitors worked", computed="one of none, tag, two-mode, mozart, recent"),
    Column(
        "memory_entries",
        "int64",
        "entries of each monitor's table",
        "entries",
        computed="`--memory`, or the task file's",
    ),
    Column(
        "detection_delay_ms",
        "float64",
        "time between the event and the first packet that can be tagged",
        "ms",
        computed="`--detection-delay-ms`, or the task file's",
    ),
)
"""What tells the settings of a run apart, in every table."""

ROWS = Recordset(
    "rows",
    1,
    "One row a task, detection delay, mode and memory size.",
    (
        *SETTING,
        Column(
            "probability",
            "float64",
            "sampling probability of untagged packets",
            "share",
            computed="`sampling.probability`; 0 in the mode tag, 1 in the mode recent",
        ),
        Column(
            "selected_flows",
            "int64",
            "flows that the event selected",
            "flows",
            computed="each flow once, however often it was",
        ),
        Column(
            "captured_flows",
            "int64",
            "reachable selected flows with a record in every monitor that they crossed",
            "flows",
            computed="a monitor has a flow where it reported a packet of it in an epoch in which the flow was selected",
        ),
        Column(
            "not_captured_ratio",
            "float64",
            "share of the reachable selected flows that are not captured",
            "share",
            nullable=True,
            computed="1 - captured_flows / (selected_flows - unreachable_flows); null without a reachable flow",
        ),
        Column(
            "unreachable_flows",
            "int64",
            "selected flows that no monitor could have heard of",
            "flows",
            computed="no packet of theirs crosses a monitor after the selection, while it lasts",
        ),
        Column(
            "unreachable_captured_flows",
            "int64",
            "unreachable flows that were captured all the same",
            "flows",
            computed="as captured_flows, of the unreachable ones; sampling may have caught them before their selection",
        ),
        Column(
            "floor_ratio",
            "float64",
            "share of the reachable flows that any table of that size must miss",
            "share",
            nullable=True,
            computed="linear relaxation of the best choice of flows with hindsight, all monitors of a flow together, "
            "over the reachable flows; null without one",
        ),
        Column(
            "selected_bytes",
            "int64",
            "bytes of the reachable selected flows",
            "bytes",
            computed="IP lengths, counted at each monitor crossed, over the epochs in which the flow was selected",
        ),
        Column(
            "captured_bytes",
            "int64",
            "of selected_bytes, what the records hold",
            "bytes",
            computed="sum over the records",
        ),
        Column(
            "pre_event_bytes",
            "int64",
            "bytes of the reachable selected flows from before their selection",
            "bytes",
            computed="as selected_bytes, up to and with the packet that completes the event",
        ),
        Column(
            "pre_event_captured_bytes",
            "int64",
            "of pre_event_bytes, what the records hold",
            "bytes",
            computed="a record's bytes less those that the monitor should have after the selection, at least 0",
        ),
        Column(
            "volume_error",
            "float64",
            "mean relative error of a record's estimate of its flow's bytes",
            "share",
            nullable=True,
            computed="mean of |estimate / truth - 1| over the records of selected flows; null without one",
        ),
        Column(
            "selected_collisions",
            "int64",
            "packets of selected flows that found no slot",
            "packets",
            computed="counted by the tables, all monitors: that flow, or another selected one, went",
        ),
        Column(
            "refused_samples",
            "int64",
            "sampled packets refused for want of a slot",
            "packets",
            computed="counted by the tables, all monitors",
        ),
        Column(
            "report_bytes",
            "int64",
            "size of all reports",
            "bytes",
            computed="records reported by all monitors, times the size of an entry with its measure",
        ),
    ),
)
"""`rows.csv` and `rows.parquet`."""

LINKS = Recordset(
    "links",
    1,
    "One row a setting and link that loses packets or is found to, for tasks that locate loss (event "
    "loss, five-tuple key).",
    (
        *SETTING,
        Column(
            "link",
            "text",
            "the link, its two devices with - between",
            computed="links found to lose packets, or that do",
        ),
        Column(
            "judged", "bool", "whether the link can be judged", computed="it has a monitor of the task at both ends"
        ),
        Column(
            "lost_packets",
            "int64",
            "packets of selected flows that were lost on the link",
            "packets",
            computed="packets since the selection at the monitor before the link, less those at the one behind it",
        ),
        Column(
            "estimated_loss",
            "float64",
            "estimated loss of the link",
            "share",
            nullable=True,
            computed="lost_packets over the packets that the monitor before the link recorded; null where it recorded "
            "none",
        ),
        Column(
            "true_loss",
            "float64",
            "probability with which the link drops a packet",
            "share",
            computed="as asked for by `loss`",
        ),
        Column(
            "flows",
            "int64",
            "selected flows that are found to lose packets on the link",
            "flows",
            computed="each flow once",
        ),
    ),
)
"""`links.csv` and `links.parquet`."""
