"""`mozart tasks`: list, add and remove tasks in a network that is running live."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..errors import SpecError

if TYPE_CHECKING:
    from ..live.record import Recorded

LEAST_WIDTH = 100
"""Columns of the table; a narrower terminal breaks its lines."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mozart tasks`."""
    parser.add_argument("--run", metavar="ID", dest="run_id", help="which run, where several are under way")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    listing = actions.add_parser("list", help="say which tasks there are, and where their modules run")
    adding = actions.add_parser("add", help="add the tasks of a task file")
    adding.add_argument("file", help="task file; its tasks are added, the rest of it is only checked")
    adding.add_argument("names", nargs="*", help="only these of its tasks")
    removing = actions.add_parser("remove", help="remove tasks by name")
    removing.add_argument("names", nargs="+", help="their names")
    for action in (listing, adding, removing):
        action.add_argument("--json", action="store_true", help="write the controller's answer as JSON")


def run(args: argparse.Namespace) -> int:
    """Ask the controller of the run that is under way, and show the tasks that there are then."""
    from pathlib import Path

    from ..bus.access import read_access
    from ..live.clean import running
    from ..live.operator import Operator
    from ..live.record import RUNNING

    tasks = _tasks_of(args.file, args.names) if args.action == "add" else []
    found = running(run=args.run_id)
    if found.phase != RUNNING:
        return _tell_phase(found, args)
    folder = Path(found.folder)
    with Operator(read_access(folder / "broker" / "access-operator.json")) as operator:
        answer = operator.ask("list")
        if args.action == "add":
            _refuse_present(tasks, answer)
            answer = operator.ask("add", tasks=tasks)
        elif args.action == "remove":
            answer = operator.ask("remove", tasks=args.names)
    answer = {"run": found.id, "phase": found.phase, **answer}
    print(json.dumps(answer, indent=2)) if args.json else show(answer)
    return 0


def _tell_phase(found: Recorded, args: argparse.Namespace) -> int:
    """Say what a run is at whose controller cannot be asked yet, or no longer; LiveError where tasks are to change."""
    from ..errors import LiveError

    told = f"run {found.id} is not ready for questions: {found.phase} (results in {found.folder})"
    if args.action != "list":
        raise LiveError(f"{told}; tasks can be added and removed while its traffic flows")
    if args.json:
        print(json.dumps({"run": found.id, "phase": found.phase, "tasks": []}, indent=2))
    else:
        print(told)
    return 0


def _tasks_of(file: str, names: list[str]) -> list[dict[str, Any]]:
    """Return tasks of a task file, all of them where no names are given."""
    from ..replay.vocabulary import load

    tasks: list[dict[str, Any]] = load(file).to_dict()["tasks"]
    there = [task["name"] for task in tasks]
    missing = [name for name in names if name not in there]
    if missing:
        raise SpecError(f"{file}: no task {', '.join(missing)}; there are {', '.join(there)}")
    return [task for task in tasks if not names or task["name"] in names]


def _refuse_present(tasks: list[dict[str, Any]], answer: dict[str, Any]) -> None:
    present = {task["name"] for task in answer["tasks"]}
    twice = [task["name"] for task in tasks if task["name"] in present]
    if twice:
        raise SpecError(f"{', '.join(twice)}: in the network already; remove it first, or name the tasks to add")


def show(answer: dict[str, Any]) -> None:
    """Print the tasks of a controller's answer as a table, and what it has moved."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("task", "event", "measure", "runs", "modules", "channels"):
        table.add_column(title, overflow="fold")
    for task in answer["tasks"]:
        runs = "yes" if task["runs"] else f"no: {task['reason']}"
        places = f"{len(task['modules'])} on {ranges(map(str, task['modules'].values()))}"
        modules = places if task["modules"] else ""
        table.add_row(task["name"], task["event"], task["measure"], runs, modules, ", ".join(task["channels"]))
    console = Console()
    console.width = max(console.width, LEAST_WIDTH)
    console.print(table)
    print("modules: a selector and its monitors, and their devices; channels: how selections reach the monitors")
    there = {task["name"] for task in answer["tasks"]}
    for move in answer.get("moves", ()):
        if move["task"] in there:
            print(moved(**{key: move[key] for key in ("task", "module", "source", "to")}))


def moved(task: str, module: str, source: str | None, to: str | None) -> str:
    """Say what became of a module with a new plan: it moved, or is new in its task (no source), or stopped (no to)."""
    if source is None:
        return f"new: {task} {module} on {to}"
    return f"stopped: {task} {module} on {source}" if to is None else f"moved: {task} {module}: {source} -> {to}"


def ranges(devices: Iterable[str]) -> str:
    """Name devices in order, neighbours as a range: s1, s2, s3, s7 -> 's1 to s3, s7'."""
    numbers: dict[str, list[int]] = {}
    for device in sorted(set(devices), key=lambda name: (name[:1], int(name[1:]))):
        numbers.setdefault(device[0], []).append(int(device[1:]))
    runs: list[tuple[str, int, int]] = []
    for letter, found in numbers.items():
        for number in found:
            if runs and runs[-1][0] == letter and runs[-1][2] == number - 1:
                runs[-1] = (letter, runs[-1][1], number)
            else:
                runs.append((letter, number, number))
    return ", ".join(_run(*run) for run in runs)


def _run(letter: str, first: int, last: int) -> str:
    if last - first < 2:
        return ", ".join(f"{letter}{number}" for number in range(first, last + 1))
    return f"{letter}{first} to {letter}{last}"
