"""The truth of a synthetic trace: which flows are lossy, which sources scan, which servers are flooded,
elephants.

Tables are dictionaries of columns of equal length. Times are those of the trace's packets, counts are of
packets that are in the trace: an event that the end of the trace cuts short has what there is of it.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .keys import FlowHash
from .output import OutputFile
from .packets import PacketBatch, address_text
from .synth_kernels import FLOW

if TYPE_CHECKING:
    from .injections import Injection
    from .synth_options import SynthOptions

KIND_TABLES = {"scanner": "scanners", "syn-flood": "syn_floods", "elephant": "elephants"}


class Truth:
    """What was put into a trace, gathered while it is made; flow keys are those of a replay with the same seed."""

    def __init__(self, options: SynthOptions, scan_ports: tuple[int, ...], epoch_ns: int) -> None:
        self._options = options
        self._flow_hash = FlowHash.seeded(options.seed)
        self._scan_ports = scan_ports
        self._epoch_ns = epoch_ns
        self._events: list[dict[str, Any]] = []
        self._lossy: list[NDArray[np.void]] = []
        self._packets = 0
        self._bytes = 0

    @property
    def events(self) -> int:
        """How many events have begun."""
        return len(self._events)

    def count(self, batch: PacketBatch) -> None:
        """Count the packets of a batch."""
        self._packets += len(batch)
        self._bytes += int(batch.ip_bytes.sum())

    def began(self, event: Injection) -> None:
        """Note an event, with the fields that its kind has."""
        flow = event.flows[0]
        src, dst = (address_text(flow[f"{side}_high"], flow[f"{side}_low"]) for side in ("src", "dst"))
        row: dict[str, Any] = {"kind": event.kind, "start_ns": event.start_ns + self._epoch_ns, "packets": 0}
        if event.kind == "scanner":
            row |= {"src": src, "ports": list(self._scan_ports)}
        elif event.kind == "syn-flood":
            row |= {"dst": dst, "dst_port": int(flow["dst_port"])}
        else:
            row |= {
                "src": src,
                "dst": dst,
                "src_port": int(flow["src_port"]),
                "dst_port": int(flow["dst_port"]),
            }
            row |= {"key": int(flow_keys_of(event.flows[:1], self._flow_hash)[0])}
        self._events.append(row)

    def ended(self, flows: NDArray[np.void]) -> None:
        """Take in flows that are over, or that the end of the trace cuts short."""
        for flow in flows[flows["injected"] > 0]:
            self._events[int(flow["injected"]) - 1]["packets"] = int(flow["sent"])
        lossy = flows[flows["retransmitted"] > 0]
        if len(lossy):
            self._lossy.append(lossy[list(LOSSY_FIELDS)].copy())

    def tables(self) -> dict[str, Any]:
        """Return options, totals and the tables `lossy_flows`, `scanners`, `syn_floods` and `elephants`."""
        made: dict[str, Any] = {
            "options": asdict(self._options),
            "packets": self._packets,
            "bytes": self._bytes,
            "lossy_flows": self._lossy_table(),
        }
        for kind, name in KIND_TABLES.items():
            rows = [row for row in self._events if row["kind"] == kind and row["packets"]]
            columns = [column for column in rows[0] if column != "kind"] if rows else []
            made[name] = {column: [row[column] for row in rows] for column in columns}
        return made

    def _lossy_table(self) -> dict[str, Any]:
        """Return the columns of the flows that sent a packet again, by first packet."""
        flows = np.concatenate([np.zeros(0, FLOW)[list(LOSSY_FIELDS)], *self._lossy])
        flows = flows[np.argsort(flows["first_ns"], kind="stable")]
        return {
            "key": flow_keys_of(flows, self._flow_hash),
            "src": words(flows, "src"),
            "dst": words(flows, "dst"),
            "src_port": flows["src_port"].copy(),
            "dst_port": flows["dst_port"].copy(),
            "protocol": flows["protocol"].copy(),
            "packets": flows["sent"] - flows["before"],
            "retransmissions": flows["retransmitted"].copy(),
        }


LOSSY_FIELDS = (
    "src_high",
    "src_low",
    "dst_high",
    "dst_low",
    "src_port",
    "dst_port",
    "protocol",
    "first_ns",
    "sent",
    "before",
    "retransmitted",
)


def words(flows: NDArray[np.void], side: str) -> NDArray[np.uint64]:
    """Return the addresses of one side of flows as (high, low) words, shape (flows, 2)."""
    return np.stack([flows[f"{side}_high"], flows[f"{side}_low"]], axis=1)


def flow_keys_of(flows: NDArray[np.void], flow_hash: FlowHash) -> NDArray[np.uint64]:
    """Return the five-tuple keys of flows, the same that the hash gives for their packets."""
    ports = (np.ascontiguousarray(flows[name]) for name in ("src_port", "dst_port", "protocol"))
    return flow_hash.of_five_tuples(words(flows, "src"), words(flows, "dst"), *ports)


def write_truth(truth: dict[str, Any], json_path: Path, parquet_path: Path) -> None:
    """Write the truth as JSON, and the lossy flows as Parquet columns; addresses are written as text."""
    import pyarrow
    import pyarrow.parquet

    flows = dict(truth["lossy_flows"])
    for side in ("src", "dst"):
        flows[side] = [address_text(high, low) for high, low in flows[side]]
    with OutputFile(parquet_path) as file:
        pyarrow.parquet.write_table(pyarrow.table(flows), file.stream)
    rest = truth | {"lossy_flows": {"flows": len(flows["key"]), "table": parquet_path.name}}
    with OutputFile(json_path) as file:
        file.write(f"{json.dumps(rest, indent=1)}\n".encode())
