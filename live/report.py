"""The report of a live run: JSON, tables for a terminal, and the run folder's tables and figures."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..controller.faults import Fault
from ..errors import LiveError, MozartError, SpecError
from ..folders import make_folder
from ..replay.columns import ROWS as REPLAYED
from ..replay.legend import HEAD, legend, of_modes
from ..replay.report import refused_lines, write_flows, write_table
from ..replay.result import Result
from ..topologies.topology import Topology
from . import compare
from .columns import COMPARISON, DEVICES, ROWS
from .compare import SETTING
from .evaluate import Evaluation
from .lost import Lost
from .overload import MARK, Load
from .traffic import left_out

if TYPE_CHECKING:
    from rich.console import RenderableType

DEVICE_LEGEND = (
    ("packets", DEVICES["packets"].meaning),
    ("CPU, %", DEVICES["cpu_percent"].meaning + ", of a core"),
    ("assumed, %", DEVICES["assumed_cpu_percent"].meaning),
    ("memory, MB", DEVICES["memory_bytes"].meaning),
    ("not seen, s", "time in which the device measured nothing"),
)
"""The columns of the table of devices, and what they mean."""
COUNTED = ("sent", "delivered", "tagged", "arrived_tagged", "changed")
"""What is counted of packets."""


@dataclass(slots=True)
class LiveResult:
    """Everything that a live run found; `to_dict` has the names of the JSON that `mozart live --json` prints."""

    topology: Topology | None
    """None where the result was read from a folder."""
    evaluation: Evaluation
    replayed: Result | None = None
    """The replay of what was sent; None where there is none."""
    rules: dict[str, int] = field(default_factory=dict)
    """Flow entries of ours by switch, while the run was on."""
    traffic: dict[str, Any] = field(default_factory=dict)
    unemulated: list[str] = field(default_factory=list)
    refused: Sequence[Any] = ()
    """Tasks that did not run, and why."""
    faults: list[Fault] = field(default_factory=list)
    more_faults: int = 0
    """Faults beside those, which were only counted."""
    link_drops: dict[str, int] = field(default_factory=dict)
    """Packets that lossy links dropped on purpose."""
    lost: Lost = field(default_factory=Lost)
    load: Load | None = None
    left_behind: list[str] = field(default_factory=list)
    """What the run made and could not remove."""
    gave_up: bool = False
    """Whether the run could not go on to its end, or not be evaluated whole."""
    status: int = 0
    """Exit status of an evaluation that was stopped; else 0."""
    late: Result | None = None
    """The same replay with tags that come as late as half of them came in the run."""
    read: Mapping[str, Any] | None = None
    """Where the result was read from a folder, what its run.json says."""

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> LiveResult:
        """Return the result that `to_dict` wrote, without topology and keys; raises KeyError for what is missing."""
        found = Evaluation(
            rows=[{name: value for name, value in row.items() if name != "overloaded"} for row in info["rows"]],
            packets={name: info[f"packets_{name}"] for name in COUNTED},
            drops=info["drops"],
            event_to_tag_ms=info["event_to_tag_ms"],
            explicit_ms=info["explicit_ms"],
            devices=info["devices"],
            notes=info["notes"],
        )
        return cls(
            None, found, rules=info["rules"], traffic=info["traffic"], unemulated=info["unemulated"],
            refused=info["refused"], faults=[Fault.from_dict(each) for each in info["faults"]],
            more_faults=info["faults_not_listed"], link_drops=info["link_drops"],
            lost=Lost.from_dict(info["packets_lost"]), load=Load.from_dict(info["load"]) if info["load"] else None,
            left_behind=info["left_behind"], gave_up=info["gave_up"], read=info,
        )  # fmt: skip

    @property
    def clean(self) -> bool:
        """Whether nothing went wrong, and nothing of the run is left on the machine."""
        return not self.faults and not self.left_behind and not self.gave_up

    @property
    def overloaded(self) -> bool:
        """Whether the run asked for more than the machine could carry, which shows in the shares of its rows."""
        return self.load is not None and bool(self.load.reasons)

    @property
    def replay_rows(self) -> list[dict[str, Any]]:
        """The rows of the replay of what was sent."""
        if self.read is not None:
            return list(self.read["replay_rows"])
        return self.replayed.rows if self.replayed is not None else []

    @property
    def late_rows(self) -> list[dict[str, Any]]:
        """The rows of the late replay."""
        if self.read is not None:
            return list(self.read["late_replay_rows"])
        return self.late.rows if self.late is not None else []

    @property
    def compared(self) -> list[dict[str, Any]]:
        """The rows beside each other (compare.py)."""
        return compare.compare(self.evaluation.rows, self.replay_rows, self.late_rows)

    @property
    def overlaps(self) -> list[dict[str, Any]]:
        """How many of the flows that the replay selects were selected live."""
        if self.read is not None:
            return list(self.read["selected"])
        replayed = self.replayed.selected_keys if self.replayed is not None else {}
        return compare.overlaps(self.evaluation.selected_keys, replayed)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values."""
        found = self.evaluation
        return {
            "switches": len(self.topology.switches) if self.topology is not None else None,
            "hosts": len(self.topology.hosts) if self.topology is not None else None,
            **{f"packets_{name}": found.packets.get(name, 0) for name in COUNTED},
            "packets_lost": self.lost.to_dict(),
            "load": self.load.to_dict() if self.load is not None else None,
            "rows": [{**row, "overloaded": self.overloaded} for row in found.rows],
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
            "faults": [fault.to_dict() for fault in self.faults],
            "faults_not_listed": self.more_faults,
            "left_behind": self.left_behind,
            "gave_up": self.gave_up,
            "clean": self.clean,
        }


