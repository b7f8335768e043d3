"""The report of a live run: JSON, tables for a terminal, and the run folder's tables and figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import LiveError
from ..folders import make_folder
from ..replay.report import refused_lines, write_table
from ..replay.result import Result
from ..topologies.topology import Topology
from . import compare
from .columns import COMPARISON, ROWS
from .evaluate import Evaluation

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(slots=True)
class LiveResult:
    """Everything that a live run found; `to_dict` has the names of the JSON that `mozart live --json` prints."""

    topology: Topology
    evaluation: Evaluation
    replayed: Result | None = None
    """The replay of what was sent; None where there is none."""
    rules: dict[str, int] = field(default_factory=dict)
    """Flow entries of ours by switch, while the run was on."""
    traffic: dict[str, Any] = field(default_factory=dict)
    unemulated: list[str] = field(default_factory=list)
    refused: Sequence[Any] = ()
    """Tasks that did not run, and why."""
    faults: list[str] = field(default_factory=list)
    link_drops: dict[str, int] = field(default_factory=dict)
    """Packets that lossy links dropped on purpose."""
    clean: bool = False
    """Whether nothing of the run is left on the machine."""
    late: Result | None = None
    """The same replay with tags that come as late as half of them came in the run."""

    @property
    def replay_rows(self) -> list[dict[str, Any]]:
        """The rows of the replay of what was sent."""
        return self.replayed.rows if self.replayed is not None else []

    @property
    def late_rows(self) -> list[dict[str, Any]]:
        """The rows of the late replay."""
        return self.late.rows if self.late is not None else []

    @property
    def compared(self) -> list[dict[str, Any]]:
        """The rows beside each other (compare.py)."""
        return compare.compare(self.evaluation.rows, self.replay_rows, self.late_rows)

    @property
    def overlaps(self) -> list[dict[str, Any]]:
        """How many of the flows that the replay selects were selected live."""
        replayed = self.replayed.selected_keys if self.replayed is not None else {}
        return compare.overlaps(self.evaluation.selected_keys, replayed)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values."""
        found = self.evaluation
        return {
            "switches": len(self.topology.switches),
            "hosts": len(self.topology.hosts),
            "packets_sent": found.packets.get("sent", 0),
            "packets_delivered": found.packets.get("delivered", 0),
            "packets_tagged": found.packets.get("tagged", 0),
            "packets_arrived_tagged": found.packets.get("arrived_tagged", 0),
            "packets_changed": found.packets.get("changed", 0),
            "rows": found.rows,
            "replay_rows": self.replay_rows,
            "late_replay_rows": self.late_rows,
            "comparison": self.compared,
            "selected": self.overlaps,
            "drops": found.drops,
            "link_drops": self.link_drops,
            "event_to_tag_ms": found.event_to_tag_ms,
            "explicit_ms": found.explicit_ms,
            "rules": self.rules,
            "devices": found.devices,
            "traffic": self.traffic,
            "refused": [dict(each) for each in self.refused],
            "unemulated": self.unemulated,
            "notes": found.notes,
            "faults": self.faults,
            "clean": self.clean,
        }


def tables(result: LiveResult) -> list[RenderableType]:
    """Return what a terminal shows: packets, tasks as a replay shows them, times, devices, and the comparison."""
    from rich.text import Text

    shown: list[RenderableType] = [Text(line) for line in _lines(result)]
    for row in result.evaluation.rows:
        shown.append(Text(f"\n{row['task']}: {_task_line(row)}"))
    shown.append(_devices(result.evaluation))
    if result.compared:
        shown.append(compare.table(result.compared, result.overlaps))
        lines = compare.late_lines(result.evaluation.rows, result.replay_rows, result.late_rows)
        shown += [Text(line) for line in lines]
    return shown


