"""The flows of a run, one a line: which were captured, which were missed and why, and how much they sent.

The table of flows has a row for each selection, setting, epoch and monitor. Here all rows of a flow in one setting are
taken together:

1. At each monitor, what was recorded and what was true is summed over epochs and selections; the monitor captured the
   flow where it has a record of it in any of them.
2. A flow is *captured* where all monitors that it crossed captured it, *unreachable* where no tag could reach any, and
   *missed* otherwise. Its packets and bytes are those of the monitor that has most.
3. Records of flows that nobody selected (`--all-records`) stand apart, where they are wanted: as *unselected* flows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SpecError
from ..fields import suggestion
from ..recordsets import FLOWS

FLOW = ("task", "src", "dst", "src_port", "dst_port", "protocol", "event")
SETTING = ("mode", "memory_entries", "detection_delay_ms")
VOLUMES = ("packets", "bytes", "true_packets", "true_bytes", "pre_event_bytes")
CAPTURED, MISSED, UNREACHABLE, UNSELECTED = "captured", "missed", "unreachable", "unselected"
STATES = (CAPTURED, MISSED, UNREACHABLE, UNSELECTED)
BEYOND_REACH = ("unreachable", "no-monitor")
"""The reasons that no table and no monitor can help."""
WHY_NOT = tuple(word for word, _ in FLOWS["why_not"].values)
ORDERS = (*VOLUMES, "selection", "event_value", "selected_ns", "monitors", "captured_monitors")
"""What flows can be put in order by."""


@dataclass(frozen=True, slots=True)
class FlowList:
    """Flows of a run in order, as pyarrow tables."""

    lines: Any
    """One row a flow and setting: FLOW, SETTING, VOLUMES, `selection` (the last), `event_value`, `selected_ns` (of the
    first), `selector`, `monitors`, `captured_monitors`, `state`, `why_not` (words with commas between)."""
    of: int
    """How many flows there are before `most` cut the list."""
    among: Any
    """The rows of the table of flows that have the wanted values."""

    def rows(self) -> Any:
        """Return all rows that these flows have, those of the first flow first."""
        return _rows_of(self.among, self.lines)


def list_flows(
    flows: Any,
    wanted: Mapping[str, Sequence[Any]],
    state: str | None = None,
    why: Sequence[str] = (),
    top: str | None = None,
    most: int | None = None,
    all_records: bool = False,
) -> FlowList:
    """Return the flows of a pyarrow table of flows that have the wanted values, in the order of their selection.

    `wanted` has values by column. `state` is one of STATES; `why` are words of WHY_NOT, one of which must hold at a
    monitor without a record. `top` puts the largest of a column first; `most` ends the list. `all_records` has the
    records of flows that nobody selected too. Raises SpecError for words that there are not.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    for word in why:
        if word not in WHY_NOT:
            raise SpecError(f"no reason {word!r}{suggestion(word, WHY_NOT)}; there are {', '.join(WHY_NOT)}")
    if top is not None and top not in ORDERS:
        raise SpecError(f"flows have no order by {top!r}{suggestion(top, ORDERS)}; there are {', '.join(ORDERS)}")
    plain = _decoded(flows)
    if not all_records:
        plain = plain.filter(pc.is_valid(plain["event"]))
    for column, values in wanted.items():
        if values:
            among = pa.array(values, plain.schema.field(column).type)
            plain = plain.filter(pc.is_in(plain[column], among))
    lines = _lines(plain)
    if state is not None:
        lines = lines.filter(pc.equal(lines["state"], state))
    if why:
        lines = lines.filter(pc.match_substring_regex(lines["why_not"], rf"(^|, )({'|'.join(why)})(,|$)"))
    order = [(top, "descending")] if top else []
    lines = lines.sort_by([*order, ("selected_ns", "ascending"), *((name, "ascending") for name in (*FLOW, *SETTING))])
    of = len(lines)
    if most is not None:
        lines = lines.slice(0, most)
    return FlowList(lines, of, plain)


def _decoded(flows: Any) -> Any:
    """Return a table without dictionaries: grouping and sorting take plain texts."""
    import pyarrow as pa

    fields = [
        pa.field(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type, f.nullable)
        for f in flows.schema
    ]
    return flows.cast(pa.schema(fields))


