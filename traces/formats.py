"""Which format a file's name stands for: readers and writers by suffix, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..descriptors import own_path
from ..errors import SpecError
from .packets import BATCH_PACKETS

if TYPE_CHECKING:
    from .parquet import ParquetReader, ParquetWriter
    from .reader import TraceReader
    from .writer import PcapWriter

PCAP_SUFFIXES = (".pcap", ".pcap.gz", ".pcap.zst", ".pcap.xz")
PARQUET_SUFFIX = ".parquet"


def open_trace(
    paths: Sequence[str], buffers: int = 1, batch_packets: int = BATCH_PACKETS
) -> TraceReader | ParquetReader:
    """Open one trace in one or more files, captures or Parquet columns ("-" is a capture on standard input).

    Batches have at most `batch_packets` packets. Of captures, a batch is valid until `buffers` more were taken.

    Raises SpecError where the two kinds are mixed.
    """
    from .reader import expand, read

    columns = [path for path in paths if is_parquet(path)]
    if not columns:
        return read(*paths, buffers=buffers, batch_packets=batch_packets)
    if len(columns) < len(paths):
        other = next(path for path in paths if not is_parquet(path))
        raise SpecError(f"{columns[0]} is Parquet and {other} is not: convert one of them first")
    from .parquet import ParquetReader

    return ParquetReader(*expand(tuple(columns)), batch_packets=batch_packets)


def open_writer(path: str) -> PcapWriter | ParquetWriter:
    """Open a file for packets, in the format that its suffix says ("-" is pcap on standard output)."""
    if is_parquet(path):
        from .parquet import ParquetWriter

        return ParquetWriter(path)
    from .writer import PcapWriter

    return PcapWriter(path)


def check_output(path: str, force: bool) -> None:
    """Refuse, with SpecError, a name that cannot be written, has no format's suffix, or is taken."""
    if not path:
        raise SpecError("OUT is an empty name; name a file to write, such as out.pcap")
    if path != "-":
        try:
            _check_place(path, own_path(path), force)
        except OSError as error:
            raise SpecError(f"{path}: cannot be written: {error.strerror}") from error


def _check_place(path: str, place: Path, force: bool) -> None:
    if place.is_dir():
        raise SpecError(f"{path}: is a folder; name a file in it")
    if place.exists() and not place.is_file():
        return
    if not path.endswith((*PCAP_SUFFIXES, PARQUET_SUFFIX)):
        allowed = ", ".join((*PCAP_SUFFIXES, PARQUET_SUFFIX))
        raise SpecError(f"{path}: no format has this suffix; there are {allowed}, and - for standard output")
    if not place.parent.is_dir():
        raise SpecError(f"{path}: there is no folder {place.parent}; make it first")
    if place.exists() and not force:
        raise SpecError(f"{path}: exists; give --force to replace it, or another name")


def is_parquet(path: str | Path) -> bool:
    """Say whether a name stands for Parquet columns."""
    return str(path).endswith(PARQUET_SUFFIX)
