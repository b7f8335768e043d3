"""What a device's agent is told: the selectors and monitors that it runs, as values that travel as JSON.

The controller makes one `DeviceConfig` a device (controller/plan.py) and publishes it, retained; the agent checks it
when it arrives. Hosts stand for sites: a *pair* is written 'h1>h5', source site first.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import BusError

SECRET_DIGITS = 32
SECRET = re.compile(r"(?:[0-9a-f]{2}){16,}")


@dataclass(frozen=True)
class Code:
    """A tag: which bits of the DSCP say "selected for this task". Value 0 never is a code."""

    value: int
    mask: int

    def __post_init__(self) -> None:
        if not (0 < self.value < 64 and 0 < self.mask < 64 and self.value & ~self.mask == 0):
            raise BusError(f"tag code {self.value}/{self.mask}: both lie between 1 and 63, the value within the mask")


@dataclass(frozen=True)
class SelectorConfig:
    """One task's selector at this device."""

    task: str
    event: str
    key: str
    hold_s: float
    detection_delay_ms: float
    memory_entries: int
    parameters: Mapping[str, Any]
    watches: tuple[str, ...]
    """Pairs whose packets it sees; other packets that cross the device are not its matter."""
    code: Code | None = None
    """How it tags; None where no tag is needed."""
    tags_forward: bool = False
    """Following packets of selected flows are to be tagged here."""
    tags_reverse: bool = False
    """Packets of the opposite direction are to be tagged here."""
    table: int = 0
    """At a switch: the OpenFlow table of this task's tag rules."""
    tells: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Pair -> monitors' devices that need an explicit message."""
    announces: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Pair -> monitors' devices that get a hint beside the tag (mode `recent`)."""
    span: Mapping[str, int] = field(default_factory=dict)
    """Pair -> how many monitors of the task its flows concern, which messages say; else those that are told."""
    cpu_percent: float = 0.0
    """What the placement assumed that it takes."""


@dataclass(frozen=True)
class MonitorConfig:
    """One task's monitor at this device."""

    task: str
    measure: str
    key: str
    memory_entries: int
    parameters: Mapping[str, Any]
    watches: tuple[str, ...]
    """Pairs whose packets it measures."""
    heeds_tag: tuple[str, ...] = ()
    """Pairs whose tagged packets count as tagged here: it stands behind the selector."""
    heeds_reverse_tag: tuple[str, ...] = ()
    """Pairs whose tagged packets select the flow in the opposite direction here."""
    span: Mapping[str, int] = field(default_factory=dict)
    """Pair -> how many monitors of the task its flows concern."""
    code: Code | None = None
    cpu_percent: float = 0.0


@dataclass(frozen=True)
class DeviceConfig:
    """All that one device's agent is to do. `revision` rises with every change of the plan."""

    device: str
    revision: int
    epoch_start_ns: int
    """Epoch k is [epoch_start_ns + k epoch_ns, epoch_start_ns + (k + 1) epoch_ns), in ns since 1970."""
    epoch_ns: int
    mode: str
    """A name of monitors/modes.py."""
    probability: float
    seed: int
    map: str
    """How addresses belong to hosts: 'hash' or 'prefix'."""
    hosts: tuple[str, ...]
    """All hosts of the network, in the topology's order."""
    early_removal_bytes: int = 0
    preserve_bytes: int | None = None
    prefixes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    selectors: tuple[SelectorConfig, ...] = ()
    monitors: tuple[MonitorConfig, ...] = ()
    end_ns: int | None = None
    """When the run ends: the last epoch is cut there, reported as final, and nothing is recorded after it."""
    observations: str | None = None
    """Folder for a log of all packets seen (agents/observed.py), for the exact truth of an experiment."""
    flow_secret: str = field(kw_only=True, repr=False)
    """What flow keys of this run are made with (traces/keys.py), in hexadecimal digits. For the run's devices alone."""

    def __post_init__(self) -> None:
        if not isinstance(self.flow_secret, str) or not SECRET.fullmatch(self.flow_secret):
            raise BusError(f"{self.device}: flow_secret must have {SECRET_DIGITS} hexadecimal digits or more, in pairs")

    def to_json(self) -> str:
        """Write as JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> DeviceConfig:
        """Read what `to_json` wrote; raises BusError, naming what is wrong, for anything else."""
        try:
            given = json.loads(text)
            for name, made in (("selectors", SelectorConfig), ("monitors", MonitorConfig)):
                given[name] = tuple(_module(made, each) for each in given[name])
            return cls(**_tuples(given))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BusError(f"not the configuration of a device: {error}") from None


def _module(made: type[Any], given: dict[str, Any]) -> Any:
    code = given.get("code")
    return made(**{**_tuples(given), "code": None if code is None else Code(**code)})


def _tuples(given: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the lists of JSON into tuples, one level deep in mappings."""

    def turned(value: Any) -> Any:
        if isinstance(value, list):
            return tuple(value)
        if isinstance(value, dict):
            return {key: tuple(each) if isinstance(each, list) else each for key, each in value.items()}
        return value

    return {key: turned(value) for key, value in given.items()}