def _lines(flows: Any) -> Any:
    """Return one row a flow and setting (steps 1 and 2)."""
    import pyarrow.compute as pc

    keys = [*FLOW, *SETTING]
    beyond = pc.is_in(flows["why_not"], _texts(BEYOND_REACH))
    flows = flows.append_column("reachable", pc.invert(beyond))
    for word in WHY_NOT:
        holds = pc.and_(pc.invert(flows["captured"]), pc.fill_null(pc.equal(flows["why_not"], word), False))
        flows = flows.append_column(f"why {word}", holds)
    words = [f"why {word}" for word in WHY_NOT]
    at_monitors = _grouped(  # 1
        flows,
        [*keys, "monitor"],
        {
            **dict.fromkeys(("captured", "reachable", *words), "any"),
            **dict.fromkeys(VOLUMES, "sum"),
            "selection": "max", "event_value": "max", "selected_ns": "min", "selector": "min",
        },
    )  # fmt: skip
    none = pc.invert(at_monitors["captured"])  # a record of another epoch is one
    for word in words:
        at = at_monitors.schema.get_field_index(word)
        at_monitors = at_monitors.set_column(at, word, pc.and_(none, at_monitors[word]))
    crossed = pc.is_valid(at_monitors["monitor"])
    at_monitors = at_monitors.append_column("monitors", pc.cast(crossed, "int64"))
    has = pc.cast(pc.and_(crossed, at_monitors["captured"]), "int64")
    at_monitors = at_monitors.append_column("captured_monitors", has)
    lines = _grouped(  # 2
        at_monitors,
        keys,
        {
            **dict.fromkeys(("reachable", *words), "any"),
            **dict.fromkeys(VOLUMES, "max"),
            "selection": "max", "event_value": "max", "selected_ns": "min", "selector": "min",
            "monitors": "sum", "captured_monitors": "sum",
        },
    )  # fmt: skip
    whole = pc.and_(pc.greater(lines["monitors"], 0), pc.equal(lines["monitors"], lines["captured_monitors"]))
    state = pc.if_else(lines["reachable"], pc.if_else(whole, CAPTURED, MISSED), UNREACHABLE)
    state = pc.if_else(pc.is_valid(lines["event"]), state, UNSELECTED)  # 3
    reasons = _reasons([lines[word].to_numpy(zero_copy_only=False) for word in words])
    return lines.drop_columns(["reachable", *words]).append_column("state", state).append_column("why_not", reasons)


def _reasons(holds: Sequence[NDArray[np.bool_]]) -> Any:
    """Return the words of WHY_NOT that hold in each row, with commas between."""
    import pyarrow as pa

    every = [", ".join(word for i, word in enumerate(WHY_NOT) if code >> i & 1) for code in range(2 ** len(WHY_NOT))]
    code = np.sum([column.astype(np.int64) << i for i, column in enumerate(holds)], axis=0)
    return pa.array(every, pa.string()).take(pa.array(code))


def _grouped(table: Any, keys: Sequence[str], how: Mapping[str, str]) -> Any:
    """Group a table, and give the sums and the like the names of their columns."""
    made = table.group_by(list(keys)).aggregate(list(how.items()))
    return made.select([*keys, *(f"{name}_{by}" for name, by in how.items())]).rename_columns([*keys, *how])


def _rows_of(flows: Any, lines: Any) -> Any:
    """Return the rows of some flows: those of the first flow first."""
    import pyarrow as pa

    keys = [*FLOW, *SETTING]
    place = {key: at for at, key in enumerate(zip(*(lines[name].to_pylist() for name in keys), strict=True))}
    at = np.array(
        [place.get(key, -1) for key in zip(*(flows[name].to_pylist() for name in keys), strict=True)], np.int64
    )
    mine = np.flatnonzero(at >= 0)
    order = mine[np.argsort(at[mine], kind="stable")]
    return flows.take(pa.array(order)).select(list(FLOWS.names))


def _texts(words: Sequence[str]) -> Any:
    import pyarrow as pa

    return pa.array(list(words), pa.string())
