"""The task file: what to measure, on which network and traffic, with which resources; frozen and checked.

The keys are declared once, as fields of the dataclasses below; docs/task-file.md lists them. Which events,
measures, synthetic traffic and topologies there are, and which parameters each has, the caller says: this
module knows none.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .documents import Places, Section, read_python, read_yaml
from .errors import SpecError
from .fields import Field, declared, fields_of, scalar, show, suggestion

Table = Mapping[str, Field]
"""The parameters of one thing with a name: parameter name -> `Field`."""

KEYS = ("five-tuple", "src", "dst", "src+dst")
SELECTOR_ROLES = ("source-host", "destination-host", "ingress-switch", "egress-switch", "ecmp-switch")
MONITOR_ROLES = (*SELECTOR_ROLES, "path-switches", "ecmp-peers")
DEVICE = r"[hs][1-9]\d*"
HOST = r"h[1-9]\d*"

MOST_S = MOST_MS = 1_000_000_000
"""Longest time of each unit that a key takes: times are counted in 64-bit nanoseconds."""
MOST_ENTRIES = 2**30
"""Largest table."""

LOSS = Field(float, "probability that the link drops a packet", minimum=0, maximum=1, percent=True)
PREFIXES = Field(list[str], "the prefixes whose addresses this host stands for", form="prefixes such as 192.0.2.0/24")


def _at(roles: tuple[str, ...], purpose: str) -> Any:
    form = "device names such as s1, s2"
    return declared(Field(list[str], purpose, choices=roles, pattern=DEVICE, form=form))


@dataclass(frozen=True)
class TopologySpec:
    """Which network. `options` are the parameters of that topology."""

    name: str = declared(Field(str, "a topology's name, or a file of a network beside the task file"))
    ecmp: str | float = declared(
        Field(
            float,
            "which paths a pair of hosts uses: all with the fewest links, the one of least latency, "
            "or all of no more than that and a tolerance",
            "hops",
            minimum=0,
            maximum=MOST_MS,
            choices=("hops", "none"),
            unit="ms",
        )
    )
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrafficSpec:
    """Which packets, and how they map to pairs of hosts. `options` are those of synthetic traffic."""

    trace: tuple[str, ...] | None = declared(
        Field(
            list[str],
            "trace files in order or patterns, beside the task file; - is standard input",
            None,
        )
    )
    synthetic: str | None = declared(Field(str, "the kind of synthetic traffic, instead of a trace", None))
    map: str = declared(
        Field(
            str,
            "how addresses map to hosts: by a hash of them, or by `prefixes`",
            "hash",
            choices=("hash", "prefix"),
        )
    )
    speed: float = declared(Field(float, "how many times faster than recorded", 1.0, minimum=0.001, maximum=1_000_000))
    prefixes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Resources:
    """What devices have left for measurement."""

    switch_memory_entries: int = declared(
        Field(int, "table entries that each switch has left", 4096, minimum=0, maximum=2**40, unit="entries")
    )
    host_cpu_percent: float = declared(
        Field(float, "CPU that each host has left", 20.0, minimum=0, maximum=100, unit="percent")
    )


@dataclass(frozen=True)
class Sampling:
    """What monitors do in normal mode, and how long an epoch is."""

    probability: float = declared(
        Field(
            float,
            "probability that a packet of a flow without an entry is sampled",
            0.01,
            minimum=0,
            maximum=1,
            percent=True,
        )
    )
    epoch_s: float = declared(
        Field(float, "time after which monitors report and start anew", 30.0, minimum=0.001, maximum=MOST_S, unit="s")
    )
    early_removal_bytes: int = declared(
        Field(
            int,
            "of entries made in an epoch, keep only those with at least so many bytes",
            0,
            minimum=0,
            maximum=10**15,
            unit="bytes",
        )
    )
    preserve_bytes: int | None = declared(
        Field(
            int,
            "keep entries with at least so many bytes into the next epoch; null keeps none",
            None,
            minimum=0,
            maximum=10**15,
            unit="bytes",
        )
    )


@dataclass(frozen=True)
class SelectorSpec:
    """One task's selector. `parameters` are those of its event."""

    event: str = declared(Field(str, "the event that selects flows"))
    at: str | tuple[str, ...] = _at(
        SELECTOR_ROLES, "the role of its devices on the flow's paths, or candidates to choose from"
    )
    key: str = declared(Field(str, "the fields that identify a flow", "five-tuple", choices=KEYS))
    hold_s: float = declared(
        Field(
            float, "how long a selection lasts after the event was last true", 30.0, above=0, maximum=MOST_S, unit="s"
        )
    )
    detection_delay_ms: float = declared(
        Field(
            float,
            "how much later than the packet that completes the event the selection is made",
            0.0,
            minimum=0,
            maximum=MOST_MS,
            unit="ms",
        )
    )
    memory_entries: int = declared(
        Field(int, "flows that the selector keeps state of", 65536, minimum=1, maximum=MOST_ENTRIES, unit="entries")
    )
    cpu_percent: float = declared(
        Field(float, "CPU that it asks of a host", 1.0, minimum=0, maximum=100, unit="percent")
    )
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MonitorSpec:
    """One task's monitors. `parameters` are those of the measure."""

    measure: str = declared(Field(str, "what is measured of a flow"))
    at: str | tuple[str, ...] = _at(
        MONITOR_ROLES, "the role of its devices on the flow's paths, or candidates to choose from"
    )
    key: str = declared(
        Field(str, "the fields that identify a flow; the selector's where not given", None, choices=KEYS)
    )
    memory_entries: int = declared(
        Field(
            int,
            "table entries that each monitor asks of its device",
            1024,
            minimum=1,
            maximum=MOST_ENTRIES,
            unit="entries",
        )
    )
    cpu_percent: float = declared(
        Field(float, "CPU that it asks of a host", 1.0, minimum=0, maximum=100, unit="percent")
    )
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task: a selector, its monitors, and what the task is worth."""

    name: str = declared(
        Field(
            str,
            "the task's name, its own",
            pattern=r"[a-z0-9-]{1,100}",
            form="a name of lower-case letters, digits and -, of at most 100",
        )
    )
    selector: SelectorSpec
    monitor: MonitorSpec
    weight: float = declared(
        Field(float, "what running the task is worth to the placement", 1.0, above=0, maximum=1_000_000)
    )
    max_latency_ms: float | None = declared(
        Field(
            float,
            "greatest latency between selector and monitor; null for any",
            None,
            minimum=0,
            maximum=MOST_MS,
            unit="ms",
        )
    )


@dataclass(frozen=True)
class Spec:
    """A whole task file. `loss` is the probability of a drop by link ('s3-s6', the lower name first).

    `places` says where its values stood, for messages; it is no part of what the spec says.
    """

    topology: TopologySpec
    tasks: tuple[Task, ...]
    traffic: TrafficSpec = TrafficSpec()
    resources: Resources = Resources()
    sampling: Sampling = Sampling()
    loss: Mapping[str, float] = field(default_factory=dict)
    seed: int = declared(Field(int, "of all that is random in a run", 1, minimum=0, maximum=2**63 - 1))
    places: Places = field(default=Places(), compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the effective spec, defaults included, as a task file has it; it loads to an equal Spec."""
        return {
            "topology": _flat(self.topology, self.topology.options),
            "traffic": _traffic_dict(self.traffic),
            "resources": _flat(self.resources),
            "sampling": _flat(self.sampling),
            "loss": dict(self.loss),
            "seed": self.seed,
            "tasks": [
                {
                    "name": task.name,
                    "selector": _flat(task.selector, task.selector.parameters),
                    "monitor": _flat(task.monitor, task.monitor.parameters),
                    "weight": task.weight,
                    "max_latency_ms": task.max_latency_ms,
                }
                for task in self.tasks
            ],
        }


