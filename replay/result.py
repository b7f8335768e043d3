"""The result of a replay: what notebooks, the command line and the run folder take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MozartError
from ..topologies.topology import Topology

COLUMNS = {
    "task": "name of the task",
    "mode": "how the monitors worked (monitors/modes.py)",
    "memory_entries": "entries of each monitor's table",
    "detection_delay_ms": "time between the event and the first packet that can be tagged",
    "probability": "sampling probability of untagged packets",
    "selected_flows": "flows that the event selected",
    "captured_flows": "reachable ones with a record in every monitor that their packets crossed",
    "not_captured_ratio": "share of the reachable selected flows that are not captured",
    "unreachable_flows": "selected flows of which no packet crosses a monitor after the selection",
    "unreachable_captured_flows": "of those, how many were captured all the same",
    "floor_ratio": "share of the reachable flows that even the best table of that size must miss",
    "selected_bytes": "bytes of reachable selected flows, counted at each monitor crossed",
    "captured_bytes": "of those, how many the records hold",
    "pre_event_bytes": "bytes of reachable selected flows from before their selection",
    "pre_event_captured_bytes": "of those, how many the records hold",
    "volume_error": "mean relative error of a record's estimate of its flow's bytes",
    "selected_collisions": "packets of selected flows that found no slot: they, or another selected flow, went",
    "refused_samples": "sampled packets refused for want of a slot",
    "report_bytes": "size of all reports",
}
"""The columns of `rows` and what they mean."""


@dataclass(slots=True, repr=False)
class Result:
    """Everything that a replay found; `to_dict` has the names of the JSON that `mozart replay --json` prints."""

    spec: dict[str, Any]
    trace: dict[str, Any]
    rows: list[dict[str, Any]]
    located_links: list[dict[str, Any]]
    placement: dict[str, dict[str, Any]]
    """Where the modules of the tasks that run are, by task."""
    link_mbps: dict[str, float]
    """Mean load of each link, both directions together."""
    topology: Topology
    seconds: float
    compile_s: float = 0.0
    """Of those, what compiling kernels took (the first time on a machine)."""
    interrupted: bool = False
    error: MozartError | None = None
    """What ended the trace early; the rows cover all that came before it."""
    selectors: dict[str, dict[str, Any]] = field(default_factory=dict)
    algorithm: str = ""
    """What placed the modules (placement/algorithms.py)."""
    placement_status: str = ""
    """One of placement.result.STATUSES."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Tasks that were not replayed because they could not be placed, and why."""
    selected_keys: Mapping[str, NDArray[np.uint64]] = field(default_factory=dict)
    """Keys (traces/keys.py) of the flows that each task selected."""

    def __repr__(self) -> str:
        tasks = ", ".join(self.placement) or "no task"
        return f"<Result of {tasks}: {len(self.rows)} rows, {self.trace['packets']:,} packets in {self.seconds:.3g} s>"

    @property
    def packets_per_s(self) -> float:
        """Packets replayed in a second."""
        return self.trace["packets"] / self.seconds if self.seconds > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return {
            "trace": self.trace,
            "rows": self.rows,
            "located_links": self.located_links,
            "placement": {
                "algorithm": self.algorithm,
                "status": self.placement_status,
                "tasks": self.placement,
            },
            "refused": [{"task": task, "reason": reason} for task, reason in self.refused.items()],
            "selectors": self.selectors,
            "link_mbps": self.link_mbps,
            "packets_per_s": self.packets_per_s,
            "seconds": self.seconds,
            "compile_s": self.compile_s,
            "interrupted": self.interrupted,
            "error": str(self.error) if self.error else None,
        }

    def to_polars(self) -> Any:
        """Return the rows as a polars DataFrame (needs the extra `notebook`)."""
        import polars

        return polars.DataFrame(self.rows, infer_schema_length=None)

    def to_pandas(self) -> Any:
        """Return the rows as a pandas DataFrame (needs the extra `notebook`)."""
        import pandas

        return pandas.DataFrame(self.rows, columns=list(COLUMNS))
