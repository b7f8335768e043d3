"""The report of a replay: tables for a terminal, and the run folder with everything for later."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._version import __version__
from ..errors import OutputError, RefusedError
from ..folders import make_folder, results_in
from ..recordsets import Recordset
from ..traces.silences import silence_line
from ..traces.untimed import untimed_line
from .columns import LINKS, ROWS
from .flows import CSV_ROWS, FLOWS_FILE, Flows
from .legend import HEAD, NOT_CAPTURED, PRE_EVENT, REPORTS, legend, of_rows
from .placed import Placed
from .result import Result

if TYPE_CHECKING:
    from rich.console import RenderableType

LINK_TABLES = ("links.csv", "links.parquet")
MOST_ACROSS = 6
"""Memory sizes that stand side by side in a table; more stand below each other."""

TOLD_COMPILE_SHARE = 0.1
"""Where compiling took a larger share of a replay's time, the rate says so."""
UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"), (1, "B"))


def write_run(result: Result, folder: str | Path, plot: bool = True, flows_csv: bool = False) -> list[Path]:
    """Write the run folder: run.json, the figures, and as CSV and Parquet the rows, the flows and what links lose.

    The flows are written as CSV up to `CSV_ROWS` rows, or with `flows_csv`. Returns the paths. What an earlier run has
    left there by the same names is replaced, and what this run lacks of it goes.
    """
    place = Path(folder)
    try:
        make_folder(place)
        paths = [place / "run.json"]
        earlier = list(results_in(place))
        paths[0].write_text(json.dumps({**result.to_dict(), **provenance(result)}, indent=2) + "\n")
        paths += write_table(place / "rows", ROWS, result.rows)
        for old in LINK_TABLES:
            (place / old).unlink(missing_ok=True)
        if result.located_links:
            paths += write_table(place / "links", LINKS, result.link_rows)
        paths += write_flows(result.flows, place, flows_csv)
    except OSError as error:
        raise OutputError(f"{folder}: the run cannot be written there: {error.strerror or error}") from error
    if plot:
        from ..topologies.picture import picture
        from .figures import draw

        for old in earlier:
            if old.endswith((".png", ".pdf")):
                (place / old).unlink(missing_ok=True)
        paths += draw(result.rows, place)
        if result.topology is not None:
            caption = f"{result.trace['packets']:,} packets in {_seconds(result.trace['duration_s'])} s"
            loads = result.one_way_mbps
            paths += [picture(result.topology, place / f"network.{kind}", loads, caption) for kind in ("png", "pdf")]
    return paths


def write_flows(flows: Flows, place: Path, as_csv: bool = False) -> list[Path]:
    """Write flows.parquet, where it is not there already, and flows.csv unless it would be long; returns the paths."""
    paths = [flows.write(place / FLOWS_FILE)]
    csv = paths[0].with_suffix(".csv")
    csv.unlink(missing_ok=True)
    return [*paths, flows.write_csv(csv)] if as_csv or len(flows) <= CSV_ROWS else paths