SECTIONS: dict[str, Any] = {
    "": Spec,
    "topology": TopologySpec,
    "traffic": TrafficSpec,
    "resources": Resources,
    "sampling": Sampling,
    "tasks[]": Task,
    "tasks[].selector": SelectorSpec,
    "tasks[].monitor": MonitorSpec,
}
"""Where in the file each table of declared keys stands."""


@dataclass(frozen=True)
class _Names:
    """What the caller says there is."""

    events: Mapping[str, Table]
    measures: Mapping[str, Table]
    traffic: Table
    topologies: Mapping[str, Table]


def load_spec(
    source: str | Path | Mapping[str, Any],
    events: Mapping[str, Table],
    measures: Mapping[str, Table],
    traffic: Table | None = None,
    topologies: Mapping[str, Table] | None = None,
) -> Spec:
    """Read a task file, or a dict of the same keys.

    `events` and `measures` say by name which parameters each has; one called like a declared key (`key`, say)
    stands in for that key's own declaration. `traffic` has the parameters of synthetic traffic, `topologies`
    those of each topology by name (files by their ending, '.json'); without it any name and plain parameter
    is taken. SpecError tells everything that is wrong, a line each: file, line, path and what is allowed.
    """
    names = _Names(events, measures, traffic or {}, topologies or {})
    if isinstance(source, Mapping):
        return _read(read_python(source, "task file"), Path(), names)
    if not isinstance(source, str | Path):
        raise SpecError(f"a task file is needed, or a dict of its keys, not {source!r}")
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not UTF-8 text: {error}") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from None
    return _read(read_yaml(text, str(path)), path.parent, names)


