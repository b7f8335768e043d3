"""Recordsets: the columns of what a run writes, each declared once with its type, unit and meaning.

A `Recordset` is declared once; the schema of its Parquet files, the heads of its CSV files, legends and the tables of
the documentation all come from that declaration. Knows nothing of how the values are made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

TYPES = {
    "bool": "true or false",
    "uint8": "a whole number",
    "uint16": "a whole number",
    "int32": "a whole number",
    "int64": "a whole number",
    "float64": "a number",
    "text": "a text",
}
"""The types that a column may have, and each in words. Texts recur, so a file keeps each text once (a dictionary)."""


@dataclass(frozen=True, slots=True)
class Column:
    """One declared column; `unit` is empty where the value is a name, a number of something or a share."""

    name: str
    type: str
    meaning: str
    unit: str = ""
    nullable: bool = False
    """Whether a row may have no value."""
    values: tuple[tuple[str, str], ...] = ()
    """For a column of few words: each word, and what it means."""
    computed: str = ""
    """How the value is made, where its meaning does not say it."""

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise ValueError(f"column {self.name} cannot be of type {self.type!r}; there are {', '.join(TYPES)}")


@dataclass(frozen=True, slots=True)
class Recordset:
    """Rows of one kind: a name, a version that counts changes of its columns, and the columns in their order."""

    name: str
    version: int
    meaning: str
    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        names = self.names
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"recordset {self.name} has the column {twice[0]} more than once")

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __getitem__(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    def arrow_schema(self) -> Any:
        """Return the pyarrow schema of a file of such rows; name and version stand in its metadata."""
        import pyarrow as pa

        text = pa.dictionary(pa.int32(), pa.string())
        fields = [
            pa.field(c.name, text if c.type == "text" else getattr(pa, c.type.replace("bool", "bool_"))(), c.nullable)
            for c in self.columns
        ]
        return pa.schema(fields, {"recordset": self.name, "version": str(self.version)})


FLOWS = Recordset(
    "flows",
    1,
    "One row for each selection of a flow, setting (mode, memory, delay), epoch in which the selection lasted, and "
    "monitor that the flow's packets crossed in it. A selection whose flow crossed no monitor while it lasted has one "
    "row, with `monitor` null. Where several selections of a flow last in one epoch, they share one record of each "
    "monitor: its figures stand in the row of the first of them and are null in the others, so that sums count "
    "everything once. With `mozart replay --all-records` there is also one row for each record, with packets, that a "
    "monitor has of a flow in an epoch in which no selection of it lasts: the columns of the selection are null, "
    "`captured` is true, and `pre_event_bytes` is null.",
    (
        Column("task", "text", "name of the task", computed="as in the task file"),
        Column(
            "src",
            "text",
            "source address; null where it is no part of the task's flow key",
            nullable=True,
            computed="of the packets with the flow's key",
        ),
        Column(
            "dst",
            "text",
            "destination address; null where it is no part of the task's flow key",
            nullable=True,
            computed="of the packets with the flow's key",
        ),
        Column(
            "src_port",
            "uint16",
            "source port; null where the flow key is not the five-tuple",
            nullable=True,
            computed="of the packets with the flow's key",
        ),
        Column(
            "dst_port",
            "uint16",
            "destination port; null where the flow key is not the five-tuple",
            nullable=True,
            computed="of the packets with the flow's key",
        ),
        Column(
            "protocol",
            "uint8",
            "IP protocol number; null where the flow key is not the five-tuple",
            nullable=True,
            computed="of the packets with the flow's key",
        ),
        Column(
            "event",
            "text",
            "event that selected the flow; null for a record of a flow not selected",
            nullable=True,
            computed="as in the task file",
        ),
        Column(
            "event_value",
            "float64",
            "what the selector measured when the event became true, in the unit of the event's threshold",
            "as the event says",
            nullable=True,
            computed="from the selector's state at the packet that completed the event (docs/selectors.md has rules)",
        ),
        Column(
            "selected_ns",
            "int64",
            "time of the packet that completed the event, at the selector, since 1970",
            "ns",
            nullable=True,
            computed="of the trace in a replay, of the device's clock live",
        ),
        Column(
            "selector",
            "text",
            "device whose selector selected the flow",
            nullable=True,
            computed="the device that this packet was crossing",
        ),
        Column(
            "selection",
            "int32",
            "number of the selection for this flow and task, from 1 on",
            nullable=True,
            computed="counted over all devices of the selector, in order of time",
        ),
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
        Column(
            "epoch",
            "int64",
            "number of the epoch, from 0 on",
            computed="whole epochs (`sampling.epoch_s`) since the first one began",
        ),
        Column(
            "monitor",
            "text",
            "device of the monitor; null where the flow crossed none",
            nullable=True,
            computed="each one of the task that packets of the flow crossed in the epoch",
        ),
        Column(
            "captured",
            "bool",
            "whether this monitor has a record of the flow in this epoch (the rows' captured_flows asks all monitors "
            "that the flow crossed for one)",
            computed="a record with at least one packet",
        ),
        Column(
            "why_not",
            "text",
            "why this monitor has no record; null where it has one, except `unreachable`, which stands with any "
            "flow that no tag could reach",
            nullable=True,
            values=(
                ("full", "its table had no room for all selected flows"),
                ("late", "the tag or message came after the flow's last packet here, or did not come in the epoch"),
                ("unreachable", "no packet of the flow crossed the monitor in this epoch while the selection lasted"),
                ("no-monitor", "no monitor of the task is on the flow's path"),
                ("not-sampled", "the mode heeds no tags, and the sampling did not draw the flow"),
            ),
            computed="from the table's counters and the exact packets of the flow",
        ),
        Column(
            "capture_mode",
            "text",
            "how the record began",
            nullable=True,
            values=(
                ("sampled", "an untagged packet was drawn"),
                ("selected", "the first packet recorded was tagged, or a message announced the flow"),
                ("preserved", "the entry stood since before the epoch, so it is exact"),
            ),
            computed="as the record says",
        ),
        Column(
            "packets",
            "int64",
            "packets in the record",
            "packets",
            nullable=True,
            computed="counted by the table since the record began",
        ),
        Column(
            "bytes",
            "int64",
            "bytes (IP length) in the record",
            "B",
            nullable=True,
            computed="counted by the table since the record began",
        ),
        Column(
            "distinct",
            "float64",
            "distinct values that the record's sketch counts",
            "values",
            nullable=True,
            computed="by a HyperLogLog sketch of 64 registers; null where the measure has none",
        ),
        Column(
            "estimate_bytes",
            "float64",
            "bytes of the flow in the epoch as the record estimates them: recorded ones and, where it was sampled, "
            "the expected number of packets before, at the record's mean size",
            "B",
            nullable=True,
            computed="bytes + expected packets missed x bytes / packets",
        ),
        Column(
            "bound_bytes",
            "float64",
            "bytes that the flow does not exceed with 95 % confidence, at the record's mean packet size; null where "
            "there is no bound",
            "B",
            nullable=True,
            computed="bytes + ln(0.05) / ln(1 - probability) packets x bytes / packets",
        ),
        Column(
            "true_packets",
            "int64",
            "packets of the flow that crossed the monitor",
            "packets",
            nullable=True,
            computed="counted exactly beside the tables",
        ),
        Column(
            "true_bytes",
            "int64",
            "bytes of the flow that crossed the monitor",
            "B",
            nullable=True,
            computed="counted exactly beside the tables, IP lengths",
        ),
        Column(
            "pre_event_bytes",
            "int64",
            "of true_bytes, those from before the flow's first selection; null for a record of a flow not selected",
            "B",
            nullable=True,
            computed="counted exactly, up to and with the packet that completes the event",
        ),
        Column(
            "first_ns",
            "int64",
            "time of the first packet recorded, since 1970",
            "ns",
            nullable=True,
            computed="by the record",
        ),
        Column(
            "last_ns",
            "int64",
            "time of the last packet recorded, since 1970, or of the message that brought the flow back to the table",
            "ns",
            nullable=True,
            computed="by the record",
        ),
    ),
)
"""What became of every selected flow at every monitor: `flows.parquet` and `flows.csv` of a run folder."""
