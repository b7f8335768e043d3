"""Addresses as columns: texts of many addresses at once, each distinct one once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .address_kernels import write_addresses

LONGEST = 39
"""Characters of the longest text of an address."""


def address_column(words: NDArray[np.uint64]) -> Any:
    """Return addresses, shape (rows, 2), as a pyarrow dictionary array of their texts."""
    import pyarrow as pa

    plain = np.ascontiguousarray(words, np.uint64)
    packed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(plain), [None, pa.py_buffer(plain)])
    coded = packed.dictionary_encode()
    distinct = np.frombuffer(coded.dictionary.buffers()[1], np.uint64, 2 * len(coded.dictionary)).reshape(-1, 2)
    return pa.DictionaryArray.from_arrays(coded.indices, address_texts(distinct))


def address_texts(words: NDArray[np.uint64]) -> Any:
    """Return the texts of addresses, shape (rows, 2), as a pyarrow string array."""
    import pyarrow as pa

    out, end = np.empty(LONGEST * len(words), np.uint8), np.zeros(len(words) + 1, np.int32)
    write_addresses(words, out, end)
    return pa.StringArray.from_buffers(len(words), pa.py_buffer(end), pa.py_buffer(out[: end[-1]].copy()))
