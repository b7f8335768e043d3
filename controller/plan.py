"""Planning a live network: paths, places, codes and configurations, from a task file and the links that are up.

Runs in a process of its own, `python -m mozart.controller.plan REQUEST.json PLAN.json`, because what it needs (numpy,
compiled code, a solver) does not go together with Ryu's patched sockets, and because switches want answers meanwhile.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..bus.config import Code, DeviceConfig
from ..descriptors import libraries_apart
from ..errors import MozartError, SpecError
from ..monitors.modes import MODES
from ..replay.routes import Routes
from ..replay.vocabulary import load
from ..tasks import Spec
from ..topologies.addresses import interfaces
from ..topologies.catalogue import load as load_topology
from ..topologies.topology import Topology
from ..traces.keys import SECRET_BYTES, seeded_secret
from .codes import allot, tagged_places
from .modules import heard, monitors, selectors
from .paths import NextHops, paths_of
from .placing import Placed, moves, place_tasks
from .planned import Crossing, Kept, Plan, write_whole
from .rules import TAG_TABLES
from .working import without_links

NS_PER_S = 1e9


def make_plan(
    spec: Spec,
    *,
    revision: int = 1,
    keep: Kept | None = None,
    down: Collection[str] = frozenset(),
    epoch_start_ns: int = 0,
    end_ns: int | None = None,
    observations: str | None = None,
    mode: str = "mozart",
    reserved_dscp: Collection[int] = (),
    time_limit_s: float = 20.0,
    flow_secret: str | None = None,
) -> Plan:
    """Work out what every switch and agent of a live network is to do.

    1. Leave out the links that are `down` ('s3-s6'), and what they cut off. 2. Find the paths of all pairs of hosts.
    3. Place the tasks, moving as little as possible of what `keep` has. 4. Allot codes and tag tables. 5. Say what
    each switch does with each pair's packets. 6. Write each device's configuration. Epochs begin at `epoch_start_ns`
    (since 1970), the run ends at `end_ns`; `observations` is the folder for logs of all packets; `reserved_dscp` are
    values that no tag may make; `flow_secret` is what flow keys are made with (else what follows from the seed, which
    anybody can know; `main`, which every run goes through, draws one at random). Tasks that cannot run are refused,
    with the reason. Raises SpecError where the paths, the codes or the tables do not suffice, or a link or mode does
    not exist.
    """
    if mode not in MODES:
        raise SpecError(f"no mode {mode!r}; there are {', '.join(MODES)}")
    keep = keep or Kept()
    flow_secret = flow_secret or seeded_secret(spec.seed)
    topology = load_topology(spec.topology.name, **spec.topology.options)
    if topology.has_parallel_links:
        raise SpecError(
            f"{topology.name} keeps parallel links apart, and switches forward by neighbour: say parallel=join"
        )
    working, cut_off = without_links(topology, down)  # 1
    routes = Routes(working, spec.topology.ecmp, lossy=())
    paths = paths_of(routes)  # 2
    placed, refused = place_tasks(spec, routes, cut_off, keep, time_limit_s)  # 3
    tasks = [heard(each, MODES[mode]) for each in placed]
    codes = allot({each.task.name: tagged_places(each.reaches) for each in tasks}, keep.codes, reserved_dscp)  # 4
    tables = _tables(tasks, keep.tables)
    placement = {each.task.name: dict(each.modules) for each in placed}
    return Plan(
        revision=revision,
        request={
            "spec": spec.to_dict(), "down": sorted(down), "epoch_start_ns": epoch_start_ns, "end_ns": end_ns,
            "observations": observations, "mode": mode, "reserved_dscp": sorted(reserved_dscp),
            "time_limit_s": time_limit_s, "flow_secret": flow_secret,
        },
        topology=_described(topology),
        switches=_crossings(topology, paths, tasks, codes, tables),  # 5
        devices=_configs(
            spec, topology, tasks, codes, tables, revision, epoch_start_ns, end_ns, observations, mode, flow_secret
        ),
        placement=placement,
        refused=tuple(refused),
        channels={each.task.name: each.kinds for each in tasks},
        codes=codes,
        tables=tables,
        moves=(*keep.moves, *({"revision": revision, **move} for move in moves(keep.placement, placement))),
        cut_off=cut_off,
    )  # fmt: skip


def plan_from(request: Mapping[str, Any]) -> Plan:
    """Make the plan of a request: the arguments of `make_plan` as JSON has them, the task file under `spec`."""
    given = dict(request)
    try:
        spec = spec_of(given.pop("spec"))
        keep = given.pop("keep", None)
        return make_plan(spec, keep=None if keep is None else Kept.from_dict(keep), **given)
    except (KeyError, TypeError) as error:
        raise SpecError(f"not a request for a plan: {error}") from None


def spec_of(document: Mapping[str, Any]) -> Spec:
    """Read a task file's keys; a running network, unlike a task file, may have no task left."""
    if document["tasks"]:
        return load(document)
    module = {"at": "source-host"}
    any_task = {"name": "none", "selector": {"event": "loss", **module}, "monitor": {"measure": "volume", **module}}
    return dataclasses.replace(load({**document, "tasks": [any_task]}), tasks=())