def write_table(place: Path, declared: Recordset, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write rows under a name, as CSV and as Parquet; returns the paths. What a row lacks is null."""
    import pyarrow.csv
    import pyarrow.parquet

    table = as_table(declared, rows)
    paths = [place.with_suffix(".csv"), place.with_suffix(".parquet")]
    pyarrow.csv.write_csv(table, paths[0])
    pyarrow.parquet.write_table(table, paths[1])
    return paths


def as_table(declared: Recordset, rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return rows as a pyarrow table with the declared columns; what a row lacks is null."""
    import pyarrow as pa

    schema = declared.arrow_schema()
    return pa.table([pa.array([row.get(f.name) for row in rows], f.type) for f in schema], schema=schema)


def provenance(result: Result) -> dict[str, Any]:
    """Return what a reader needs to repeat a run: effective task file, versions, commit, load of the machine."""
    return {
        "spec": result.spec,
        "mozart": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": loaded_packages(),
        "host": {"cores": os.cpu_count(), "load_1m": os.getloadavg()[0], "machine": platform.machine()},
    }


def loaded_packages() -> dict[str, str]:
    """Return the version of each installed package of which this process has loaded something, mozart aside."""
    loaded = {name.partition(".")[0] for name in sys.modules}
    owners = importlib.metadata.packages_distributions()
    names = {owner for module in loaded for owner in owners.get(module, ())} - {"mozart"}
    return {name: importlib.metadata.version(name) for name in sorted(names, key=str.lower)}


def _commit() -> str | None:
    """Return the git commit of the code, with a + where it was changed since; None outside a checkout of it.

    mozart may be installed inside somebody else's checkout, and GIT_DIR may name another repository (git sets it for
    hooks): only a commit counts that has this file, in a repository whose top folder is the package.
    """
    here = Path(__file__).resolve().parent.parent
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, timeout=10, check=True,
            env=environment,
        )  # fmt: skip
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != here:
            return None
        git("ls-files", "--error-unmatch", str(Path(__file__).resolve()))
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def tables(result: Result) -> list[RenderableType]:
    """Return what a terminal shows: the trace, the modules, and a table of rows a task."""
    from rich.text import Text

    shown: list[RenderableType] = [Text(line) for line in (*trace_lines(result), *placement_lines(result))]
    for task, placed in result.placement.items():
        rows = [row for row in result.rows if row["task"] == task]
        selector, monitor = placed["selector"], placed["monitor"]
        delays = sorted({row["detection_delay_ms"] for row in rows})
        at_delay = {delay: [row for row in rows if row["detection_delay_ms"] == delay] for delay in delays}
        selected = rows[0]["selected_flows"]
        shown.append(
            Text.assemble(
                ("\n" + task, "bold"),
                f": {selector['event']} on {_devices(selector['devices'])}, {monitor['measure']} on "
                f"{_devices(monitor['devices'])}, by {', '.join(placed['channels'])}; "
                + (f"{selected:,} {'flow' if selected == 1 else 'flows'} selected" if selected else "no flow selected")
                + (_unreachable(rows) if selected and len(delays) == 1 else ""),
            )
        )
        for delay, mine in at_delay.items():
            if selected and len(delays) > 1:
                shown.append(Text(f"detection delay {delay:g} ms{_unreachable(mine)}"))
            if selected:
                shown.append(_rows_tables(mine))
        if selected:
            shown.extend(_located_lines(result, task))
    if any(row["selected_flows"] for row in result.rows):
        shown += [Text(f"\n{HEAD}", style="dim"), legend(of_rows(result.rows))]
    return shown


def trace_lines(result: Result) -> list[str]:
    """Say what was replayed and what was left out."""
    t = result.trace
    flows = f"{t['flows']:,} flows" if t["flows_exact"] else f"about {t['flows']:,} flows"
    lines = [
        f"{t['packets']:,} packets, {flows}, {_bytes(t['bytes'])}, {_seconds(t['duration_s'])} s of trace, "
        f"at {_rate(result.packets_per_s)} packets/s" + _compiled(result)
    ]
    left_out = [f"{reason.replace('_', ' ')} {count:,}" for reason, count in t["skipped"].items() if count]
    if left_out:
        lines.append("not replayed: " + ", ".join(left_out))
    if "silences" in t and (line := silence_line(t["silences"])):
        lines.append(line)
    if line := untimed_line(t.get("untimed", 0)):
        lines.append(line + ", and no flow is selected for its rate")
    if t["dropped_on_links"]:
        lines.append(f"dropped on links: {t['dropped_on_links']:,} packets")
    evicted = {name: s["evicted"] for name, s in result.selectors.items() if s["evicted"]}
    if evicted:
        counts = ", ".join(f"{name} {n:,}" for name, n in evicted.items())
        lines.append(f"selector state given up for want of memory: {counts} times")
    return lines


def placement_lines(result: Result) -> list[str]:
    """Say how many tasks have a place for all their modules, and which were not replayed for want of one, and why."""
    placed = Placed(result.algorithm, result.placement_status, {}, result.refused)
    return placed_lines(len(result.placement) + len(result.refused), placed)


def placed_lines(tasks: int, placed: Placed) -> list[str]:
    """Say how many of so many tasks have a place for all their modules, which do not, and why."""
    head = f"placed {tasks - len(placed.refused)} of {tasks} tasks ({placed.algorithm}: {placed.status})"
    return [head, *refused_lines(placed.refused)]


def refused_lines(refused: Mapping[str, str]) -> list[str]:
    """Say which tasks were refused, and why; the same words wherever tasks are placed."""
    return [f"refused: {task}: {reason}" for task, reason in refused.items()]


def nothing_runs(refused: Mapping[str, str]) -> RefusedError:
    """Return the error of a run whose tasks were all refused."""
    return RefusedError("\n".join(["no task can run on this network, so nothing was started", *refused_lines(refused)]))


def _unreachable(rows: Sequence[dict[str, Any]]) -> str:
    return f", {rows[0]['unreachable_flows']:,} of them unreachable"