def parse_spec(
    text: str,
    name: str = "<text>",
    *,
    events: Mapping[str, Table],
    measures: Mapping[str, Table],
    traffic: Table | None = None,
    topologies: Mapping[str, Table] | None = None,
) -> Spec:
    """Read the text of a task file, called `name` in messages; otherwise as `load_spec`."""
    return _read(read_yaml(text, name), Path(), _Names(events, measures, traffic or {}, topologies or {}))


def parse_loss(text: str) -> dict[str, float]:
    """Read losses as on the command line: 's3-s6=2%,s1-s2=0.01' -> {'s1-s2': 0.01, 's3-s6': 0.02}."""
    given: dict[str, Any] = {}
    for part in text.split(","):
        link, equals, value = part.partition("=")
        if not equals or link in given:
            why = "stands twice" if equals else "is not LINK=PROBABILITY, such as s3-s6=2%"
            raise SpecError(f"loss: {part!r} {why}")
        given[link] = scalar(value)
    top = read_python({"loss": given}, "command line")
    loss = _loss(top.section("loss"))
    top.problems.finish()
    return loss


def _read(top: Section, folder: Path, names: _Names) -> Spec:
    """Read all sections, then raise what was wrong with any of them."""
    top.only(("topology", "traffic", "resources", "sampling", "loss", "seed", "tasks"))
    tasks = top.sections("tasks")
    spec = Spec(
        topology=_topology(top.section("topology", fields_of(TopologySpec)), folder, names.topologies),
        traffic=_traffic(top.section("traffic", fields_of(TrafficSpec)), folder, names.traffic),
        resources=_declared(top.section("resources", fields_of(Resources)), Resources),
        sampling=_declared(top.section("sampling", fields_of(Sampling)), Sampling),
        loss=_loss(top.section("loss")),
        tasks=tuple(_task(section, names) for section in tasks),
        places=top.places(),
        **top.values(fields_of(Spec)),
    )
    _refuse_repeated_names(tasks, spec.tasks)
    top.problems.finish()
    return spec


def _declared(section: Section, made: Any) -> Any:
    """Read a section that has declared keys only."""
    section.only(fields_of(made))
    return made(**section.values(fields_of(made)))


def _topology(section: Section, folder: Path, topologies: Mapping[str, Table]) -> TopologySpec:
    fixed = section.values(fields_of(TopologySpec))
    name = fixed["name"]
    kind = Path(name or "").suffix.lower()
    endings = [each for each in topologies if each.startswith(".")]
    is_file = kind in endings if topologies else bool(kind)
    if topologies and name is not None and (kind if is_file else name) not in topologies:
        known = [each for each in topologies if each not in endings]
        allowed = f"one of {', '.join(known)}, or a file that ends in {' or '.join(endings)}"
        section.refuse("name", f"must be {allowed}, not {show(name)}{suggestion(name, known)}")
    table = topologies.get(kind if is_file else name or "")
    if table is None:
        # Nothing is known of this topology's parameters: take any plain value.
        others = {key: node for key, node in section.nodes.items() if key not in fixed}
        for key, node in others.items():
            if isinstance(node.value, dict | list):
                section.refuse(key, f"must be a plain value, not {show(node.plain())}")
        options = {key: node.value for key, node in others.items()}
    else:
        section.only({**fields_of(TopologySpec), **table})
        options = section.values(table)
    return TopologySpec(**{**fixed, "name": str(folder / name) if is_file else name}, options=options)


