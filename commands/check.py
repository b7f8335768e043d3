"""`mozart check`: is a task file valid, which of its tasks would run, where, and why not the others."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..replay.channels import Channels
    from ..replay.placed import Placed
    from ..tasks import Spec

EXAMPLES = """examples:
  mozart check tasks.yaml
  mozart check tasks.yaml --json

Exit status: 0 all tasks would run, 1 the file is valid and some tasks would be refused, 2 the file is not valid."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mozart check`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("spec", help="task file")
    parser.add_argument(
        "--json", action="store_true", help="write the effective task file, tag codes, places and refusals as JSON"
    )


def run(args: argparse.Namespace) -> int:
    """Check a task file and place its tasks; 1 where some would be refused."""
    from ..replay.channels import Channels
    from ..replay.meaning import codes_of, network_of
    from ..replay.placed import place_tasks
    from ..replay.report import placed_lines
    from ..replay.routes import Routes
    from ..replay.vocabulary import load

    spec = load(args.spec)
    topology = network_of(spec)
    placed = place_tasks(spec, topology)
    routes = Routes(topology, spec.topology.ecmp, lossy=())
    running = {
        task.name: Channels(task, routes, *placed.at[task.name]) for task in spec.tasks if task.name in placed.at
    }
    codes = codes_of(spec, list(running.values()))
    not_live = _refused_live(spec, codes)
    if args.json:
        print(json.dumps(_document(spec, placed, running, codes, not_live), indent=2))
    else:
        lines = [f"{args.spec}: valid; {topology.name}, {len(topology.switches)} switches, {len(topology.hosts)} hosts"]
        lines += placed_lines(len(spec.tasks), placed)
        lines += [_line(channels, codes) for channels in running.values()]
        print(*lines, *([f"refused by mozart live: {not_live}"] if not_live else ()), sep="\n")
    return 1 if placed.refused or not_live else 0


def _refused_live(spec: Spec, codes: dict[str, int]) -> str | None:
    """Say what a live network has too few of for the tasks that tag: codes, or tables at a switch; None where nothing.

    It needs more of both than a replay, so its plan is made where there could be too few.
    """
    from ..controller.rules import TAG_TABLES

    if len(codes) <= TAG_TABLES:
        return None
    from ..controller.plan import make_plan
    from ..errors import SpecError

    try:
        make_plan(spec)
    except SpecError as error:
        return str(error)
    return None


def _document(
    spec: Spec, placed: Placed, running: dict[str, Channels], codes: dict[str, int], not_live: str | None
) -> dict[str, Any]:
    return {
        **spec.to_dict(),
        "tag_codes": codes,
        "placement": {
            name: {
                "selectors": list(channels.selectors),
                "monitors": list(channels.monitors),
                "channels": sorted(channels.kinds()),
            }
            for name, channels in running.items()
        },
        "refused": [{"task": task, "reason": reason} for task, reason in placed.refused.items()],
        "refused_live": not_live,
    }


def _line(channels: Channels, codes: dict[str, int]) -> str:
    """Say where the modules of a task that runs would be, and how its selections would travel."""
    from .tasks import ranges

    task = channels.task
    code = f", tag code {codes[task.name]}" if task.name in codes else ""
    return (
        f"  {task.name}: {task.selector.event} on {ranges(channels.selectors)}; {task.monitor.measure} on "
        f"{ranges(channels.monitors)}; selections travel by {', '.join(sorted(channels.kinds()))}{code}"
    )
