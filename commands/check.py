"""`mozart check`: is a task file valid, and what would it run where."""

from __future__ import annotations

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mozart check`."""
    parser.add_argument("spec", help="task file")
    parser.add_argument("--json", action="store_true", help="write the effective task file as JSON")


def run(args: argparse.Namespace) -> int:
    """Check a task file, down to the channels that its tasks need on its topology."""
    from ..replay.channels import Channels
    from ..replay.meaning import codes_of, network_of
    from ..replay.placed import place_tasks
    from ..replay.routes import Routes
    from ..replay.tags import CODES
    from ..replay.vocabulary import load

    spec = load(args.spec)
    topology = network_of(spec)
    routes = Routes(topology, spec.topology.ecmp)
    channels = [Channels(task, routes) for task in spec.tasks]
    running = channels
    if len(channels) > CODES:  # the codes may do or not, as it is placed which tasks run, and where
        at = place_tasks(spec, topology).at
        running = [Channels(task, routes, *at[task.name]) for task in spec.tasks if task.name in at]
    codes = codes_of(spec, running, routes)
    if args.json:
        print(json.dumps({**spec.to_dict(), "tag_codes": codes}, indent=2))
        return 0
    print(f"{args.spec}: valid; {topology.name}, {len(topology.switches)} switches, {len(topology.hosts)} hosts")
    for task, channel in zip(spec.tasks, channels, strict=True):
        code = f", tag code {codes[task.name]}" if task.name in codes else ""
        print(
            f"  {task.name}: {task.selector.event} on {len(channel.selectors)} devices, {task.monitor.measure} on "
            f"{len(channel.monitors)}; selections travel by {', '.join(sorted(channel.kinds()))}{code}"
        )
    return 0
