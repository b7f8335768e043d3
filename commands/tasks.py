"""`mozart tasks`: list, add and remove tasks in a network that is running live."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..errors import SpecError


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

    tasks = _tasks_of(args.file, args.names) if args.action == "add" else []
    folder = Path(running(run=args.run_id).folder)
    with Operator(read_access(folder / "broker" / "access-operator.json")) as operator:
        answer = operator.ask("list")
        if args.action == "add":
            _refuse_present(tasks, answer)
            answer = operator.ask("add", tasks=tasks)
        elif args.action == "remove":
            answer = operator.ask("remove", tasks=args.names)
    print(json.dumps(answer, indent=2)) if args.json else show(answer)
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

    table = Table("task", "event", "measure", "runs", "modules", "channels", box=box.SIMPLE_HEAD, pad_edge=False)
    for task in answer["tasks"]:
        runs = "yes" if task["runs"] else f"no: {task['reason']}"
        places = f"{len(task['modules'])} on {', '.join(sorted(set(map(str, task['modules'].values()))))}"
        modules = places if task["modules"] else ""
        table.add_row(task["name"], task["event"], task["measure"], runs, modules, ", ".join(task["channels"]))
    Console().print(table)
    for move in answer.get("moves", ()):
        print("moved: {task} {module}: {source} -> {to}".format_map(move))
