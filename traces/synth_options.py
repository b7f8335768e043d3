"""The options of synthetic traffic: the one declaration that the command and the task file read.

Nothing heavy is imported here, so that a task file can be checked without numpy.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from ..errors import SpecError
from ..fields import Field

KINDS = ("caida-like",)
MOST_S = 1e9
"""Of any time: its nanoseconds can be counted in 64 bits."""
"""Kinds of synthetic traffic; `synth_model.PROFILES` has the figures of each."""


def option(default: Any, meaning: str, least: float = 0.0, most: float = float("inf")) -> Any:
    """Declare an option: its default, what it means, and the range of its values."""
    return field(default=default, metadata={"help": meaning, "least": least, "most": most})


@dataclass(frozen=True)
class SynthOptions:
    """What synthetic traffic to make: names, defaults and meanings, for command and task file alike."""

    name: str = option("caida-like", "kind of traffic")
    duration_s: float = option(60.0, "length of the trace in seconds", 1e-6, MOST_S)
    packets_per_s: float = option(
        430_000.0,
        "mean packet rate, without injected events, which come on top; flow arrivals follow, flows stay alike",
        1.0,
        100e6,
    )
    seed: int = option(1, "seed of all that is random", 0, 2**63 - 1)
    bidirectional_share: float = option(0.25, "share of connections with both directions in the trace", 0, 1)
    ipv6_share: float = option(0.0, "share of connections that use IPv6", 0, 1)
    lossy_share: float = option(0.02, "share of TCP connections of 4 packets or more that lose packets", 0, 1)
    retransmission_rate: float = option(0.05, "share of data packets of a lossy flow that repeat one", 0, 0.5)
    scanners: int = option(6, "sources that begin a port scan, in every minute", 0, 100_000)
    scan_rate_per_s: float = option(50.0, "probes a second of a scanner", 0.01, 1e6)
    scan_s: float = option(20.0, "how long a scanner scans, in seconds", 0.001, MOST_S)
    scan_answered_share: float = option(0.4, "share of probes that are answered", 0, 1)
    syn_floods: int = option(1, "SYN floods that begin in every minute", 0, 10_000)
    flood_rate_per_s: float = option(1000.0, "SYNs a second of a flood", 0.01, 1e7)
    flood_s: float = option(10.0, "how long a flood lasts, in seconds", 0.001, MOST_S)
    elephants: int = option(6, "elephants (steady large TCP flows) that begin in every minute", 0, 100_000)
    elephant_mbps: float = option(50.0, "rate of an elephant in megabits a second, IP bytes", 0.1, 1e5)
    elephant_s: float = option(20.0, "how long an elephant lasts, in seconds", 0.001, MOST_S)

    def __post_init__(self) -> None:
        if self.name not in KINDS:
            raise SpecError(f"synthetic traffic: no kind {self.name!r}; there is {', '.join(KINDS)}")
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name == "name":
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise SpecError(f"synthetic traffic: {f.name} is {value!r}, and a number is needed")
            least, most = f.metadata["least"], f.metadata["most"]
            if not least <= value <= most:
                raise SpecError(f"synthetic traffic: {f.name} is {value}, and {least:g} to {most:g} is allowed")


def fields_of_options() -> dict[str, Field]:
    """Return the options as fields, by name, for a command line."""
    kinds = {"int": int, "float": float}
    return {
        f.name: Field(str, f.metadata["help"], f.default, choices=KINDS)
        if f.name == "name"
        else Field(
            kinds[str(f.type)], f.metadata["help"], f.default, minimum=f.metadata["least"], maximum=f.metadata["most"]
        )
        for f in fields(SynthOptions)
    }


DURATION = fields_of_options()["duration_s"]
"""The field of the length of a trace in seconds."""
