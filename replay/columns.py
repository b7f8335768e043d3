"""The columns of a replay's tables: what each is, its unit, and how it is computed.

`report.py` writes the tables by these declarations, `mozart list columns` shows them, and docs/columns.md is made of
them. A run on a real network (live/) has the same rows; what it adds is declared there.
"""

from __future__ import annotations

from ..fields import Column

SETTING = (
    Column("task", str, "", "name of the task", "as in the task file"),
    Column("mode", str, "", "how the monitors worked", "one of none, tag, two-mode, mozart, recent"),
    Column("memory_entries", int, "entries", "entries of each monitor's table", "`--memory`, or the task file's"),
    Column(
        "detection_delay_ms", float, "ms", "time between the event and the first packet that can be tagged",
        "`--detection-delay-ms`, or the task file's",
    ),
)  # fmt: skip
"""What tells the settings of a run apart, in every table."""

ROWS = (
    *SETTING,
    Column(
        "probability", float, "share", "sampling probability of untagged packets",
        "`sampling.probability`; 0 in the mode tag, 1 in the mode recent",
    ),
    Column("selected_flows", int, "flows", "flows that the event selected", "each flow once, however often it was"),
    Column(
        "captured_flows", int, "flows", "reachable selected flows with a record in every monitor that they crossed",
        "a monitor has a flow where it reported a packet of it in an epoch in which the flow was selected",
    ),
    Column(
        "not_captured_ratio", float, "share", "share of the reachable selected flows that are not captured",
        "1 - captured_flows / (selected_flows - unreachable_flows); null without a reachable flow",
    ),
    Column(
        "unreachable_flows", int, "flows", "selected flows that no monitor could have heard of",
        "no packet of theirs crosses a monitor after the selection, while it lasts",
    ),
    Column(
        "unreachable_captured_flows", int, "flows", "unreachable flows that were captured all the same",
        "as captured_flows, of the unreachable ones; sampling may have caught them before their selection",
    ),
    Column(
        "floor_ratio", float, "share", "share of the reachable flows that any table of that size must miss",
        "linear relaxation of the best choice of flows with hindsight, all monitors of a flow together, over the "
        "reachable flows; null without one",
    ),
    Column(
        "selected_bytes", int, "bytes", "bytes of the reachable selected flows",
        "IP lengths, counted at each monitor crossed, over the epochs in which the flow was selected",
    ),
    Column("captured_bytes", int, "bytes", "of selected_bytes, what the records hold", "sum over the records"),
    Column(
        "pre_event_bytes", int, "bytes", "bytes of the reachable selected flows from before their selection",
        "as selected_bytes, up to and with the packet that completes the event",
    ),
    Column(
        "pre_event_captured_bytes", int, "bytes", "of pre_event_bytes, what the records hold",
        "a record's bytes less those that the monitor should have after the selection, at least 0",
    ),
    Column(
        "volume_error", float, "share", "mean relative error of a record's estimate of its flow's bytes",
        "mean of |estimate / truth - 1| over the records of selected flows; null without one",
    ),
    Column(
        "selected_collisions", int, "packets", "packets of selected flows that found no slot",
        "counted by the tables, all monitors: that flow, or another selected one, went",
    ),
    Column(
        "refused_samples", int, "packets", "sampled packets refused for want of a slot",
        "counted by the tables, all monitors",
    ),
    Column(
        "report_bytes", int, "bytes", "size of all reports",
        "records reported by all monitors, times the size of an entry with its measure",
    ),
)  # fmt: skip
"""One row a task, detection delay, mode and memory size."""

LINKS = (
    *SETTING,
    Column("link", str, "", "the link, its two devices with - between", "links found to lose packets, or that do"),
    Column("judged", bool, "", "whether the link can be judged", "it has a monitor of the task at both ends"),
    Column(
        "lost_packets", int, "packets", "packets of selected flows that were lost on the link",
        "packets since the selection at the monitor before the link, less those at the one behind it",
    ),
    Column(
        "estimated_loss", float, "share", "estimated loss of the link",
        "lost_packets over the packets that the monitor before the link recorded; null where it recorded none",
    ),
    Column("true_loss", float, "share", "probability with which the link drops a packet", "as asked for by `loss`"),
    Column("flows", int, "flows", "selected flows that are found to lose packets on the link", "each flow once"),
)  # fmt: skip
"""One row a setting and link, for tasks that locate loss (event loss, five-tuple key)."""


def names(columns: tuple[Column, ...]) -> list[str]:
    """Return the names of columns, in order."""
    return [column.name for column in columns]
