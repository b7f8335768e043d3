"""Messages with columns: a header of plain values and named arrays, as bytes.

The form is numpy's own archive (npz) without pickled objects, so nothing that arrives can run code.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BusError

HEADER = "header"
"""Name under which the header stands in the archive, as JSON text."""
MAX_BYTES = 256 << 20
"""Longest message that is unpacked, after decompression."""


def pack(header: Mapping[str, Any], columns: Mapping[str, NDArray[Any]]) -> bytes:
    """Put a header of JSON values and columns (any numpy arrays of numbers) into one message."""
    if HEADER in columns:
        raise ValueError(f"no column may be called {HEADER!r}")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(HEADER, json.dumps(header, sort_keys=True))
        for name, column in columns.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.ascontiguousarray(column), allow_pickle=False)
    return buffer.getvalue()


def unpack(message: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the header and the columns of a message; raises BusError for anything that `pack` does not make."""
    try:
        with zipfile.ZipFile(io.BytesIO(message)) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > MAX_BYTES:
                raise BusError(f"a message of {size} bytes; at most {MAX_BYTES} are taken")
            header = json.loads(archive.read(HEADER))
            columns = {}
            for member in archive.namelist():
                if member != HEADER:
                    with archive.open(member) as file:
                        columns[member.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise BusError(f"not a message with columns: {error}") from None
    if not isinstance(header, dict):
        raise BusError("not a message with columns: its header is no table")
    return header, columns
