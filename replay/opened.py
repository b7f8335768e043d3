"""A run's folder, read again: what run.json says, and the tables, as they were written.

Nothing is computed. A folder of a run on a real network (live/) is read in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import SpecError
from ..folders import LIVE, REPLAY
from ..recordsets import FLOWS
from .columns import LINKS, ROWS
from .report import as_table
from .result import Result, link_rows

FRAMES = ("polars", "pandas", "arrow")
"""What a table can be read as."""


class RunFolder:
    """The folder of a run; tables are read when they are asked for, as polars, pandas or pyarrow."""

    def __init__(self, folder: str | Path, frames: str = "polars") -> None:
        """Read run.json; raises SpecError where the folder holds no run that can be read."""
        if frames not in FRAMES:
            raise SpecError(f"no kind of table {frames!r}; there are {', '.join(FRAMES)}")
        self.path, self.frames = Path(folder), frames
        self.info: dict[str, Any] = read_info(self.path)
        """Everything that run.json says: the task file, versions, rows, where modules ran, what was lost."""

    def __repr__(self) -> str:
        return f"<{'live run' if self.live else 'replay'} {self.path}: {len(self.info['rows'])} rows>"

    @property
    def live(self) -> bool:
        """Whether it is a run on a network that forwards packets."""
        return "packets_sent" in self.info

    @cached_property
    def rows(self) -> Any:
        """One row a task, detection delay, mode and memory size (docs/columns.md)."""
        return self._as_frame(self.table("rows"))

    @cached_property
    def links(self) -> Any:
        """One row a setting and link that loses packets; none where no task locates loss."""
        return self._as_frame(self.table("links"))

    @cached_property
    def flows(self) -> Any:
        """One row a selection of a flow, setting, epoch and monitor; raises SpecError in a folder without them."""
        return self._as_frame(self.table("flows"))

    def table(self, name: str) -> Any:
        """Return one of the tables rows, links and flows as a pyarrow table."""
        import pyarrow as pa
        import pyarrow.parquet

        path = self.path / f"{name}.parquet"
        if name == "links" and not path.exists():
            return as_table(LINKS, link_rows(self.info.get("located_links", ())))
        if name == "rows" and not path.exists():
            return as_table(ROWS, self.info["rows"])
        if not path.exists():
            raise SpecError(
                f"{self.path} has no {path.name}: an older mozart made this run, without flows; run it again for them"
            )
        try:
            table = pyarrow.parquet.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise SpecError(f"{path}: cannot be read: {error}") from None
        if missing := [column for column in FLOWS.names if name == "flows" and column not in table.column_names]:
            raise SpecError(f"{path}: has no column {', '.join(missing)}; another version of mozart wrote it")
        return table

    def _as_frame(self, table: Any) -> Any:
        if self.frames == "arrow":
            return table
        if self.frames == "pandas":
            return table.to_pandas()
        import polars

        return polars.from_arrow(table)


def read_info(folder: Path) -> dict[str, Any]:
    """Return what the run.json of a folder says; raises SpecError where there is none, or it is of no run."""
    path = folder / REPLAY
    if not path.exists():
        if not folder.is_dir():
            raise SpecError(f"{folder}: there is no such folder; runs lie where --out said (runs/ after make run)")
        raise SpecError(f"{folder}: holds no run: neither {REPLAY} nor {LIVE} is there")
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SpecError(f"{path}: is damaged ({error}); a run that was cut off has to be run again") from None
    if not isinstance(info, dict) or not isinstance(info.get("rows"), list):
        raise SpecError(f"{path}: is not of a run: it has no rows")
    return info


def result_of(folder: RunFolder) -> Result:
    """Return the result of the replay that a folder holds; raises SpecError where its run.json lacks something."""
    try:
        return Result.of(folder.info)
    except (KeyError, TypeError, AttributeError) as error:
        raise SpecError(f"{folder.path / REPLAY}: lacks {error}; another version of mozart wrote it") from None


def only(
    result: Result,
    tasks: Sequence[str] = (),
    modes: Sequence[str] = (),
    memory: Sequence[int] = (),
    delays_ms: Sequence[float] = (),
) -> Result:
    """Return a result with some of its tasks and settings; empty: all. Raises SpecError for what it does not have."""
    wanted = {"task": tasks, "mode": modes, "memory_entries": memory, "detection_delay_ms": delays_ms}
    check_wanted(wanted, result.rows, known={"task": list(result.placement)})
    return replace(
        result,
        rows=chosen(result.rows, wanted),
        located_links=chosen(result.located_links, wanted),
        placement={task: placed for task, placed in result.placement.items() if not tasks or task in tasks},
        refused={} if tasks else result.refused,
        selectors={task: said for task, said in result.selectors.items() if not tasks or task in tasks},
    )


def check_wanted(
    wanted: Mapping[str, Sequence[Any]],
    rows: Sequence[Mapping[str, Any]],
    known: Mapping[str, Sequence[Any]] | None = None,
) -> None:
    """Raise SpecError for a wanted value of a column that no row has; `known` are the values of a column otherwise."""
    for column, values in wanted.items():
        there = list((known or {}).get(column, ())) or list(dict.fromkeys(row[column] for row in rows))
        for value in values:
            if value not in there:
                what = column.replace("_", " ")
                raise SpecError(f"the run has no {what} {value}; there are {', '.join(map(str, there)) or 'none'}")


def chosen(rows: Sequence[Mapping[str, Any]], wanted: Mapping[str, Sequence[Any]]) -> list[Any]:
    """Return the rows whose columns have one of the wanted values; a column without any takes all."""
    return [row for row in rows if all(not values or row[column] in values for column, values in wanted.items())]
