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
    from ..replay.routes import Routes, link_drops
    from ..replay.tags import allot
    from ..replay.vocabulary import load
    from ..topologies.catalogue import load as load_topology

    spec = load(args.spec)
    topology = load_topology(spec.topology.name, **spec.topology.options)
    routes = Routes(topology, spec.topology.ecmp)
    link_drops(routes, spec.loss)
    channels = [Channels(task, routes) for task in spec.tasks]
    codes = allot(channels, routes)
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
