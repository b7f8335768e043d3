"""Declared columns: what they refuse, and the schema that follows from them."""

from __future__ import annotations

import pyarrow as pa
import pytest
from mozart.recordsets import FLOWS, Column, Recordset

NAMES = [
    "task", "src", "dst", "src_port", "dst_port", "protocol", "event", "event_value", "selected_ns",
    "selector", "selection", "mode", "memory_entries", "detection_delay_ms", "epoch", "monitor", "captured",
    "why_not", "capture_mode", "packets", "bytes", "distinct", "estimate_bytes", "bound_bytes",
    "true_packets", "true_bytes", "pre_event_bytes", "first_ns", "last_ns",
]  # fmt: skip


def test_flows_have_exactly_the_columns_that_are_promised() -> None:
    assert list(FLOWS.names) == NAMES
    assert [field.name for field in FLOWS.arrow_schema()] == NAMES


def test_the_schema_follows_from_the_declaration() -> None:
    schema = FLOWS.arrow_schema()
    assert schema.metadata == {b"recordset": b"flows", b"version": b"1"}
    assert schema.field("src").type == pa.dictionary(pa.int32(), pa.string())
    assert schema.field("captured") == pa.field("captured", pa.bool_(), False)
    assert schema.field("src_port") == pa.field("src_port", pa.uint16(), True)


def test_every_column_says_what_it_is() -> None:
    for column in FLOWS:
        assert column.meaning
        assert FLOWS[column.name] is column
        assert column.unit or not column.name.endswith(("_ns", "_ms", "bytes", "packets"))


def test_an_unknown_type_and_a_name_that_stands_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="column x cannot be of type 'str'; there are bool"):
        Column("x", "str", "something")
    with pytest.raises(ValueError, match="recordset r has the column x more than once"):
        Recordset("r", 1, "rows", (Column("x", "bool", "a"), Column("x", "bool", "b")))
