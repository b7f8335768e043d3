"""Files that appear under their name only when they are whole.

A trace is written to a hidden name beside its own and renamed at the end, so that an interrupted run leaves
no half file that looks like a whole one. What is no regular file (a pipe, /dev/null) and "-", standard
output, is written straight through. Where a file cannot be written on (a full disk), the OSError names it.
"""

from __future__ import annotations

import contextlib
import io
import lzma
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

from ..descriptors import own_path
from ..errors import TraceError

GZIP_LEVEL, ZSTD_LEVEL, XZ_LEVEL = 1, 1, 1
COMPRESSIONS = (".gz", ".zst", ".xz")


class NamedFile(io.FileIO):
    """A file to write to, whose errors say the name that the user gave it."""

    def __init__(self, path: Path, shown: str) -> None:
        super().__init__(path, "wb")
        self._shown = shown

    def write(self, data: Any) -> int:
        """Write bytes."""
        try:
            return super().write(data)
        except OSError as error:
            raise OSError(error.errno, f"cannot be written: {error.strerror}", self._shown) from error


class OutputFile:
    """A file to write bytes to, which gets its name when it is closed without an error.

    As a context manager it is kept where the block ends well, and discarded where the block raises.
    """

    def __init__(self, path: str | Path, compression: str = "") -> None:
        self.name = str(path)
        self._final = final_path(path) if self.name != "-" else None
        self._part: Path | None = None
        self._raw = self._open_raw()
        self._stream = compressor(self._raw, compression)

    def write(self, data: Any) -> int:
        """Write bytes, or anything that has a buffer of bytes."""
        return self._stream.write(data)

    @property
    def stream(self) -> IO[bytes]:
        """The file object itself, for writers that want one."""
        return self._stream

    def keep(self) -> None:
        """Finish the file and give it its name; where that fails, nothing is left."""
        try:
            self._finish()
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Close the file and leave nothing under its name."""
        if self._final is None:
            return
        try:
            with contextlib.suppress(OSError):  # what waits to be written may not fit, and is not wanted
                self._raw.close()
        finally:
            if self._part is not None:
                self._part.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if kind is None:
            self.keep()
        else:
            self.discard()

    def _finish(self) -> None:
        if self._stream is not self._raw:
            self._stream.close()
        if self._final is None:
            self._raw.flush()
            return
        self._raw.close()
        if self._part is not None:
            self._part.replace(self._final)

    def _open_raw(self) -> IO[bytes]:
        """Open standard output, the temporary file, or the pipe or device that the name stands for."""
        if self._final is None:
            if sys.stdout.isatty():
                raise TraceError("standard output is a terminal: name a file, or send '-' into a pipe")
            return sys.stdout.buffer
        try:
            if not is_special(self._final):
                self._part = self._final.with_name(f".{self._final.name}.{os.getpid()}.part")
            return io.BufferedWriter(NamedFile(self._part or self._final, self.name))
        except OSError as error:
            raise TraceError(f"{self.name}: cannot be written: {error.strerror}") from error


def is_special(path: Path) -> bool:
    """Say whether something is there that is no regular file."""
    there = own_path(path)
    return there.exists() and not there.is_file()


def final_path(path: str | Path) -> Path:
    """Return where a file is to stand: links are followed, but to no pipe, which has no name behind them."""
    named = own_path(path)
    return named if is_special(named) else named.resolve()


def compressor(raw: IO[bytes], compression: str) -> IO[bytes]:
    """Return a file object that compresses into `raw` (".gz", ".zst", ".xz"; "" gives `raw` itself).

    The same bytes in give the same bytes out: no time and no name stands in the result.
    """
    if compression == ".gz":
        from isal.igzip import IGzipFile

        packed: Any = IGzipFile(filename="", mode="wb", compresslevel=GZIP_LEVEL, fileobj=raw, mtime=0)
        return cast("IO[bytes]", io.BufferedWriter(packed, 1 << 20))
    if compression == ".zst":
        import zstandard

        context = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
        return cast("IO[bytes]", context.stream_writer(raw, closefd=False))
    if compression == ".xz":
        return cast("IO[bytes]", lzma.LZMAFile(raw, "wb", preset=XZ_LEVEL))
    return raw
