"""All topologies by name, as in task files and on command lines: b4; fattree,k=4; mine.graphml."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import TopologyError
from ..fields import Field, split_parameters, suggestion
from .b4 import b4
from .drawing import Drawing, Settling, settle
from .fat_tree import fat_tree
from .gml import read_gml
from .graphml import read_graphml
from .json_file import load_json
from .leaf_spine import leaf_spine
from .line import line
from .sndlib import read_sndlib_native, read_sndlib_xml
from .topology import Topology

DATA_CENTRE_MS = 0.05
DATA_CENTRE_MBPS = 10_000.0


def _link_fields(latency_ms: float, rate_mbps: float) -> dict[str, Field]:
    return {
        "latency_ms": Field(float, "latency of each link between switches", latency_ms, minimum=0.0, unit="ms"),
        "rate_mbps": Field(float, "rate of each link between switches", rate_mbps, above=0.0, unit="Mbit/s"),
    }


PARAMETERS: dict[str, dict[str, Field]] = {
    "b4": {},
    "leaf-spine": {
        "leaves": Field(int, "leaf switches", 4, minimum=1, maximum=256),
        "spines": Field(int, "spine switches", 2, minimum=1, maximum=256),
        "hosts": Field(int, "hosts on each leaf", 2, minimum=1, maximum=256),
        **_link_fields(DATA_CENTRE_MS, DATA_CENTRE_MBPS),
    },
    "fattree": {
        "k": Field(int, "ports of each switch", 4, minimum=2, maximum=16, form="an even number", multiple_of=2),
        **_link_fields(DATA_CENTRE_MS, DATA_CENTRE_MBPS),
    },
    "line": {
        "n": Field(int, "switches, with a host on each", 4, minimum=1, maximum=1024),
        **_link_fields(1.0, 1_000.0),
    },
}
"""Parameters of each topology that is made by name."""

SETTLING = {
    "latency_ms": Field(
        float, "latency of links for which the file gives neither latency nor places", None, minimum=0.0, unit="ms"
    ),
    "rate_mbps": Field(float, "rate of links for which the file gives none", 1_000.0, above=0.0, unit="Mbit/s"),
    "parallel": Field(
        str, "several links between two devices: one with their joint rate, or kept apart", None,
        choices=("join", "keep"),
    ),
    "component": Field(
        str, "what to take of a network in several parts; null refuses it", None, choices=("largest",)
    ),
}  # fmt: skip
"""Parameters of all kinds of topology file."""

READERS: Mapping[str, Callable[[Path], Drawing]] = {
    ".graphml": read_graphml,
    ".gml": read_gml,
    ".xml": read_sndlib_xml,
    ".txt": read_sndlib_native,
}
"""Readers of files of other tools, by their ending; `.json` may be such a file or one of the own format."""

FILE_PARAMETERS: dict[str, dict[str, Field]] = dict.fromkeys((*READERS, ".json"), SETTLING)
"""Parameters of each kind of topology file, by its ending."""
ENDINGS = " or ".join([", ".join(list(FILE_PARAMETERS)[:-1]), list(FILE_PARAMETERS)[-1]])

TABLES = {**PARAMETERS, **FILE_PARAMETERS}
"""All of them, as the task file needs them to check what stands beside a topology's name."""

SUMMARIES = {
    "b4": "the wide-area network between data centres of the MOZART evaluation: 12 switches, 19 links",
    "leaf-spine": "every leaf linked to every spine",
    "fattree": "fat-tree of k-port switches (Al-Fares, Loukissas, Vahdat 2008)",
    "line": "switches in a row, a host on each",
    ".graphml": "GraphML, such as the files of the Internet Topology Zoo",
    ".gml": "GML, as the Internet Topology Zoo has it too",
    ".xml": "SNDlib's XML format",
    ".txt": "SNDlib's native format",
    ".json": "node-link JSON, or the project's own format (docs/topologies.md), which has no parameters",
}
"""What each of them is, in a line."""

MAKERS: Mapping[str, Callable[..., Topology]] = {
    "b4": b4,
    "leaf-spine": leaf_spine,
    "fattree": fat_tree,
    "line": line,
}


def load(text: str | Path, **options: Any) -> Topology:
    """Return the topology that a text names, with parameters in the text or as options.

    The text is a name of `PARAMETERS` or a path with an ending of `FILE_PARAMETERS`, then 'key=value' parts after
    commas. TopologyError says what there is where a name or parameter is unknown, or what a value may be.
    """
    try:
        name, given = split_parameters(str(text))
    except ValueError as error:
        raise TopologyError(f"topology {error}; write it as leaf-spine,leaves=4,spines=2") from None
    kind = Path(name).suffix.lower() if Path(name).suffix.lower() in FILE_PARAMETERS else name
    table = TABLES.get(kind)
    if table is None:
        known = "; ".join(_usage(each) for each in PARAMETERS)
        raise TopologyError(
            f"no topology {name!r}{suggestion(name, PARAMETERS)}; there are: {known}; or a file that ends in {ENDINGS}"
        )
    for key in given.keys() & options.keys():
        raise TopologyError(f"topology {name}: {key} is given twice, in the name and beside it")
    values = _checked(name, table, {**given, **options}, read=given.keys())
    if kind == ".json":
        return load_json(Path(name), **values)
    if kind in READERS:
        return settle(READERS[kind](Path(name)), Settling(**values))
    return MAKERS[kind](**values)


def _usage(name: str) -> str:
    return ",".join([name, *(f"{key}={field.default}" for key, field in PARAMETERS[name].items())])


def _checked(name: str, table: Mapping[str, Field], given: Mapping[str, Any], read: Any) -> dict[str, Any]:
    """Return the value of every parameter, defaults included; those in `read` are texts to be read."""
    for key in given:
        if key not in table:
            known = ", ".join(table) or "none"
            raise TopologyError(f"topology {name} has no parameter {key}{suggestion(key, table)}; there are: {known}")
    values = {}
    for key, field in table.items():
        try:
            values[key] = field.default
            if key in given:
                values[key] = field.read(given[key]) if key in read else field.check(given[key])
        except ValueError as error:
            raise TopologyError(f"topology {name}: {key} {error}") from None
    return values
