"""Runs opened again: a folder is read as it is, and a live run whose process was killed is evaluated from its folder.

1. Hold the folder, so that a run that is under way is refused.
2. Find up to when all devices have reported: what they saw later has no records beside it, and is left out.
3. Evaluate as a live run does at its end (evaluate.py), and say what is missing.
4. Write the tables and figures, as the run would have done, so that the next opening reads them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..controller.planned import Plan, load_plan
from ..errors import LiveError, MozartError
from ..folders import LIVE, REPLAY, held
from ..replay.opened import RunFolder
from ..topologies.catalogue import load as load_topology
from .evaluate import Evaluator, Report, read_reports
from .lost import host_gaps, judged
from .record import recorded_runs
from .report import LiveResult, write_run

UNKNOWN = (
    "its process was killed, so flow entries by switch, packets dropped on purpose, faults, and what senders say are "
    "not known"
)


def open_run(folder: str | Path, frames: str = "polars", say: Callable[[str], object] = lambda text: None) -> RunFolder:
    """Open the folder of a run: `.rows`, `.flows` and `.links` are tables, `.info` is everything else.

    `frames` says what the tables are: "polars", "pandas" or "arrow" (pyarrow). A live run whose process was killed
    is evaluated first, and its tables are written into the folder. Raises SpecError where there is no run that can be
    read, LiveError where a killed run has measured nothing.
    """
    place = Path(folder)
    if (place / LIVE).exists() and not (place / REPLAY).exists():
        say(f"{place}: the run was not evaluated; doing it now")
        evaluate_killed(place)
    return RunFolder(place, frames)


def result_of(folder: RunFolder) -> LiveResult:
    """Return the result of the live run that a folder holds; raises LiveError where its run.json lacks something."""
    try:
        return LiveResult.of(folder.info)
    except (KeyError, TypeError) as error:
        raise LiveError(f"{folder.path / REPLAY}: lacks {error}; another version of mozart wrote it") from None


def evaluate_killed(folder: Path) -> LiveResult:
    """Evaluate a live run whose process was killed, and write what it found into its folder (steps 1 to 4)."""
    with held(folder):  # 1
        plan = load_plan(folder / LIVE)
        reports = read_reports(folder / "reports")
        until_ns = reported_until(plan, reports)  # 2
        evaluator = Evaluator(_ending(plan, until_ns), folder)
        evaluator.reports = {
            device: [r for r in some if until_ns is None or r.header["start_ns"] < until_ns]
            for device, some in reports.items()
        }
        evaluation = evaluator.evaluate()  # 3
        if not reports and not evaluation.packets["sent"]:
            raise LiveError(f"{folder}: the run was killed before it had measured anything; there is nothing to open")
        if not reports:
            evaluation.rows, evaluation.selected_keys = [], {}
        replayed = evaluator.replayed() if evaluation.packets["sent"] else None
        late = evaluator.replayed(late=True) if replayed is not None and evaluation.in_force_ms else None
        evaluation.notes += missing(plan, reports, until_ns, folder)
        topology = plan.request["spec"]["topology"]
        options = {name: value for name, value in topology.items() if name not in ("name", "ecmp")}
        result = LiveResult(
            load_topology(topology["name"], **options), evaluation, replayed, refused=plan.refused, late=late,
            lost=judged(evaluation.lost_ns, 0, host_gaps(evaluation.devices), (), 0)[0], gave_up=True,
        )  # fmt: skip
        write_run(result, folder)  # 4
    return result


def reported_until(plan: Plan, reports: Mapping[str, Sequence[Report]]) -> int | None:
    """Return up to when (ns) all devices that reported at all have; None where all have ended, or none reported."""
    if not reports or all(_finished(reports.get(device, ())) for device in plan.devices):
        return None
    return min(max(report.header["end_ns"] for report in some) for some in reports.values())


def missing(plan: Plan, reports: Mapping[str, Sequence[Report]], until_ns: int | None, folder: Path) -> list[str]:
    """Say what a killed run lacks."""
    told = next(iter(plan.devices.values()))
    notes = [UNKNOWN]
    silent = [device for device in plan.devices if device not in reports]
    if not reports:
        notes.append(
            f"no report came: it was killed within its first epoch ({told.epoch_ns / 1e9:g} s), so what was selected "
            "and recorded is not known; the rows are of the replay of what was sent"
        )
    elif silent:
        notes.append(f"no report of {', '.join(silent)}")
    unfinished = [device for device, some in reports.items() if not _finished(some)]
    if until_ns is not None and unfinished:
        notes.append(
            f"no last report of {len(unfinished)} devices; the run is judged up to "
            f"{(until_ns - told.epoch_start_ns) / 1e9:.1f} s, when the last epoch ended that all of them reported"
        )
    if _left(folder):
        notes.append(
            "parts of the run are still on this machine; what they report from now on is not in here; mozart clean "
            "ends them"
        )
    return notes


def _left(folder: Path) -> bool:
    """Say whether this user has a record of things that the run made and did not undo."""
    try:
        return any(run.folder and Path(run.folder).resolve() == folder.resolve() for run in recorded_runs())
    except MozartError:
        return False


def _finished(reports: Sequence[Report]) -> bool:
    return any(report.header["final"] for report in reports)


def _ending(plan: Plan, until_ns: int | None) -> Plan:
    """Return a plan whose run ends at a time."""
    if until_ns is None:
        return plan
    devices = {device: dataclasses.replace(config, end_ns=until_ns) for device, config in plan.devices.items()}
    return dataclasses.replace(plan, devices=devices)