def _lines(result: LiveResult) -> list[str]:
    found, packets = result.evaluation, result.evaluation.packets
    lines = [
        f"{packets.get('sent', 0):,} packets sent, {packets.get('delivered', 0):,} delivered, "
        f"{packets.get('tagged', 0):,} tagged, {packets.get('arrived_tagged', 0):,} arrived with a tag"
    ]
    times = found.event_to_tag_ms
    if times.get("in_force", {}).get("count"):
        lines.append(
            f"from event to tag in force: {_ms(times['in_force'])} of {times['in_force']['count']:,} selections"
        )
    if times.get("count"):
        lines.append(f"to the first tagged packet: {_ms(times)} of {times['count']:,} flows that kept sending")
    if found.explicit_ms.get("count"):
        lines.append(f"explicit messages: {_ms(found.explicit_ms)} of {found.explicit_ms['count']:,}")
    for device, counts in found.drops.items():
        said = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items())
        lines.append(f"{device}: {said}")
    lines += refused_lines({each["task"]: each["reason"] for each in result.refused})
    lines += [f"lost on {link} on purpose: {count:,} packets" for link, count in result.link_drops.items()]
    return lines + result.unemulated + found.notes + [f"fault: {fault}" for fault in result.faults]


def _ms(times: dict[str, Any]) -> str:
    return f"{times['p50']:.2f} ms (99 %: {times['p99']:.2f} ms)"


def _task_line(row: dict[str, Any]) -> str:
    missed = row["not_captured_ratio"]
    return (
        f"{row['selected_flows']:,} flows selected, {row['unreachable_flows']:,} of them unreachable; "
        f"{'-' if missed is None else f'{100 * missed:.1f} %'} not captured by {row['mode']} with "
        f"{row['memory_entries']:,} entries; {row['pre_event_captured_bytes']:,} of {row['pre_event_bytes']:,} bytes "
        f"from before the event; reports of {row['report_bytes'] / 1e3:,.0f} kB"
    )


def _devices(found: Evaluation) -> RenderableType:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="devices", title_justify="left", title_style="italic")
    for i, name in enumerate(("device", "packets", "CPU, %", "assumed, %", "memory, MB", "not seen, s")):
        table.add_column(name, justify="right" if i else "left", no_wrap=True)
    for device, said in sorted(found.devices.items(), key=lambda each: (each[0][0], len(each[0]), each[0])):
        cpu = said["cpu_percent"]
        assumed = f"{said['assumed_cpu_percent']:.1f}" if said["assumed_cpu_percent"] else "-"
        gaps_s = sum(end - begin for begin, end in said["gaps_ns"]) / 1e9
        table.add_row(
            device, f"{said['packets']:,}", "-" if cpu is None else f"{cpu:.1f}", assumed,
            f"{said['memory_bytes'] / 1e6:.1f}", f"{gaps_s:.2f}" if gaps_s else "-",
        )  # fmt: skip
    return table


def write_run(result: LiveResult, folder: str | Path, plot: bool = True) -> list[Path]:
    """Write run.json, the rows and the comparison as CSV and Parquet, and the figures; returns the paths."""
    place = Path(folder)
    rows = [{"source": source, **row} for source, some in _sources(result) for row in some]
    written = []
    try:
        make_folder(place)
        written.append(place / "run.json")
        written[0].write_text(json.dumps(result.to_dict(), indent=2) + "\n")
        for declared, name, some in ((ROWS, "rows", rows), (COMPARISON, "comparison", result.compared)):
            if some:
                written += write_table(place / name, declared, some)
    except OSError as error:
        raise LiveError(f"{folder}: the run cannot be written there: {error.strerror or error}") from error
    if plot:
        from ..topologies.picture import picture
        from .figures import draw

        written += draw(result, place)
        loads = result.replayed.link_mbps if result.replayed is not None else {}
        written += [picture(result.topology, place / f"network.{kind}", loads) for kind in ("png", "pdf")]
    return written


def _sources(result: LiveResult) -> list[tuple[str, list[dict[str, Any]]]]:
    return [("live", result.evaluation.rows), ("replay", result.replay_rows), ("late replay", result.late_rows)]
