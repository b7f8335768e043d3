"""The result of a replay: what notebooks, the command line and the run folder take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MozartError
from ..topologies.topology import Topology
from .columns import LINKS, ROWS
from .flows import Flows


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
    """Mean load of each link ('s3-s6'), both directions together."""
    topology: Topology | None
    """None where the result was read from a folder."""
    seconds: float
    one_way_mbps: dict[str, float] = field(default_factory=dict)
    """Mean load of each direction of each link ('s3>s6')."""
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
    flows: Flows = field(default_factory=Flows)
    """What became of each selected flow at each monitor (recordsets.FLOWS)."""

    def __repr__(self) -> str:
        tasks = ", ".join(self.placement) or "no task"
        return f"<Result of {tasks}: {len(self.rows)} rows, {self.trace['packets']:,} packets in {self.seconds:.3g} s>"

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Result:
        """Return the result that `to_dict` wrote, without topology and keys; raises KeyError for what is missing."""
        placement = info["placement"]
        return cls(
            spec=info.get("spec", {}),
            trace=info["trace"],
            rows=info["rows"],
            located_links=info["located_links"],
            placement=placement["tasks"],
            link_mbps=info["link_mbps"],
            one_way_mbps=info.get("one_way_mbps", {}),
            topology=None,
            seconds=info["seconds"],
            compile_s=info["compile_s"],
            interrupted=info["interrupted"],
            error=MozartError(info["error"]) if info["error"] else None,
            selectors=info["selectors"],
            algorithm=placement["algorithm"],
            placement_status=placement["status"],
            refused={each["task"]: each["reason"] for each in info["refused"]},
        )

    @property
    def packets_per_s(self) -> float:
        """Packets replayed in a second."""
        return self.trace["packets"] / self.seconds if self.seconds > 0 else 0.0

    @property
    def link_rows(self) -> list[dict[str, Any]]:
        """One row a link that a setting found to lose packets, or that does."""
        return link_rows(self.located_links)

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
            "one_way_mbps": self.one_way_mbps,
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

        return pandas.DataFrame(self.rows, columns=list(ROWS.names))


def link_rows(located: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what settings found of links (`Result.located_links`) as one row a setting and link (columns.LINKS)."""
    return [{name: {**found, **link}[name] for name in LINKS.names} for found in located for link in found["links"]]
