"""What may stand in a task file: every event, measure, kind of traffic and topology, with their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..fields import Field
from ..monitors.measures import MEASURES
from ..selectors.events import EVENTS
from ..tasks import Spec, load_spec
from ..topologies.catalogue import TABLES
from ..traces.synth_options import KINDS, SynthOptions


def events() -> dict[str, dict[str, Field]]:
    """Return the parameters of every event, its default key among them."""
    return {
        name: {
            "key": Field(str, "the fields that identify a flow", kind.default_key, choices=kind.keys),
            **kind.parameters,
        }
        for name, kind in EVENTS.items()
    }


def traffic() -> dict[str, Field]:
    """Return the kinds of synthetic traffic, and its parameters."""
    kinds = {"int": int, "float": float, "str": str}
    synthetic = Field(str, "the kind of synthetic traffic, instead of a trace", None, choices=KINDS)
    return {"synthetic": synthetic} | {
        f.name: Field(
            kinds[str(f.type)],
            f.metadata["help"],
            f.default,
            minimum=f.metadata["least"] if f.type != "str" else None,
            maximum=f.metadata["most"] if f.metadata["most"] != float("inf") else None,
        )
        for f in fields(SynthOptions)
        if f.name != "name"
    }


def load(source: str | Path | Mapping[str, Any]) -> Spec:
    """Read a task file, or a dict with its keys; raises SpecError with everything that is wrong with it."""
    measures = {name: dict(kind.parameters) for name, kind in MEASURES.items()}
    return load_spec(source, events=events(), measures=measures, traffic=traffic(), topologies=TABLES)
