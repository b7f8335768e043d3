"""The flows of a run: rows that come epoch by epoch, kept in memory or written to a Parquet file as they come.

A file is written beside its place and takes its name when it is whole: what is found under that name can be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..errors import SpecError
from ..recordsets import FLOWS

GROUP_ROWS = 1 << 17
"""Rows that are gathered before they are written as one row group, where an epoch has fewer."""
CSV_ROWS = 10**6
"""Most rows that are written as CSV unasked."""
COMPRESSION = "snappy"
"""A third more bytes than zstd at two thirds of its processor time a row."""
STATISTICS = ("task", "selected_ns", "mode", "memory_entries", "detection_delay_ms", "epoch")
"""Columns whose least and greatest value each row group has, for readers that skip: of all columns they take a third of
the processor time of writing."""
FLOWS_FILE = "flows.parquet"
"""Name of the file in a run's folder."""


class Flows:
    """Rows of flows that are complete: from memory or from a Parquet file. `recordsets.FLOWS` declares the columns."""

    def __init__(self, tables: list[Any] | None = None, path: Path | None = None) -> None:
        """Take arrow tables, or the path of a file."""
        self.tables, self.path = tables or [], path

    def __len__(self) -> int:
        if self.path is None:
            return sum(len(table) for table in self.tables)
        import pyarrow.parquet

        return int(pyarrow.parquet.read_metadata(self.path).num_rows)

    def __repr__(self) -> str:
        return f"<Flows: {len(self):,} rows{f' in {self.path}' if self.path else ''}>"

    def __iter__(self) -> Iterator[Any]:
        """Give the rows as arrow tables, one after the other: a file's row groups."""
        if self.path is None:
            yield from self.tables
            return
        import pyarrow.parquet

        with pyarrow.parquet.ParquetFile(self.path, read_dictionary=texts()) as file:
            for number in range(file.num_row_groups):
                yield file.read_row_group(number)

    def to_arrow(self) -> Any:
        """Return all rows as one arrow table."""
        import pyarrow as pa

        tables = list(self)
        return pa.concat_tables(tables).unify_dictionaries() if tables else FLOWS.arrow_schema().empty_table()

    def to_polars(self) -> Any:
        """Return all rows as a polars DataFrame (needs the extra `notebook`)."""
        import polars

        return polars.from_arrow(self.to_arrow())

    def to_pandas(self) -> Any:
        """Return all rows as a pandas DataFrame (needs the extra `notebook`)."""
        return self.to_arrow().to_pandas()

    def rows(self) -> Iterator[dict[str, Any]]:
        """Give the rows as dicts."""
        for table in self:
            yield from table.to_pylist()

    def write(self, path: Path) -> Path:
        """Write all rows to a Parquet file, where they are not there already."""
        if self.path is None or self.path.resolve() != path.resolve():
            with FlowWriter(path, even_empty=True) as writer:
                for table in self:
                    writer.add(table)
        return path

    def write_csv(self, path: Path) -> Path:
        """Write all rows as CSV."""
        import pyarrow as pa
        import pyarrow.csv

        plain = pa.schema([pa.field(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type)
                           for f in FLOWS.arrow_schema()])  # fmt: skip
        with pyarrow.csv.CSVWriter(path, plain) as writer:
            for table in self:
                writer.write_table(table.cast(plain))
        return path


class FlowSink:
    """Takes rows of flows as they come, and keeps them in memory; `flows` has them when it is left without an error."""

    def __init__(self) -> None:
        self.tables: list[Any] = []
        self.flows = Flows()

    def add(self, table: Any) -> None:
        """Take rows, an arrow table of `FLOWS`."""
        if len(table):
            self.tables.append(table)

    def finish(self) -> None:
        """Take no more rows."""
        self.flows = Flows(self.tables)

    def abandon(self) -> None:
        """Give up what came."""
        self.tables = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.abandon()


class FlowWriter(FlowSink):
    """Takes rows of flows as they come, and writes them to a Parquet file: memory for one row group, and no more."""

    def __init__(self, path: Path, even_empty: bool = False) -> None:
        """Take the path of the file; it is begun with its first rows, or with `even_empty` at the end without any."""
        super().__init__()
        self.even_empty = even_empty
        self.path, self._part = path, path.with_name(f".{path.name}.part")
        self._waiting = 0
        self._writer: Any = None

    def add(self, table: Any) -> None:
        """Take rows; writes a row group where there are enough. Raises SpecError where the disk takes none."""
        super().add(table)
        self._waiting += len(table)
        if self._waiting >= GROUP_ROWS:
            self._write()

    def _write(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet

        tables, self.tables, self._waiting = self.tables, [], 0
        rows = pa.concat_tables(tables).unify_dictionaries() if tables else FLOWS.arrow_schema().empty_table()
        with _told(self.path):
            if self._writer is None:
                self._writer = pyarrow.parquet.ParquetWriter(
                    self._part, FLOWS.arrow_schema(), compression=COMPRESSION, use_dictionary=texts(),
                    write_statistics=list(STATISTICS),
                )  # fmt: skip
            self._writer.write_table(rows, row_group_size=max(len(rows), 1))

    def finish(self) -> None:
        """Write what is left and give the file its name."""
        if self.tables or (self.even_empty and self._writer is None):
            self._write()
        if self._writer is None:
            return
        with _told(self.path):
            self._writer.close()
            self._part.replace(self.path)
        self.flows = Flows(path=self.path)

    def abandon(self) -> None:
        """Remove the file."""
        super().abandon()
        with suppress(OSError):
            if self._writer is not None:
                self._writer.close()
        with suppress(OSError):
            self._part.unlink(missing_ok=True)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say of an error of the disk which file it concerns."""
    try:
        yield
    except OSError as error:
        raise SpecError(f"{path}: the flows cannot be written there: {error.strerror or error}") from error


def sink_of(flows: bool | str | Path) -> FlowSink:
    """Return what takes the rows of flows: a Parquet file by its path, or memory."""
    return FlowSink() if isinstance(flows, bool) else FlowWriter(Path(flows))


def texts() -> list[str]:
    """Return the names of the columns that hold texts."""
    return [column.name for column in FLOWS if column.type == "text"]
