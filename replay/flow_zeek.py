"""Flows as Zeek's conn.log: a line for what a monitor recorded of a flow in an epoch, tab-separated, with its header.

A flow of ours has one direction, so the responder's counts are 0. Bytes are IP bytes; payload is not recorded. What is
no part of a task's flow key is unset. The uid is the same for all lines of a selection. The times in the header are
those of the first and the last packet recorded, so the same flows make the same file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .flow_ipfix import recorded

FIELDS = (
    ("ts", "time"), ("uid", "string"), ("id.orig_h", "addr"), ("id.orig_p", "port"), ("id.resp_h", "addr"),
    ("id.resp_p", "port"), ("proto", "enum"), ("service", "string"), ("duration", "interval"),
    ("orig_bytes", "count"), ("resp_bytes", "count"), ("conn_state", "string"), ("local_orig", "bool"),
    ("local_resp", "bool"), ("missed_bytes", "count"), ("history", "string"), ("orig_pkts", "count"),
    ("orig_ip_bytes", "count"), ("resp_pkts", "count"), ("resp_ip_bytes", "count"), ("tunnel_parents", "set[string]"),
)  # fmt: skip
"""The columns of conn.log, each with Zeek's type."""
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp"}
UNSET, MIDSTREAM = "-", "OTH"
LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
UID_LENGTH = 17
TAIL = 10**3
"""Zeek's times have microseconds: ns a microsecond."""


def write_zeek(tables: Iterable[Any], path: Path) -> int:
    """Write what monitors recorded of flows as a conn.log, in order of time; returns how many lines it has."""
    rows = recorded(tables)
    monitor = rows["monitor"].cast("string")  # a coded column cannot be sorted
    rows = rows.set_column(rows.column_names.index("monitor"), "monitor", monitor)
    rows = rows.sort_by([("first_ns", "ascending"), ("monitor", "ascending")])
    times = [rows[name].to_pylist() for name in ("first_ns", "last_ns")]
    with path.open("w", encoding="ascii") as file:
        file.write(header(min(times[0], default=0)))
        for batch in rows.to_batches(1 << 14):
            file.writelines("\t".join(line(row)) + "\n" for row in batch.to_pylist())
        file.write(f"#close\t{_moment(max(times[1], default=0))}\n")
    return len(rows)


def header(begin_ns: int) -> str:
    """Return the lines above the data."""
    lines = (
        "#separator \\x09", "#set_separator\t,", "#empty_field\t(empty)", f"#unset_field\t{UNSET}", "#path\tconn",
        f"#open\t{_moment(begin_ns)}",
        "\t".join(("#fields", *(name for name, _ in FIELDS))),
        "\t".join(("#types", *(kind for _, kind in FIELDS))),
    )  # fmt: skip
    return "".join(f"{each}\n" for each in lines)


def line(row: Mapping[str, Any]) -> list[str]:
    """Return the values of one line."""
    values: dict[str, Any] = {
        "ts": _seconds(row["first_ns"]),
        "uid": uid_of(row),
        "id.orig_h": row["src"],
        "id.orig_p": row["src_port"],
        "id.resp_h": row["dst"],
        "id.resp_p": row["dst_port"],
        "proto": None if row["protocol"] is None else PROTOCOLS.get(row["protocol"], "unknown_transport"),
        "duration": _seconds(max(row["last_ns"] - row["first_ns"], 0)),
        "conn_state": MIDSTREAM,
        "missed_bytes": 0,
        "orig_pkts": row["packets"],
        "orig_ip_bytes": row["bytes"],
        "resp_pkts": 0,
        "resp_ip_bytes": 0,
    }
    return [UNSET if values.get(name) is None else str(values[name]) for name, _ in FIELDS]


def uid_of(row: Mapping[str, Any]) -> str:
    """Return the identifier of a row's selection, the same in every run."""
    names = ("task", "src", "dst", "src_port", "dst_port", "protocol", "selection", "selected_ns")
    digest = hashlib.blake2b(repr([row[name] for name in names]).encode(), digest_size=16).digest()
    value, letters = int.from_bytes(digest, "big"), []
    for _ in range(UID_LENGTH):
        value, letter = divmod(value, len(LETTERS))
        letters.append(LETTERS[letter])
    return "C" + "".join(letters)


def _seconds(time_ns: int) -> str:
    return f"{time_ns // 10**9}.{time_ns % 10**9 // TAIL:06d}"


def _moment(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%d-%H-%M-%S")
