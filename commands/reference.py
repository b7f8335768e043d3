"""The parts of docs/ that are made from declarations in the code: `make docs` writes them, a test compares them.

A part stands between the two comments of `MARKS` with its name. The rest of a page is written by hand.

usage: python -m mozart.commands.reference [FOLDER]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ..errors import SpecError
from ..fields import Field, fields_of
from ..tasks import SECTIONS
from .known import Entry, columns, described, events, measures, modes

MARKS = ("<!-- made by make docs: {} -->", "<!-- end of {} -->")
DOCS = Path(__file__).resolve().parent.parent / "docs"


def task_keys() -> Iterator[str]:
    """Yield the table of all fixed keys of a task file."""
    rows = [
        (f"`{section + '.' if section else ''}{key}`", field.allowed, _default(field), field.help)
        for section, made in SECTIONS.items()
        for key, field in fields_of(made).items()
    ]
    yield from _table(("key", "what it holds", "default", "meaning"), rows)


def all_events() -> Iterator[str]:
    """Yield a section for each event: its rule, as its implementation has it, and its parameters."""
    yield from _entries(events())


def all_measures() -> Iterator[str]:
    """Yield a section for each measure."""
    yield from _entries(measures())


def all_modes() -> Iterator[str]:
    """Yield the table of modes."""
    yield from _table(("mode", "what the monitors do"), [(f"`{mode.name}`", mode.summary) for mode in modes()])


def all_columns() -> Iterator[str]:
    """Yield a table for each table that a run writes."""
    for number, table in enumerate(columns()):
        yield from [""] * bool(number) + _heading(table.name, table.meaning)
        rows = [(f"`{c.name}`", c.type, c.unit or "-", *(_cell(text) for text in described(c))) for c in table]
        yield from _table(("column", "type", "unit", "what it is", "how it is computed"), rows)


PARTS: dict[str, Callable[[], Iterable[str]]] = {
    "task-keys": task_keys,
    "events": all_events,
    "measures": all_measures,
    "modes": all_modes,
    "columns": all_columns,
}
"""Every part by name."""


def renewed(text: str, page: str) -> str:
    """Return a page with its parts as the code has them now; raises SpecError where a mark is wrong."""
    for name in re.findall(r"<!-- made by make docs: (\S+) -->", text):
        begin, end = (mark.format(name) for mark in MARKS)
        if name not in PARTS or text.count(begin) != 1 or text.count(end) != 1:
            raise SpecError(f"{page}: the part {name} is unknown, or does not begin and end once")
        before, _, rest = text.partition(begin)
        _, _, behind = rest.partition(end)
        text = "\n".join([f"{before}{begin}", "", *PARTS[name](), "", f"{end}{behind}"])
    return text


def main(arguments: Sequence[str]) -> int:
    """Write the parts of all pages of a folder anew, and say which pages have changed."""
    for page in sorted(Path(arguments[0] if arguments else DOCS).glob("*.md")):
        old = page.read_text(encoding="utf-8")
        new = renewed(old, str(page))
        if new != old:
            page.write_text(new, encoding="utf-8")
            print(f"{page}: written")
    return 0


def _entries(entries: Sequence[Entry]) -> Iterator[str]:
    for number, entry in enumerate(entries):
        yield from [""] * bool(number) + _heading(f"`{entry.name}`", entry.summary)
        steps = entry.rule.partition("\n\n")[2]
        yield from [steps, ""] if steps else []
        yield from _parameters(entry.parameters) if entry.parameters else ["It has no parameters."]


def _heading(name: str, what: str) -> list[str]:
    return [f"### {name}", "", f"{what[0].upper()}{what[1:].rstrip('.')}.", ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|") or "-"


def _parameters(parameters: Mapping[str, Field]) -> Iterator[str]:
    rows = [
        (f"`{name}`", f.type_name, f.unit_name or "-", _default(f), f.help, f.allowed) for name, f in parameters.items()
    ]
    yield from _table(("parameter", "type", "unit", "default", "meaning", "allowed"), rows)


def _default(field: Field) -> str:
    return "required" if field.required else "null" if field.default is None else f"`{field.default_text}`"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(titles)} |"
    yield "|" + "---|" * len(titles)
    yield from (f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
