"""The plan of a live network as a value: what every switch and every device's agent is to do.

Made by `plan.py`, in a process of its own, and kept as JSON. This file and all that reads it know no numpy and no
solver, so that the process that answers the switches need not load them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..bus.config import Code, DeviceConfig
from ..errors import BusError, LiveError

PLANS = "plans"
"""The folder, in that of a run, of all plans that were in force, by revision."""


@dataclass(frozen=True)
class Crossing:
    """What one switch does with the packets of one pair of hosts."""

    next: tuple[str, ...]
    """The neighbours that they may go to, in order of name; the destination host at the last switch."""
    forward: tuple[int, ...] = ()
    """Tag tables of the tasks whose selector here tags the pair's own packets."""
    reverse: tuple[int, ...] = ()
    """Tag tables of the tasks whose selector here tags them for flows of the opposite direction."""
    watched: bool = False
    """A selector or monitor here wants to see them."""
    cleans_from: str | None = None
    """The host from whose port they come with a DSCP that is not ours: it is set to 0. None where they keep it."""
    untags: bool = False
    """They leave for their host from here, and without a tag."""


@dataclass(frozen=True)
class Kept:
    """What a new plan leaves as it is, where it can: the modules' places, the tags' codes and tables."""

    placement: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    codes: Mapping[str, Code] = field(default_factory=dict)
    tables: Mapping[str, int] = field(default_factory=dict)
    moves: tuple[Mapping[str, Any], ...] = ()
    """What has moved so far, which is not forgotten."""

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Kept:
        """Read the parts of a plan, or of a request, that are kept."""
        codes = {task: Code(**code) for task, code in given["codes"].items()}
        return cls(given["placement"], codes, given["tables"], tuple(given["moves"]))


@dataclass(frozen=True)
class Plan:
    """All that follows from a task file and the links that are up."""

    revision: int
    request: Mapping[str, Any]
    """What it was made from: the task file and the other arguments of `make_plan`, without what was kept."""
    topology: Mapping[str, Any]
    """name, hosts, switches, links (a, b, latency_ms, rate_mbps), interfaces by device and neighbour."""
    switches: Mapping[str, Mapping[str, Crossing]]
    """Switch -> pair of hosts ('h1>h5') -> what it does with their packets."""
    devices: Mapping[str, DeviceConfig]
    placement: Mapping[str, Mapping[str, str]]
    """Task -> module -> device, for the tasks that run."""
    refused: tuple[Mapping[str, str], ...] = ()
    """{task, reason} of those that do not."""
    channels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Task -> how its selections travel: tag, reverse tag, message."""
    codes: Mapping[str, Code] = field(default_factory=dict)
    tables: Mapping[str, int] = field(default_factory=dict)
    """Task -> the OpenFlow table of its tag rules, at the switches that tag for it."""
    moves: tuple[Mapping[str, Any], ...] = ()
    """{revision, task, module, source, to} of the modules that have moved since the run began: with which revision,
    from where (None where new in its task) to where (None where it stopped)."""
    cut_off: tuple[str, ...] = ()
    """Devices without a path to the rest of the network, because of links that are down."""

    @property
    def kept(self) -> Kept:
        """What the next plan should leave as it is."""
        return Kept(self.placement, self.codes, self.tables, self.moves)

    @property
    def new_moves(self) -> tuple[Mapping[str, Any], ...]:
        """The moves that came with this revision."""
        return tuple(move for move in self.moves if move["revision"] == self.revision)

    @property
    def down(self) -> frozenset[str]:
        """The links that it does without."""
        return frozenset(self.request["down"])

    def at_times(self, times: Mapping[str, int | None]) -> Plan:
        """Return the next plan, which differs in `epoch_start_ns` or `end_ns` alone."""
        devices = {
            device: dataclasses.replace(config, revision=self.revision + 1, **times)  # type: ignore[arg-type]
            for device, config in self.devices.items()
        }
        request = {**self.request, **times}
        return dataclasses.replace(self, revision=self.revision + 1, request=request, devices=devices)

    def to_json(self) -> str:
        """Write as JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Plan:
        """Read what `to_json` wrote; raises LiveError for anything else."""
        try:
            given = json.loads(text)
            given["devices"] = {d: DeviceConfig.from_dict(c) for d, c in given["devices"].items()}
            given["codes"] = {task: Code(**code) for task, code in given["codes"].items()}
            given["switches"] = {
                switch: {pair: _crossing(each) for pair, each in pairs.items()}
                for switch, pairs in given["switches"].items()
            }
            given["channels"] = {task: tuple(kinds) for task, kinds in given["channels"].items()}
            for name in ("refused", "moves", "cut_off"):
                given[name] = tuple(given[name])
            return cls(**given)
        except (ValueError, TypeError, KeyError, AttributeError, BusError) as error:
            raise LiveError(f"not a plan: {error}") from None


def _crossing(given: Mapping[str, Any]) -> Crossing:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    return Crossing(**fields)


def load_plan(path: str | Path) -> Plan:
    """Read a plan from a file. Raises LiveError naming the file."""
    try:
        return Plan.from_json(Path(path).read_text())
    except OSError as error:
        raise LiveError(f"cannot read the plan {path}: {error.strerror}") from None
    except LiveError as error:
        raise LiveError(f"{path}: {error}") from None


def load_plans(run: Path) -> dict[int, Plan]:
    """Read all plans that were in force in a run, by revision. Raises LiveError naming a damaged file."""
    plans = [load_plan(path) for path in (run / PLANS).glob("*.json")]
    return {plan.revision: plan for plan in sorted(plans, key=lambda plan: plan.revision)}


def adopt(run: Path, plan: Plan) -> None:
    """Put a plan in force in a run's folder, where a controller finds it, also one that comes back."""
    text = plan.to_json().encode()
    (run / PLANS).mkdir(exist_ok=True)
    write_whole(run / PLANS / f"{plan.revision}.json", text)
    write_whole(run / "plan.json", text)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that at any time, also after a crash, it is there as a whole or not at all.

    Its owner alone can read it: plans have the secret of flow keys, and reports have keys, from which it follows.
    """
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)  # a part of it would take room that others need
        raise OSError(error.errno, error.strerror, str(path)) from None
