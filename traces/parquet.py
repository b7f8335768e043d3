"""Packets as Parquet columns, streamed by row groups.

The columns are those of `packets.COLUMNS`, with the same names and integer types. Addresses are 16 bytes in
network order (fixed-size binary), an IPv4 address a.b.c.d being ::ffff:a.b.c.d: text would cost more to make
than all the rest. In Python, `a = ipaddress.IPv6Address(value)` and `a.ipv4_mapped or a` give the usual form.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from ..errors import TraceError
from .header_kernels import SKIP_REASONS
from .output import OutputFile
from .packets import BATCH_PACKETS, COLUMNS, PacketBatch, concatenate

ROW_GROUP_PACKETS = 1 << 18
ADDRESS = pa.binary(16)


def schema() -> pa.Schema:
    """Return the Parquet schema, made of the one packet layout."""
    return pa.schema(
        pa.field(
            name,
            ADDRESS if words == 2 else pa.from_numpy_dtype(np.dtype(dtype)),
            nullable=False,
            metadata={"meaning": "address in network order, IPv4 as ::ffff:a.b.c.d" if words == 2 else meaning},
        )
        for name, (dtype, words, meaning) in COLUMNS.items()
    )


class ParquetWriter:
    """A Parquet file of packets being written; it appears under its name when closed without an error."""

    def __init__(self, path: str | Path) -> None:
        self.packets = 0
        self._file = OutputFile(path)
        self._writer = parquet.ParquetWriter(self._file.stream, schema(), compression="zstd")
        self._pending: list[PacketBatch] = []
        self._pending_packets = 0

    def write(self, batch: PacketBatch) -> None:
        """Append packets; they are copied until they fill a row group."""
        for start in range(0, len(batch), ROW_GROUP_PACKETS):
            piece = batch[start : start + ROW_GROUP_PACKETS]
            self._pending.append(piece.copy())
            self._pending_packets += len(piece)
            if self._pending_packets >= ROW_GROUP_PACKETS:
                self._write_row_group()
        self.packets += len(batch)

    def close(self) -> None:
        """Finish the file and give it its name."""
        try:
            if self._pending:
                self._write_row_group()
            self._writer.close()
        except BaseException:
            self.discard()
            raise
        self._file.keep()

    def discard(self) -> None:
        """Stop writing, and leave nothing under the file's name."""
        try:
            with contextlib.suppress(OSError, pa.ArrowException):  # it writes its end, which may not fit
                self._writer.close()
        finally:
            self._file.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _write_row_group(self) -> None:
        batch = concatenate(self._pending)
        self._pending, self._pending_packets = [], 0
        arrays = [to_arrow(getattr(batch, name), words) for name, (_, words, _) in COLUMNS.items()]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=schema()), row_group_size=len(batch))


class ParquetReader:
    """The packets of Parquet files, as batches in time order; it has the attributes of a `TraceReader`."""

    def __init__(self, *paths: str | Path, batch_packets: int = BATCH_PACKETS) -> None:
        self.packets = 0
        self.reordered = 0
        self.skipped = dict.fromkeys(SKIP_REASONS, 0)
        self._last_ns = np.iinfo(np.int64).min
        self._batches = self._read(paths, batch_packets)

    def __iter__(self) -> Iterator[PacketBatch]:
        return self

    def __next__(self) -> PacketBatch:
        return next(self._batches)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._batches.close()

    def _read(self, paths: tuple[str | Path, ...], batch_packets: int) -> Any:
        for path in paths:
            try:
                yield from self._read_file(path, batch_packets)
            except (pa.ArrowException, OSError) as error:
                raise TraceError(f"{path}: cannot be read as Parquet: {error}") from error

    def _read_file(self, path: str | Path, batch_packets: int) -> Iterator[PacketBatch]:
        first = self.packets
        # Arrow would else read the columns of the whole file ahead and keep them.
        with parquet.ParquetFile(path, pre_buffer=False) as file:
            missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
            if missing:
                raise TraceError(f"{path}: has no column {', '.join(missing)}; a trace needs {', '.join(COLUMNS)}")
            batches = file.iter_batches(batch_packets, columns=list(COLUMNS))
            for rows in batches if file.num_row_groups else ():  # without packets, pyarrow 18 looks for a row group -1
                self._check_filled(rows, path)
                batch = from_arrow(rows.cast(schema()))
                self._check_order(batch, path, first)
                self.packets += len(batch)
                yield batch

    def _check_filled(self, rows: pa.RecordBatch, path: str | Path) -> None:
        empty = [name for name in COLUMNS if rows.column(name).null_count]
        if empty:
            raise TraceError(f"{path}: column {', '.join(empty)} has empty cells; fill them or drop the packets")

    def _check_order(self, batch: PacketBatch, path: str | Path, first: int) -> None:
        """Refuse times that fall; `first` is how many packets came from the files before this one."""
        times = np.concatenate(([self._last_ns], batch.time_ns))
        falls = np.flatnonzero(times[1:] < times[:-1])
        if len(falls):
            row = self.packets - first + int(falls[0])
            if first and not row:
                raise TraceError(f"{path}: begins before the file before it ends; name the files in order of time")
            raise TraceError(f"{path}: time_ns falls at packet {row + 1}; sort the packets by time_ns first")
        if len(batch):
            self._last_ns = int(batch.time_ns[-1])


def to_arrow(column: NDArray[Any], words: int) -> pa.Array:
    """Turn a column of the layout into an Arrow array."""
    if words == 1:
        return pa.array(column)
    data = pa.py_buffer(column.astype(">u8").tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(ADDRESS, len(column), [None, data])


def from_arrow(rows: pa.RecordBatch) -> PacketBatch:
    """Turn Arrow columns of the schema, without empty cells, into a batch."""
    columns = {}
    for name, (dtype, words, _) in COLUMNS.items():
        array = rows.column(name)
        if words == 1:
            columns[name] = array.to_numpy(zero_copy_only=False).copy()  # kernels take writable arrays
        else:
            start = array.offset * 16
            data = array.buffers()[1][start : start + len(array) * 16]
            columns[name] = np.frombuffer(data, ">u8").reshape(-1, 2).astype(dtype)
    return PacketBatch.of(**columns)
