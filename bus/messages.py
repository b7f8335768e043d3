"""Messages with columns: a header of plain values and named arrays, as bytes.

The form is numpy's own archive (npz) without pickled objects, so nothing that arrives can run code, and what arrives
can make the reader take no more memory than `MAX_BYTES`.
"""

from __future__ import annotations

import functools
import io
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BusError

HEADER = "header"
"""Name under which the header stands in the archive, as JSON text."""
SUFFIX = ".npy"
FORMAT = b"\x93NUMPY\x01\x00"
"""What an array begins with: numpy's mark and the version of its format."""
MAX_BYTES = 256 << 20
"""Longest message that is unpacked, after decompression."""
MALFORMED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    KeyError,
    ValueError,
    TypeError,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,  # an encrypted member; RecursionError of deep JSON
    MemoryError,  # numpy's reading of a header that is too deep
    OverflowError,
)
"""What the libraries below raise, between them, for bytes that `pack` did not make."""


def pack(header: Mapping[str, Any], columns: Mapping[str, NDArray[Any]]) -> bytes:
    """Put a header of JSON values (numpy's numbers too) and columns, numpy arrays of numbers, into one message."""
    if HEADER in columns:
        raise ValueError(f"no column may be called {HEADER!r}")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(zipfile.ZipInfo(HEADER), json.dumps(header, sort_keys=True, default=_plain))
        for name, column in columns.items():
            with archive.open(_member(name), "w") as member:
                np.lib.format.write_array(member, np.ascontiguousarray(column), allow_pickle=False)
    return buffer.getvalue()


def unpack(message: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the header and the columns of a message; raises BusError for anything that `pack` does not make."""
    try:
        with zipfile.ZipFile(io.BytesIO(message)) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if size > MAX_BYTES:
                raise BusError(f"a message of {size} bytes; at most {MAX_BYTES} are taken")
            if len({member.filename for member in members}) < len(members):
                raise ValueError("a name stands in it twice")
            header = json.loads(archive.read(HEADER))
            columns = {
                _name(member.filename): _array(archive.read(member)) for member in members if member.filename != HEADER
            }
    except MALFORMED as error:
        raise BusError(f"not a message with columns: {error or type(error).__name__}") from None
    if not isinstance(header, dict):
        raise BusError("not a message with columns: its header is no table")
    return header, columns


def _plain(value: Any) -> Any:
    """Turn one of numpy's numbers into one of Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__} cannot stand in the header of a message")


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name + SUFFIX)  # a fixed date: the same columns make the same bytes
    member.compress_type = zipfile.ZIP_DEFLATED
    return member


def _name(member: str) -> str:
    if not member.endswith(SUFFIX):
        raise ValueError(f"{member!r} is no column")
    return member.removesuffix(SUFFIX)


@functools.lru_cache(maxsize=1024)
def _array_header(text: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Parse what stands before an array, once for all columns of one kind and length: numpy's parser takes its time."""
    return np.lib.format.read_array_header_1_0(io.BytesIO(text))


def _array(data: bytes) -> NDArray[Any]:
    """Read one array; unlike numpy's reader it makes no room for what the array only claims to hold."""
    if data[:8] != FORMAT:
        raise ValueError("no array in numpy's format of version 1.0")
    begin = 10 + int.from_bytes(data[8:10], "little")
    shape, columnwise, dtype = _array_header(data[8:begin])
    if dtype.hasobject or (columnwise and len(shape) > 1):
        raise ValueError("an array of objects, or one that runs down its columns")
    values = data[begin:]
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(values):
        raise ValueError(f"an array of shape {shape} whose {len(values)} bytes do not fill it")
    return np.frombuffer(values, dtype).reshape(shape) if values else np.empty(shape, dtype)
