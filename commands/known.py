"""What has a name in mozart, with its parameters: events, measures, topologies, algorithms and modes.

`mozart list` shows it and the documentation is made of it (reference.py). All of it is declared where it is
implemented; this file only collects it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..fields import Field
from ..recordsets import Column, Recordset


@dataclass(frozen=True)
class Entry:
    """One thing with a name."""

    name: str
    summary: str
    parameters: Mapping[str, Field] = field(default_factory=dict)
    rule: str = ""
    """How it works, as its implementation says."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "name": self.name,
            "summary": self.summary,
            "parameters": [_plain(name, each) for name, each in self.parameters.items()],
        }


def _plain(name: str, each: Field) -> dict[str, Any]:
    """Return a parameter as plain values; one without a default says that it is required."""
    said = {
        "name": name,
        "type": each.type_name,
        "unit": each.unit_name,
        "default": None if each.required else each.default,
        "meaning": each.help,
    }
    return {**said, "required": True} if each.required else said


def events() -> list[Entry]:
    """Return every event that selects flows."""
    from ..replay.vocabulary import events as parameters
    from ..selectors.events import EVENTS

    own = parameters()
    return [Entry(name, _first_line(kind), own[name], _rule(kind)) for name, kind in EVENTS.items()]


def measures() -> list[Entry]:
    """Return everything that monitors can measure of a flow."""
    from ..monitors.measures import MEASURES, Measure

    return [
        Entry(name, _first_line(kind), kind.parameters, _measured(kind, Measure)) for name, kind in MEASURES.items()
    ]


def topologies() -> list[Entry]:
    """Return every topology that is made by name, and the kinds of files."""
    from ..topologies.catalogue import SUMMARIES, TABLES

    return [Entry(f"FILE{name}" if name[0] == "." else name, SUMMARIES[name], TABLES[name]) for name in TABLES]


def algorithms() -> list[Entry]:
    """Return every placement algorithm."""
    from ..placement.algorithms import ALGORITHMS

    return [Entry(name, line) for name, (_, _, line) in ALGORITHMS.items()]


def modes() -> list[Entry]:
    """Return every mode of monitoring."""
    from ..monitors.modes import MODES

    return [Entry(mode.name, mode.summary) for mode in MODES.values()]


KNOWN: dict[str, Callable[[], list[Entry]]] = {
    "events": events,
    "measures": measures,
    "topologies": topologies,
    "algorithms": algorithms,
    "modes": modes,
}
"""Everything with a name, by kind."""


def columns() -> list[Recordset]:
    """Return the columns of every table that a run writes."""
    from ..live import columns as live
    from ..recordsets import FLOWS
    from ..replay import columns as replay

    return [
        replay.ROWS, FLOWS, replay.LINKS,
        live.ROWS, live.COMPARISON, live.PACKETS, live.SELECTED, live.DEVICES, live.TIMES,
    ]  # fmt: skip


def described(column: Column) -> tuple[str, str]:
    """Return what a column is, with the meaning of its words, and how it is computed."""
    words = "; ".join(f"`{word}`: {meaning}" for word, meaning in column.values)
    return column.meaning + (f" ({words})" if words else ""), column.computed


def _first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").partition("\n")[0].rstrip(".")


def _measured(kind: Any, base: type) -> str:
    """Return what the classes of a measure say of it beyond their first lines, and what it adds to a record."""
    made_of = [each for each in kind.__mro__ if issubclass(each, base) and each is not base]
    said = [(inspect.getdoc(each) or "").partition("\n\n")[2] for each in made_of]
    size = f"It adds {kind.row_bytes} bytes to each entry." if kind.row_bytes else "It adds nothing to an entry."
    return "\n\n".join(["", *filter(None, said), size])


def _rule(kind: type) -> str:
    """Return the documentation of the file that a kind stands in."""
    return inspect.cleandoc(sys.modules[kind.__module__].__doc__ or "")