def tables(result: LiveResult) -> list[RenderableType]:
    """Return what a terminal shows: packets, tasks as a replay shows them, times, devices, and the comparison."""
    from rich.text import Text

    shown: list[RenderableType] = [Text(line) for line in _lines(result)]
    for row in result.evaluation.rows:
        shown.append(Text(f"\n{row['task']}: {_task_line(row)}{f' ({MARK})' if result.overloaded else ''}"))
    if not result.evaluation.rows:
        shown += [Text(f"\n{row['task']}, replayed: {_task_line(row)}") for row in result.replay_rows]
    shown += [_devices(result.evaluation), legend(DEVICE_LEGEND)]
    if result.compared:
        if result.overloaded:
            shown.append(Text(f"\n{MARK[0].upper()}{MARK[1:].replace('this share', 'each share of the live run')}"))
        shown.append(compare.table(result.compared, result.overlaps))
        lines = compare.late_lines(result.evaluation.rows, result.replay_rows, result.late_rows)
        shown += [Text(line) for line in lines]
    shown += [Text(f"\n{HEAD}", style="dim"), legend(_legend(result))]
    return shown


def _legend(result: LiveResult) -> list[tuple[str, str]]:
    """Return the legend of the rows: what stands in the comparison, and the mode."""
    beside = [
        ("replay", "the same packets, replayed as they were sent, with tags that come at once"),
        ("difference", COMPARISON["difference"].meaning),
    ]
    columns = [(column.name.replace("_", " "), column.meaning) for column in REPLAYED if column.name not in SETTING]
    return (beside + columns if result.compared else []) + of_modes(result.evaluation.rows)


def _lines(result: LiveResult) -> list[str]:
    found, packets = result.evaluation, result.evaluation.packets
    lines = [
        f"{packets.get('sent', 0):,} packets sent, {packets.get('delivered', 0):,} delivered, "
        f"{packets.get('tagged', 0):,} tagged, {packets.get('arrived_tagged', 0):,} arrived with a tag"
    ]
    lines += _loss_lines(result)
    lines += left_out(result.traffic)
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
    return lines + result.unemulated + found.notes + _fault_lines(result)


def _loss_lines(result: LiveResult) -> list[str]:
    """Say what was lost on the way although no loss was asked for, and what shows that the machine was overloaded."""
    lost, lines = result.lost, []
    if lost.unasked:
        sent = max(result.evaluation.packets.get("sent", 0), 1)
        in_faults = f", {lost.in_faults:,} of them while faults lasted" if lost.in_faults else ""
        share = 100 * lost.unasked / sent
        lines.append(f"{lost.unasked:,} packets ({share:.2g} %) lost although no loss was asked for{in_faults}")
    if lost.unseen:
        lines.append(f"{lost.unseen:,} packets were sent while an agent of a host was away; they may have arrived")
    return lines


def _fault_lines(result: LiveResult) -> list[str]:
    lines = []
    for fault in result.faults:
        cost = f" ({fault.packets_lost:,} packets lost meanwhile)" if fault.packets_lost else ""
        lines.append(f"{'fault, over' if fault.repaired else 'fault'}: {fault.text}{cost}")
    if result.more_faults:
        lines.append(f"{result.more_faults:,} more faults are not listed")
    return lines


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
    for i, name in enumerate(("device", *(name for name, _ in DEVICE_LEGEND))):
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


def write_run(result: LiveResult, folder: str | Path, plot: bool = True, flows_csv: bool = False) -> list[Path]:
    """Write run.json, the rows, the flows and the comparison as CSV and Parquet, and the figures; return the paths.

    The flows are written as CSV up to a million rows, or with `flows_csv`.
    """
    place = Path(folder)
    overloaded = {"live": result.overloaded}
    rows = [
        {"source": source, "overloaded": overloaded.get(source), **row}
        for source, some in _sources(result)
        for row in some
    ]
    written = []
    try:
        make_folder(place)
        written.append(place / "run.json")
        written[0].write_text(json.dumps(result.to_dict(), indent=2) + "\n")
        for declared, name, some in ((ROWS, "rows", rows), (COMPARISON, "comparison", result.compared)):
            if some:
                written += write_table(place / name, declared, some)
        written += write_flows(result.evaluation.flows, place, flows_csv)
        if plot:
            written += _draw(result, place)
    except SpecError as error:
        raise LiveError(str(error)) from error
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "")
        why = f"{error.strerror or error}{f' ({name})' if name else ''}"
        raise LiveError(f"{error.filename or folder}: the run cannot be written there: {why}") from error
    except MozartError as error:  # a picture that finds no room, which is no bad input
        raise LiveError(f"{folder}: the run cannot be written there: {error}") from error
    return written


def _draw(result: LiveResult, place: Path) -> list[Path]:
    from ..topologies.picture import picture
    from .figures import draw

    loads = result.replayed.one_way_mbps if result.replayed is not None else {}
    caption = f"{result.evaluation.packets.get('sent', 0):,} packets sent, as the replay routes them"
    written = draw(result, place)
    if result.topology is not None:
        written += [picture(result.topology, place / f"network.{kind}", loads, caption) for kind in ("png", "pdf")]
    return written


def _sources(result: LiveResult) -> list[tuple[str, list[dict[str, Any]]]]:
    return [("live", result.evaluation.rows), ("replay", result.replay_rows), ("late replay", result.late_rows)]