def _tables(tasks: Sequence[Placed], keep: Mapping[str, int]) -> dict[str, int]:
    """Give each task that tags at switches a tag table that no other task has at any of them; kept ones first."""
    taggers = {
        each.task.name: {d for reach in each.reaches for d in reach.tagged_from if d.startswith("s")} for each in tasks
    }
    found: dict[str, int] = {}
    for name in sorted((name for name in taggers if taggers[name]), key=lambda n: (n not in keep, n)):
        taken = {found[other] for other in found if taggers[other] & taggers[name]}
        free = [table for table in range(1, TAG_TABLES + 1) if table not in taken]
        if not free:
            rivals = sorted(other for other in found if taggers[other] & taggers[name])
            raise SpecError(
                f"{TAG_TABLES} tasks can tag at one switch; {name} would be one more beside {', '.join(rivals)}. "
                "Remove a task, or place selectors elsewhere"
            )
        found[name] = keep[name] if keep.get(name) in free else free[0]
    return found


def _crossings(
    topology: Topology,
    paths: Mapping[str, NextHops],
    tasks: Sequence[Placed],
    codes: Mapping[str, Code],
    tables: Mapping[str, int],
) -> dict[str, dict[str, Crossing]]:
    """Say what each switch does with the packets of each pair that crosses it."""
    forward: dict[tuple[str, str], set[int]] = {}
    reverse: dict[tuple[str, str], set[int]] = {}
    watched: set[tuple[str, str]] = set()
    trusted: set[str] = set()
    for each in tasks:
        table = tables.get(each.task.name, 0)
        for reach in each.reaches:
            if reach.by_tag and reach.selector:
                forward.setdefault((reach.selector, reach.pair), set()).add(table)
            if reach.reverse_tagger:
                reverse.setdefault((reach.reverse_tagger, reach.pair), set()).add(table)
            watched.update((d, reach.pair) for d in (reach.selector, *reach.crossed, *reach.by_reverse_tag) if d)
            trusted.update(reach.tagged_from)
    found: dict[str, dict[str, Crossing]] = {switch: {} for switch in topology.switches}
    for pair, hops in paths.items():
        source, _, destination = pair.partition(">")
        for switch in hops.keys() - {source}:
            at = (switch, pair)
            enters = bool(codes) and topology.switch_of(source) == switch and source not in trusted
            found[switch][pair] = Crossing(
                next=hops[switch],
                forward=tuple(sorted(forward.get(at, ()))),
                reverse=tuple(sorted(reverse.get(at, ()))),
                watched=at in watched,
                cleans_from=source if enters else None,
                untags=bool(codes) and hops[switch] == (destination,),
            )
    return found


def _configs(
    spec: Spec,
    topology: Topology,
    tasks: Iterable[Placed],
    codes: Mapping[str, Code],
    tables: Mapping[str, int],
    revision: int,
    epoch_start_ns: int,
    end_ns: int | None,
    observations: str | None,
    mode: str,
    flow_secret: str,
) -> dict[str, DeviceConfig]:
    """Write the configuration of every device; those without a module have one too."""
    sampling = spec.sampling
    empty = DeviceConfig(
        device="", revision=revision, epoch_start_ns=epoch_start_ns, epoch_ns=round(sampling.epoch_s * NS_PER_S),
        mode=mode, probability=MODES[mode].probability(sampling.probability), seed=spec.seed, map=spec.traffic.map,
        hosts=topology.hosts, early_removal_bytes=sampling.early_removal_bytes, preserve_bytes=sampling.preserve_bytes,
        prefixes=dict(spec.traffic.prefixes), end_ns=end_ns, observations=observations,
        flow_secret=flow_secret, codes=tuple(dict.fromkeys(codes.values())),
    )  # fmt: skip
    configs = {device: dataclasses.replace(empty, device=device) for device in topology.devices}
    for each in tasks:
        name = each.task.name
        for device, selector in selectors(each, MODES[mode], codes.get(name), tables.get(name, 0)).items():
            told = configs[device]
            configs[device] = dataclasses.replace(told, selectors=(*told.selectors, selector))
        for device, monitor in monitors(each, codes.get(name)).items():
            told = configs[device]
            configs[device] = dataclasses.replace(told, monitors=(*told.monitors, monitor))
    return configs


def _described(topology: Topology) -> dict[str, Any]:
    return {
        "name": topology.name,
        "hosts": list(topology.hosts),
        "switches": list(topology.switches),
        "links": [dataclasses.asdict(link) for link in topology.links],
        "interfaces": interfaces(topology),
    }


def main(arguments: Sequence[str]) -> int:
    """Read a request, write its plan; an error goes to standard error, and its exit code is that of MozartError.

    A request without a `flow_secret` is of a new run: it gets one drawn at random, which all its later plans keep.
    """
    if len(arguments) != 2:
        print("usage: python -m mozart.controller.plan REQUEST.json PLAN.json", file=sys.stderr)
        return 2
    try:
        request = json.loads(Path(arguments[0]).read_text())
        plan = plan_from({"flow_secret": secrets.token_hex(SECRET_BYTES), **request})
    except (OSError, ValueError) as error:
        print(f"{arguments[0]}: cannot be read as a request: {error}", file=sys.stderr)
        return 2
    except MozartError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    write_whole(Path(arguments[1]), plan.to_json().encode())
    return 0


if __name__ == "__main__":
    with libraries_apart("python -m mozart.controller.plan"):
        sys.exit(main(sys.argv[1:]))
