"""`mozart open`: the tables of a run again, and its flows, filtered; a killed live run is evaluated first."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..replay.opened import RunFolder

EXAMPLES = """examples:
  mozart open run                                    # the report again
  mozart open run --task scanners --mode mozart,recent
  mozart open run --flows --not-captured             # which flows were missed, and why
  mozart open run --flows --top true_bytes --limit 5
  mozart open run --flows --why full --monitor s3 --json
  mozart open run --mode recent --all-records --top bytes
  mozart open run --mode recent --memory 1024 --export nfdump flows.nfcapd
  mozart open run --links --json"""
EXPORTS = {
    "ipfix": ("..replay.flow_ipfix", "write_ipfix"),
    "nfdump": (".nfcapd", "write_nfdump"),
    "zeek": ("..replay.flow_zeek", "write_zeek"),
}
"""What writes flows in a form of others, by the name of the form: module and function."""
LIMIT = 20
"""Flows that a terminal shows unless told otherwise."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mozart open`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("run_folder", metavar="RUN", help="folder of a run, as --out named it")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--flows", action="store_true", help="list selected flows instead of the report")
    what.add_argument("--links", action="store_true", help="list links that lose packets instead of the report")
    what.add_argument("--rows", action="store_true", help="list the rows with all columns instead of the report")
    setting = parser.add_argument_group("which tasks and settings")
    setting.add_argument("--task", metavar="A,B", help="only these tasks")
    setting.add_argument("--mode", metavar="M,M", help="only these modes")
    setting.add_argument("--memory", metavar="N,N", help="only these memory sizes")
    setting.add_argument("--detection-delay-ms", metavar="N,N", help="only these delays")
    flows = parser.add_argument_group("which flows (each of these means --flows)")
    state = flows.add_mutually_exclusive_group()
    state.add_argument("--not-captured", action="store_true", help="missed: some monitor on the way has no record")
    state.add_argument("--captured", action="store_true", help="captured by all monitors on the way")
    state.add_argument("--unreachable", action="store_true", help="out of every tag's reach")
    state.add_argument("--all-records", action="store_true", help="with the records of flows that nobody selected")
    flows.add_argument("--why", metavar="W,W", help="missed for one of these reasons (mozart list columns has them)")
    flows.add_argument("--monitor", metavar="D,D", help="judged at these monitors alone, such as s3,s6")
    flows.add_argument("--src", metavar="ADDRESS", help="from this address")
    flows.add_argument("--dst", metavar="ADDRESS", help="to this address")
    flows.add_argument("--top", metavar="COLUMN", help="largest first: bytes, true_bytes, packets, event_value, ...")
    flows.add_argument("--limit", metavar="N", help=f"so many flows; default {LIMIT}, with --json all")
    flows.add_argument(
        "--export", nargs=2, metavar=("FORMAT", "FILE"),
        help="write what monitors recorded of them: ipfix, nfdump (needs its nfcapd), or zeek (conn.log)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="write it as JSON on standard output")


def run(args: argparse.Namespace) -> int:
    """Open a run and show what is asked for."""
    from ..live.opened import open_run
    from ..traces.progress import say

    _check(args)
    folder = open_run(args.run_folder, "arrow", say)
    if _about_flows(args):
        _flows(args, folder)
    elif args.links or args.rows:
        _table(args, folder, "links" if args.links else "rows")
    else:
        _report(args, folder)
    return 0


def _about_flows(args: argparse.Namespace) -> bool:
    names = (
        "flows",
        "not_captured",
        "captured",
        "unreachable",
        "all_records",
        "why",
        "monitor",
        "src",
        "dst",
        "top",
        "limit",
        "export",
    )
    return any(getattr(args, name) not in (None, False) for name in names)


def _check(args: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    from ..errors import SpecError

    if (args.links or args.rows) and _about_flows(args):
        raise SpecError(
            "--links and --rows take --task, --mode, --memory and --detection-delay-ms; the rest is of --flows"
        )
    from ..fields import Field
    from ..options import Options

    options = Options(args)
    options.read({"--limit": Field(int, "flows", None, minimum=1)})
    options.refuse()
    if args.export:
        from ..folders import check_file

        if args.export[0] not in EXPORTS:
            raise SpecError(f"--export {args.export[0]}: no such format; there are {', '.join(EXPORTS)}")
        check_file(args.export[1], "--export", force=False)


def _wanted(args: argparse.Namespace) -> dict[str, list[Any]]:
    """Return the wanted values of the columns that name tasks and settings."""
    return {
        "task": _words(args.task),
        "mode": _words(args.mode),
        "memory_entries": _numbers(args.memory, "--memory", int),
        "detection_delay_ms": _numbers(args.detection_delay_ms, "--detection-delay-ms", float),
    }


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()] if text else []


def _numbers(text: str | None, option: str, kind: type) -> list[Any]:
    from ..errors import SpecError

    try:
        return [kind(word) for word in _words(text)]
    except ValueError:
        raise SpecError(f"{option} {text}: must be numbers with commas between") from None


def _report(args: argparse.Namespace, folder: RunFolder) -> None:
    """Show the report of the run again, or what run.json says."""
    from dataclasses import replace

    from ..replay.opened import check_wanted, chosen, only, result_of

    wanted = _wanted(args)
    if folder.live:
        from ..live.opened import result_of as live_result_of
        from ..live.report import tables as live_tables

        check_wanted(wanted, folder.info["rows"])
        lists = ("rows", "replay_rows", "late_replay_rows")
        by_task = {"task": wanted["task"]}
        info = {
            **folder.info,
            **{name: chosen(folder.info[name], wanted) for name in lists},
            **{name: chosen(folder.info[name], by_task) for name in ("comparison", "selected")},
        }
        live = replace(live_result_of(folder), read=info)
        live.evaluation.rows = info["rows"]
        print(json.dumps(info, indent=2)) if args.json else _print(live_tables(live))
        return
    from ..replay.report import tables

    result = only(result_of(folder), *wanted.values())
    if args.json:
        kept = {name: value for name, value in folder.info.items() if name not in result.to_dict()}
        print(json.dumps({**result.to_dict(), **kept}, indent=2))
    else:
        _print(tables(result))


def _table(args: argparse.Namespace, folder: RunFolder, name: str) -> None:
    """Show one of the plain tables."""
    from ..replay.columns import LINKS, ROWS
    from ..replay.legend import legend
    from ..replay.opened import check_wanted, chosen

    wanted = _wanted(args)
    check_wanted(wanted, folder.info["rows"])
    rows = chosen(folder.table(name).to_pylist(), wanted)
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    declared = ROWS if name == "rows" else LINKS
    titles = list(rows[0]) if rows else list(declared.names)
    entries = [(column.name, column.meaning) for column in declared]
    _print([_grid(titles, [[_cell(row[title]) for title in titles] for row in rows]), legend(entries)])


def _flows(args: argparse.Namespace, folder: RunFolder) -> None:
    """List flows: a line each on a terminal, all of their rows as JSON."""
    from ..errors import SpecError
    from ..replay.flow_list import CAPTURED, MISSED, UNREACHABLE, list_flows
    from ..replay.opened import check_wanted

    wanted = _wanted(args)
    check_wanted(wanted, folder.info["rows"])
    wanted |= {"monitor": _words(args.monitor), "src": _words(args.src), "dst": _words(args.dst)}
    table = folder.table("flows")
    there = sorted(set(table["monitor"].unique().to_pylist()) - {None})
    for monitor in wanted["monitor"]:
        if monitor not in there:
            raise SpecError(f"the run has no monitor {monitor}; there are {', '.join(there) or 'none'}")
    given = ((MISSED, args.not_captured), (CAPTURED, args.captured), (UNREACHABLE, args.unreachable))
    state = next((state for state, asked in given if asked), None)
    most = args.limit if args.limit or args.json or args.export else LIMIT
    if args.all_records and not table["event"].null_count:
        raise SpecError("the run has no records of unselected flows; mozart replay --all-records --out DIR keeps them")
    found = list_flows(table, wanted, state, _words(args.why), args.top, most, args.all_records)
    if args.export:
        _export(found.rows(), *args.export)
    if args.json:
        print(json.dumps(found.rows().to_pylist(), indent=2))
    elif args.export:
        return
    else:
        from ..replay.flow_table import tables

        _print(tables(found))


def _export(rows: Any, form: str, path: str) -> None:
    """Write what monitors recorded of some flows in a form of others; raises SpecError where settings are mixed."""
    from importlib import import_module

    from ..errors import SpecError
    from ..replay.flow_list import SETTING

    for name in SETTING:
        if len(values := rows[name].unique().to_pylist()) > 1:
            option = "--memory" if name == "memory_entries" else "--" + name.replace("_", "-")
            raise SpecError(
                f"--export: the flows have {len(values)} values of {name.replace('_', ' ')}, and would stand there "
                f"{len(values)} times; choose one with {option}: {', '.join(map(str, sorted(values)))}"
            )
    module, function = EXPORTS[form]
    try:
        count = getattr(import_module(module, __package__), function)([rows], Path(path))
    except OSError as error:
        raise SpecError(f"--export {path}: cannot be written: {error.strerror or error}") from error
    print(f"mozart: wrote {path}: {count:,} records of monitors, one a flow, epoch and monitor", file=sys.stderr)


def _grid(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)


def _print(shown: Sequence[Any]) -> None:
    from rich.console import Console

    from .replay import PLAIN_WIDTH

    terminal = sys.stdout.isatty()
    Console(width=None if terminal else PLAIN_WIDTH).print(*shown, sep="\n", soft_wrap=not terminal)
