"""Flows as IPFIX messages (RFC 7011): what each monitor recorded, in a form that collectors take.

A monitor is an observation domain of its own, numbered from 1 on in the order of `domains_of`; its messages begin with
the templates that they use. A record has the fields that identify its flow (those that are part of the task's key), its
packets, bytes (IP length), and first and last time in milliseconds. A file of such messages, one behind the other, is
an IPFIX file (RFC 5655).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

VERSION, TEMPLATE_SET, FIRST_TEMPLATE = 10, 2, 256
MOST_BYTES = 1400
"""Of a message: it fits a UDP datagram that no network cuts."""
ELEMENTS: dict[str, dict[int, tuple[int, str]]] = {
    "src": {4: (8, "S4"), 6: (27, "S16")},
    "dst": {4: (12, "S4"), 6: (28, "S16")},
    "src_port": {0: (7, ">u2")},
    "dst_port": {0: (11, ">u2")},
    "protocol": {0: (4, "u1")},
    "packets": {0: (2, ">u8")},
    "bytes": {0: (1, ">u8")},
    "first_ms": {0: (152, ">u8")},
    "last_ms": {0: (153, ">u8")},
}
"""Number of each information element (IANA) and how it is packed, by IP version where that matters."""
ALWAYS = ("packets", "bytes", "first_ms", "last_ms")
IDENTITY = ("src", "dst", "src_port", "dst_port", "protocol")
NS_PER_MS, NS_PER_S = 10**6, 10**9


def recorded(tables: Iterable[Any]) -> Any:
    """Return the rows of flows that hold a record's figures, as one arrow table."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from ..recordsets import FLOWS

    some = [_as_coded(table.filter(pc.is_valid(table["packets"]))) for table in tables]
    return pa.concat_tables(some).unify_dictionaries() if some else FLOWS.arrow_schema().empty_table()


def _as_coded(table: Any) -> Any:
    """Return a table of flows whose texts are coded, as in a run's file."""
    import pyarrow as pa

    for number, name in enumerate(table.column_names):
        if pa.types.is_string(table.schema.field(name).type):
            table = table.set_column(number, name, table[name].dictionary_encode())
    return table


def domains_of(rows: Any) -> list[str]:
    """Return the monitors of recorded rows by their observation domains: the first is number 1."""
    return sorted(rows["monitor"].unique().to_pylist())


def write_ipfix(tables: Iterable[Any], path: Path) -> int:
    """Write what monitors recorded of flows as an IPFIX file; returns how many records it has."""
    rows = recorded(tables)
    with path.open("wb") as file:
        for message in ipfix_messages(rows):
            file.write(message)
    return len(rows)


def ipfix_messages(rows: Any) -> Iterator[bytes]:
    """Give the IPFIX messages of recorded rows (`recorded`), none longer than `MOST_BYTES`."""
    import pyarrow.compute as pc

    for number, monitor in enumerate(domains_of(rows), 1):
        yield from _domain(rows.filter(pc.equal(rows["monitor"], monitor)), number)


def _domain(rows: Any, number: int) -> Iterator[bytes]:
    """Give the messages of one monitor: rows of the same template together."""
    version = {name: _versions(rows[name]) for name in ("src", "dst")}
    ported = np.asarray(rows["protocol"].is_valid())
    code = version["src"] * 100 + version["dst"] * 10 + ported
    sequence = 0
    for template, kind in enumerate(np.unique(code).tolist(), FIRST_TEMPLATE):
        chosen = rows.take(np.flatnonzero(code == kind))
        names = _names(kind)
        packed = _packed(chosen, names)
        told = template_set(template, names)
        each = (MOST_BYTES - 16 - 4 - len(told)) // packed.dtype.itemsize
        for begin in range(0, len(packed), each):
            some = packed[begin : begin + each]
            body = told + _set(template, some.tobytes())
            seconds = int(some["last_ms"].max()) // 1000
            yield struct.pack(">HHIII", VERSION, 16 + len(body), seconds % 2**32, sequence % 2**32, number) + body
            sequence += len(some)


def _names(kind: int) -> list[tuple[str, int]]:
    """Return the fields of a kind of rows, each with its IP version."""
    versions = {"src": kind // 100, "dst": kind // 10 % 10}
    identity = [(name, versions[name]) for name in ("src", "dst") if versions[name]]
    ports = [(name, 0) for name in IDENTITY[2:]] if kind % 10 else []
    return [*identity, *ports, *((name, 0) for name in ALWAYS)]


def _element(name: str, version: int) -> tuple[int, str]:
    return ELEMENTS[name][version]


def template_set(number: int, names: list[tuple[str, int]]) -> bytes:
    """Return the set that declares a template."""
    fields = b""
    for name, version in names:
        element, form = _element(name, version)
        fields += struct.pack(">HH", element, np.dtype(form).itemsize)
    return _set(TEMPLATE_SET, struct.pack(">HH", number, len(names)) + fields)


def _set(number: int, content: bytes) -> bytes:
    return struct.pack(">HH", number, 4 + len(content)) + content


def _packed(rows: Any, names: list[tuple[str, int]]) -> NDArray[Any]:
    """Return rows as records of a template."""
    made = np.zeros(len(rows), np.dtype([(name, _element(name, version)[1]) for name, version in names]))
    for name, version in names:
        if version:
            made[name] = _addresses(rows[name], made.dtype[name])
        elif name.endswith("_ms"):
            made[name] = np.asarray(rows[name.replace("_ms", "_ns")]) // NS_PER_MS
        else:
            made[name] = np.asarray(rows[name])
    return made


def _versions(column: Any) -> NDArray[np.int64]:
    """Return the IP version of each address of a coded column, 0 where it is null."""
    codes, texts = _codes(column)
    known = np.array([0, *(6 if ":" in text else 4 for text in texts)], np.int64)
    return known[codes + 1]


def _addresses(column: Any, form: Any) -> NDArray[Any]:
    """Return the packed addresses of a coded column, all of one IP version."""
    codes, texts = _codes(column)
    used = np.unique(codes)
    packed = np.zeros(len(texts), form)
    for code in used.tolist():
        packed[code] = ip_address(texts[code]).packed
    return packed[codes]


def _codes(column: Any) -> tuple[NDArray[np.int64], list[str]]:
    """Return the codes of a dictionary column, -1 for null, and the texts."""
    joined = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    joined = joined.unify_dictionaries() if hasattr(joined, "unify_dictionaries") else joined
    if not hasattr(joined, "dictionary"):
        joined = joined.chunk(0)
    return np.asarray(joined.indices.fill_null(-1), np.int64), joined.dictionary.to_pylist()