def _traffic(section: Section, folder: Path, table: Table) -> TrafficSpec:
    declared_fields = {key: table.get(key, own) for key, own in fields_of(TrafficSpec).items()}
    parameters = {key: own for key, own in table.items() if key not in declared_fields}
    fixed = section.values(declared_fields)
    section.only((*declared_fields, "prefixes", *parameters))
    if fixed["synthetic"] is None:
        for key in parameters:
            if key in section:
                section.refuse(key, "is only for synthetic traffic; set traffic.synthetic or remove this key")
        parameters = {}
    elif fixed["trace"] is not None:
        section.refuse("synthetic", "cannot stand beside trace; keep one of the two")
    prefixes = _prefixes(section.section("prefixes"))
    if fixed["map"] == "prefix" and not prefixes:
        section.refuse("prefixes", "is missing; map: prefix needs it, as in {h1: [192.0.2.0/24], h2: [...]}")
    if fixed["map"] != "prefix" and "prefixes" in section:
        section.refuse("prefixes", "is only for map: prefix; set that or remove this key")
    if fixed["trace"] is not None:
        fixed["trace"] = tuple(each if each == "-" else str(folder / each) for each in fixed["trace"])
    return TrafficSpec(**fixed, prefixes=prefixes, options=section.values(parameters))


def _prefixes(section: Section) -> dict[str, tuple[str, ...]]:
    """Read host -> prefixes; no prefix may stand for two hosts."""
    owner: dict[Any, str] = {}
    prefixes = {}
    for host in section.nodes:
        if not re.fullmatch(HOST, host):
            section.refuse(host, "is no host; keys here are hosts such as h1")
        prefixes[host] = section.value(host, PREFIXES) or ()
        for text in prefixes[host]:
            try:
                network = ipaddress.ip_network(text)
            except ValueError as error:
                section.refuse(host, f"must be {PREFIXES.allowed}, not {show(text)}: {error}")
                continue
            if owner.setdefault(network, host) != host:
                section.refuse(host, f"{text} already stands for {owner[network]}; give it to one host")
    return prefixes


LINK = re.compile(rf"({DEVICE})-({DEVICE})(\.[2-9]|\.[1-9]\d+)?")
"""A link's name: its two ends, and the number of a parallel one."""


def _loss(section: Section) -> dict[str, float]:
    """Read link -> probability, the links by their ends in order (h before s, then by number)."""
    loss: dict[str, float] = {}
    for link in section.nodes:
        found = LINK.fullmatch(link)
        if not found or found[1] == found[2]:
            section.refuse(link, "is no link; keys here are two devices such as s3-s6")
            continue
        name = "-".join(sorted(found.group(1, 2), key=lambda end: (end[:1], len(end), end))) + (found[3] or "")
        if name in loss:
            section.refuse(link, "is the same link as one above; keep one")
        loss[name] = section.value(link, LOSS)
    return dict(sorted(loss.items()))


def _task(section: Section, names: _Names) -> Task:
    section.only((*fields_of(Task), "selector", "monitor"))
    selector = _module(section, "selector", SelectorSpec, "event", names.events)
    monitor = _module(section, "monitor", MonitorSpec, "measure", names.measures)
    if monitor.key is None:
        monitor = dataclasses.replace(monitor, key=selector.key)
    return Task(**section.values(fields_of(Task)), selector=selector, monitor=monitor)


def _module(task: Section, key: str, made: Any, kind: str, plugins: Mapping[str, Table]) -> Any:
    """Read a selector or monitor: the declared keys, then the parameters of the plug-in that `kind` names."""
    own = fields_of(made)
    own[kind] = dataclasses.replace(own[kind], choices=tuple(plugins))
    if key not in task:
        task.miss(key, f"a table of keys ({', '.join(own)})")
        return made(**dict.fromkeys(own))
    section = task.section(key, own)
    name = section.value(kind, own[kind])
    if name is None:
        section.only({**own, **{each: field for table in plugins.values() for each, field in table.items()}})
        return made(**section.values({each: own[each] for each in own if each != kind}), **{kind: None})
    table = plugins[name]
    section.only({**own, **table})
    fixed = section.values({each: table.get(each, own[each]) for each in own})
    return made(**fixed, parameters=section.values({each: table[each] for each in table if each not in own}))


def _refuse_repeated_names(sections: list[Section], tasks: tuple[Task, ...]) -> None:
    seen: dict[str, int] = {}
    for i, (task, section) in enumerate(zip(tasks, sections, strict=True)):
        if task.name in seen:
            section.refuse("name", f"tasks[{seen[task.name]}] is called {task.name} too; give each its own name")
        elif task.name is not None:
            seen[task.name] = i


def _flat(made: Any, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the declared keys of an object and its parameters, side by side as in the file."""
    values = {key: getattr(made, key) for key in fields_of(made)}
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in {**values, **(options or {})}.items()
    }


def _traffic_dict(traffic: TrafficSpec) -> dict[str, Any]:
    flat = _flat(traffic, traffic.options)
    if traffic.prefixes:
        flat["prefixes"] = {host: list(prefixes) for host, prefixes in traffic.prefixes.items()}
    return flat