def _rows_tables(rows: Sequence[dict[str, Any]]) -> RenderableType:
    """Show three tables of the rows of one detection delay, modes downwards and memory sizes across."""
    from rich.columns import Columns

    return Columns(
        [
            _mode_table(rows, NOT_CAPTURED, lambda row: _percent(row["not_captured_ratio"]), floor=True),
            _mode_table(
                rows,
                PRE_EVENT,
                lambda row: _share(row["pre_event_captured_bytes"], row["pre_event_bytes"]),
            ),
            _mode_table(rows, REPORTS, lambda row: f"{row['report_bytes'] / 1e3:,.0f}"),
        ],
        padding=(0, 3),
    )


def _mode_table(
    rows: Sequence[dict[str, Any]], title: str, cell: Callable[[dict[str, Any]], str], floor: bool = False
) -> RenderableType:
    """Make a table of modes and memory sizes; the sizes stand across it unless they are many."""
    from rich import box
    from rich.table import Table

    sizes = sorted({row["memory_entries"] for row in rows})
    modes = list(dict.fromkeys(row["mode"] for row in rows))
    cells = {(row["mode"], row["memory_entries"]): cell(row) for row in rows}
    if floor:
        cells |= {("floor", row["memory_entries"]): _percent(row["floor_ratio"]) for row in rows}
        modes.append("floor")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", title_style="italic")
    table.min_width = len(title)
    table.add_column("entries", justify="left" if len(sizes) <= MOST_ACROSS else "right", no_wrap=True)
    for name in [f"{size:,}" for size in sizes] if len(sizes) <= MOST_ACROSS else modes:
        table.add_column(name, justify="right", no_wrap=True)
    if len(sizes) <= MOST_ACROSS:
        for mode in modes:
            table.add_row(mode, *(cells[mode, size] for size in sizes), style="dim" if mode == "floor" else None)
    else:
        for size in sizes:
            table.add_row(f"{size:,}", *(cells[mode, size] for mode in modes))
    return table


def _located_lines(result: Result, task: str) -> list[Any]:
    """Say where packets of selected flows were lost: with most memory and the shortest delay, for modes that agree."""
    from rich.text import Text

    mine = [found for found in result.located_links if found["task"] == task]
    best = max(((f["memory_entries"], -f["detection_delay_ms"]) for f in mine), default=None)
    modes: dict[str, list[str]] = {}
    for found in mine:
        if (found["memory_entries"], -found["detection_delay_ms"]) == best:
            modes.setdefault(_located(found), []).append(found["mode"])
    return [Text(f"loss located by {', '.join(names)}: {text}") for text, names in modes.items()]


def _located(found: Mapping[str, Any]) -> str:
    """Say which links one mode names, and how right it is."""
    links = sorted(found["links"], key=lambda x: -(x["estimated_loss"] or 0))
    named = ", ".join(
        f"{link['link']} {_percent(link['estimated_loss']) + ' %' if link['judged'] else 'not judged'} "
        f"(true {_percent(link['true_loss'])} %)"
        for link in links[:3]
    )
    rest = f" and {len(links) - 3} more" if len(links) > 3 else ""
    score = "; ".join(
        f"{what}: precision {_percent(found[p])} %, recall {_percent(found[r])} %"
        for what, p, r in (("links", "precision", "recall"), ("flows", "flow_precision", "flow_recall"))
        if found[p] is not None or found[r] is not None
    )
    return f"{named or 'no link'}{rest}" + (f"\n    {score}" if score else "")


def _compiled(result: Result) -> str:
    if result.compile_s < TOLD_COMPILE_SHARE * result.seconds:
        return ""
    return f" ({_seconds(result.compile_s)} of {_seconds(result.seconds)} s went to compiling kernels, this first time)"


def _devices(names: Sequence[str]) -> str:
    kinds = {"h": "hosts", "s": "switches"}
    if len(names) <= 4:
        return ", ".join(names)
    return " and ".join(
        f"{sum(n[0] == letter for n in names)} {kind}"
        for letter, kind in kinds.items()
        if any(n[0] == letter for n in names)
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _share(part: int, whole: int) -> str:
    return _percent(part / whole if whole else None)


def _bytes(count: int) -> str:
    """Show bytes with three digits or more, in a unit that makes few of them."""
    unit, name = next((pair for pair in UNITS if count >= pair[0]), UNITS[-1])
    return f"{count / unit:.2f} {name}" if unit > 1 else f"{count} {name}"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.1f}" if seconds >= 1 or not seconds else f"{seconds:.3g}"


def _rate(per_s: float) -> str:
    return f"{per_s / 1e6:.2f} million" if per_s >= 1e5 else f"{per_s:,.0f}"
