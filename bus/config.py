"""What a device's agent is told: the selectors and monitors that it runs, as values that travel as JSON.

The controller makes one `DeviceConfig` a device (controller/plan.py) and publishes it, retained; the agent checks all
of it when it arrives (`SCHEMA` and `_fits` below), before it changes anything. Which events, measures and modes there
are other rooms know. Hosts stand for sites: a *pair* is written 'h1>h5', source site first.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any

from ..errors import BusError
from ..fields import Field
from .schema import DEVICE, TASK, Complain, Free, Items, Pairs, Schema, Table, checked, read_json

VERSION = 1
"""Of the schema of configurations; another one is refused."""
TAG_TABLES = 16
"""At most so many tasks tag at one switch: each has an OpenFlow table of its own there, from 1 on."""
MOST_HOSTS = 4096
MOST_MODULES = 4096
MOST_NS = 2**62

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
    codes: tuple[Code, ...] = ()
    """All tags of the network: a DSCP that looks like none of them can be left as it is."""
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
        return json.dumps({"version": VERSION, **dataclasses.asdict(self)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> DeviceConfig:
        """Read what `to_json` wrote; raises BusError, naming all that is wrong, for anything else."""
        given = read_json(text, WHAT)
        version = given.pop("version", None)
        if version != VERSION or isinstance(version, bool):
            raise BusError(f"not {WHAT}: its version is {version!r}, and this agent reads version {VERSION}")
        return cls.from_dict(given)

    @classmethod
    def from_dict(cls, given: Any) -> DeviceConfig:
        """Read what `dataclasses.asdict` makes; raises BusError, naming all that is wrong, for anything else."""
        made: DeviceConfig = checked(given, SCHEMA, WHAT, _fits)
        return made


WHAT = "the configuration of a device"

_DEVICE = Field(str, pattern=DEVICE, form="a device's name such as s1")
_TASK = Field(str, pattern=TASK, form="a task's name: at most 100 lower-case letters, digits and -")
_WORD = Field(str, pattern=r"[a-z0-9+_-]{1,64}", form="a word of lower-case letters, digits, + and -")
_TEXT = Field(str)
_TIME_NS = Field(int, minimum=-MOST_NS, maximum=MOST_NS, unit="ns")
_BYTES = Field(int, minimum=0, maximum=10**15, unit="bytes")
_ENTRIES = Field(int, minimum=1, maximum=2**30, unit="entries")
_PERCENT = Field(float, minimum=0, maximum=1e6, unit="percent")
_FLAG = Field(bool)
_PAIRS = Items(_TEXT, MOST_HOSTS**2, distinct=True)
_BY_PAIR = Pairs(_TEXT, Items(_DEVICE, MOST_HOSTS, distinct=True))
_SPANS = Pairs(_TEXT, Field(int, minimum=0, maximum=10**6))
_SIX_BITS = Field(int, minimum=1, maximum=63)
_CODE = Table({"value": _SIX_BITS, "mask": _SIX_BITS}, made=Code)
_OWN_CODE = dataclasses.replace(_CODE, nullable=True)
_MODULE: dict[str, Schema] = {
    "task": _TASK, "key": _WORD, "memory_entries": _ENTRIES, "parameters": Free(), "watches": _PAIRS, "span": _SPANS,
    "code": _OWN_CODE, "cpu_percent": _PERCENT,
}  # fmt: skip


def _optional(made: type[Any]) -> frozenset[str]:
    """Return the fields of a dataclass that have a default."""
    fields = dataclasses.fields(made)
    return frozenset(f.name for f in fields if f.default is not MISSING or f.default_factory is not MISSING)


_SELECTOR = Table(
    {
        **_MODULE, "event": _WORD, "hold_s": Field(float, above=0, maximum=1e9, unit="s"),
        "detection_delay_ms": Field(float, minimum=0, maximum=1e9, unit="ms"), "tags_forward": _FLAG,
        "tags_reverse": _FLAG, "table": Field(int, minimum=0, maximum=TAG_TABLES), "tells": _BY_PAIR,
        "announces": _BY_PAIR,
    },
    _optional(SelectorConfig), SelectorConfig,
)  # fmt: skip
_MONITOR = Table(
    {**_MODULE, "measure": _WORD, "heeds_tag": _PAIRS, "heeds_reverse_tag": _PAIRS},
    _optional(MonitorConfig), MonitorConfig,
)  # fmt: skip
SCHEMA = Table(
    {
        "device": _DEVICE,
        "revision": Field(int, minimum=0, maximum=2**53),
        "epoch_start_ns": _TIME_NS,
        "epoch_ns": Field(int, minimum=1, maximum=MOST_NS, unit="ns"),
        "mode": _WORD,
        "probability": Field(float, minimum=0, maximum=1),
        "seed": Field(int, minimum=0, maximum=2**63 - 1),
        "map": Field(str, choices=("hash", "prefix")),
        "hosts": Items(
            Field(str, pattern=r"h[1-9]\d{0,5}", form="a host's name such as h1"), MOST_HOSTS, distinct=True
        ),
        "early_removal_bytes": _BYTES,
        "preserve_bytes": dataclasses.replace(_BYTES, default=None),
        "prefixes": Pairs(_DEVICE, Items(_TEXT, distinct=True), MOST_HOSTS),
        "selectors": Items(_SELECTOR, MOST_MODULES),
        "monitors": Items(_MONITOR, MOST_MODULES),
        "codes": Items(_CODE, 63),
        "end_ns": dataclasses.replace(_TIME_NS, default=None),
        "flow_secret": _TEXT,  # its form is checked where it is made, and it is not shown
        "observations": Field(str, default=None, pattern=r"[^\0]{1,4096}", form="the path of a folder"),
    },
    _optional(DeviceConfig),
    DeviceConfig,
)


def _fits(config: DeviceConfig, complain: Complain) -> None:
    """Complain of values that are right by themselves, and do not go together."""
    known = {f"{a}>{b}" for a in config.hosts for b in config.hosts if a != b}
    for path, pairs in _pairs_of(config):
        if strange := pairs - known:
            complain(path, f"no pair of hosts of the network: {', '.join(sorted(strange)[:3])}")
    for host, prefixes in config.prefixes.items():
        if host not in config.hosts:
            complain(f"prefixes.{host}", "no host of the network")
        for text in prefixes:
            try:
                ipaddress.ip_network(text)
            except ValueError as error:
                complain(f"prefixes.{host}", f"{text!r} is no prefix ({error})")
    _names_differ(config, complain)
    for i, selector in enumerate(config.selectors):
        tags = selector.tags_forward or selector.tags_reverse
        if tags and selector.code is None:
            complain(f"selectors[{i}]", "is to tag, and has no code")
        if tags and config.device.startswith("s") and not selector.table:
            complain(f"selectors[{i}].table", "is to tag at a switch, and has no table of its own there")


def _pairs_of(config: DeviceConfig) -> Iterator[tuple[str, set[str]]]:
    """Yield the pairs that a configuration names, with the path where they stand."""
    for kind, modules, lists in (
        ("selectors", config.selectors, ("watches", "tells", "announces", "span")),
        ("monitors", config.monitors, ("watches", "heeds_tag", "heeds_reverse_tag", "span")),
    ):
        for i, module in enumerate(modules):
            yield from ((f"{kind}[{i}].{name}", set(getattr(module, name))) for name in lists)


def _names_differ(config: DeviceConfig, complain: Complain) -> None:
    """Complain of two modules for one task, and of two tasks with one table."""
    for kind, modules in (("selectors", config.selectors), ("monitors", config.monitors)):
        tasks = [module.task for module in modules]
        if len(set(tasks)) < len(tasks):
            complain(kind, f"two of one task: {next(task for task in tasks if tasks.count(task) > 1)}")
    tables = [selector.table for selector in config.selectors if selector.code is not None and selector.table]
    if len(set(tables)) < len(tables):
        complain("selectors", "two tasks with one table")
