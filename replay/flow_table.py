"""A list of flows for a terminal: a line a flow, and the legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..recordsets import FLOWS
from .flow_list import SETTING, STATES, UNSELECTED, FlowList
from .legend import HEAD, legend

if TYPE_CHECKING:
    from rich.console import RenderableType

PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 47: "GRE", 50: "ESP", 58: "ICMPv6", 132: "SCTP"}
SHOWN = (
    ("selected", "when its first selection was made, in s since the first of the list's flows"),
    ("value", "what the selector measured when the event became true"),
    ("at", "the selector's device"),
    (
        "state",
        "captured: every monitor on its way has a record; missed: one has none; unreachable: no tag could reach any",
    ),
    ("monitors", "monitors with a record of it, of those that it crossed"),
    ("why not", "why monitors have no record"),
    ("bytes", "bytes recorded by the monitor that has most of it, over all epochs"),
    ("true bytes", "bytes that crossed that monitor"),
    ("before", "of the true bytes, those from before its selection"),
)
"""The columns, and what they mean."""
NOBODY = "a state: monitors have records of the flow from epochs in which no selection of it lasted"


def tables(found: FlowList) -> list[RenderableType]:
    """Return what a terminal shows of a list of flows."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    lines = found.lines.to_pylist()
    varied = [name for name in SETTING if len({line[name] for line in lines}) > 1]
    several = len({line["task"] for line in lines}) > 1
    shown: list[RenderableType] = [Text(sentence) for sentence in _sentences(found, lines, varied)]
    if not lines:
        return shown
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    numbers = {"selected", "value", "monitors", "bytes", "true bytes", "before", *SETTING}
    for title in (*(["task"] * several), "flow", *varied, *(name for name, _ in SHOWN)):
        right = title in numbers and title != "mode"
        table.add_column(title.replace("_", " "), justify="right" if right else "left", overflow="fold")
    begin_ns = min((line["selected_ns"] for line in lines if line["selected_ns"] is not None), default=0)
    for line in lines:
        cells = [flow_name(line), *(_text(line[name]) for name in varied), *_cells(line, begin_ns)]
        table.add_row(*(Text(cell) for cell in ([line["task"]] * several + cells)))
    why = [entry for entry in FLOWS["why_not"].values if any(entry[0] in line["why_not"] for line in lines)]
    apart = [(UNSELECTED, NOBODY)] if any(line["state"] == UNSELECTED for line in lines) else []
    return [*shown, table, Text(HEAD, style="dim"), legend([*SHOWN, *apart, *why])]


def _sentences(found: FlowList, lines: Sequence[Mapping[str, Any]], varied: Sequence[str]) -> list[str]:
    """Say how many flows there are, and the setting that all of them have."""
    if not lines:
        return ["no such flow"]
    states = [line["state"] for line in lines]
    counts = ", ".join(f"{states.count(s):,} {s}" for s in STATES if s in states)
    cut = f"the first {len(lines):,} of {found.of:,} lines" if found.of > len(lines) else f"{found.of:,} lines"
    fixed = ", ".join(f"{name.replace('_', ' ')} {_text(lines[0][name])}" for name in SETTING if name not in varied)
    return [f"{cut}, each a flow{' in one setting' if varied else ''}: {counts}" + (f"; {fixed}" if fixed else "")]


def _cells(line: Mapping[str, Any], begin_ns: int) -> list[str]:
    since_s = None if line["selected_ns"] is None else (line["selected_ns"] - begin_ns) / 1e9
    return [
        "-" if since_s is None else f"{since_s:.3f}",
        _text(line["event_value"]),
        _text(line["selector"]),
        line["state"],
        f"{line['captured_monitors']} of {line['monitors']}",
        line["why_not"] or "-",
        *(_text(line[name]) for name in ("bytes", "true_bytes", "pre_event_bytes")),
    ]


def flow_name(line: Mapping[str, Any]) -> str:
    """Write a flow's key: addresses and ports as far as they are part of it."""
    ends = [_end(line[side], line[f"{side}_port"]) for side in ("src", "dst")]
    protocol = line["protocol"]
    name = "" if protocol is None else f" {PROTOCOLS.get(protocol, f'protocol {protocol}')}"
    if None in (line["src"], line["dst"]):
        return (ends[0] if line["src"] is not None else f"> {ends[1]}") + name
    return f"{ends[0]} > {ends[1]}{name}"


def _end(address: str | None, port: int | None) -> str:
    if port is None or address is None:
        return address or "*"
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
