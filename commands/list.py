"""`mozart list`: what there is to choose from, with parameters, units and defaults; and the columns of tables."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..fields import Field
    from .known import Entry

SUBJECTS = ("events", "measures", "topologies", "algorithms", "modes", "columns")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mozart list`."""
    parser.add_argument("what", choices=SUBJECTS, help=f"one of {', '.join(SUBJECTS)}", metavar="WHAT")
    parser.add_argument("--json", action="store_true", help="write it as JSON on standard output")


def run(args: argparse.Namespace) -> int:
    """Show what there is of a kind."""
    from .known import KNOWN

    if args.what == "columns":
        print(json.dumps(columns_as_json(), indent=2)) if args.json else _print(_column_tables())
        return 0
    entries = KNOWN[args.what]()
    if args.json:
        print(json.dumps([entry.to_dict() for entry in entries], indent=2))
    else:
        _print(_entry_tables(entries))
    return 0


def columns_as_json() -> list[dict[str, Any]]:
    """Return every column of a run's tables as plain values."""
    from .known import columns

    return [
        {
            "table": table.name, "name": c.name, "type": c.type, "unit": c.unit, "nullable": c.nullable,
            "meaning": c.meaning, "computed": c.computed, "values": dict(c.values),
        }
        for table in columns()
        for c in table
    ]  # fmt: skip


def _entry_tables(entries: Sequence[Entry]) -> list[RenderableType]:
    from rich.text import Text

    shown: list[RenderableType] = []
    for entry in entries:
        shown.append(Text.assemble((entry.name, "bold"), f": {entry.summary}" if entry.summary else ""))
        if entry.parameters:
            shown.append(_parameter_table(entry.parameters))
    return shown


def _parameter_table(parameters: Mapping[str, Field]) -> RenderableType:
    rows = [(name, f.default_text, f.unit_name or "-", f.help, f.allowed) for name, f in parameters.items()]
    return _table(("  parameter", "default", "unit", "meaning", "allowed"), [(f"  {row[0]}", *row[1:]) for row in rows])


def _column_tables() -> list[RenderableType]:
    from rich.text import Text

    from .known import columns, described

    shown: list[RenderableType] = []
    for table in columns():
        shown.append(Text.assemble((table.name, "bold"), f": {table.meaning.replace('`', '')}"))
        rows = [(f"  {c.name}", c.unit or "-", *(text.replace("`", "") for text in described(c))) for c in table]
        shown.append(_table(("  column", "unit", "meaning", "how it is computed"), rows))
    return shown


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, title in enumerate(titles):
        table.add_column(title, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _print(shown: Sequence[RenderableType]) -> None:
    from rich.console import Console

    from .replay import PLAIN_WIDTH

    Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH).print(*shown, sep="\n")
