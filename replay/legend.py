"""The legend under a report's tables: what each column and mode means, from their declarations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..monitors.modes import MODES
from .columns import ROWS

if TYPE_CHECKING:
    from rich.console import RenderableType

HEAD = "legend (mozart list columns says how each is computed)"
NOT_CAPTURED, PRE_EVENT, REPORTS = "not captured, %", "pre-event bytes captured, %", "reports, kB"
"""The titles of a replay's tables."""


def legend(entries: Iterable[tuple[str, str]]) -> RenderableType:
    """Return the legend of some columns or words, each with what it means."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(style="dim")
    for name, meaning in entries:
        grid.add_row(Text(f"  {name}"), Text(meaning.replace("`", "")))
    return grid


def of_rows(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the legend of the three tables that show rows: titles, the floor, and the modes that there are."""
    captured = ROWS["captured_flows"].meaning.partition(" with ")[2]
    return [
        (NOT_CAPTURED, f"{ROWS['not_captured_ratio'].meaning}; captured: with {captured}"),
        (PRE_EVENT, f"of the {ROWS['pre_event_bytes'].meaning}, what the records hold"),
        (REPORTS, ROWS["report_bytes"].meaning),
        ("entries", f"{ROWS['memory_entries'].meaning}, across; below, the modes"),
        *of_modes(rows),
        ("floor", ROWS["floor_ratio"].meaning),
    ]


def of_modes(rows: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the legend of the modes that rows have."""
    return [(mode, MODES[mode].summary) for mode in dict.fromkeys(row["mode"] for row in rows) if mode in MODES]
