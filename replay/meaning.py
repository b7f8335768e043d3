"""What the values of a task file mean together: are the links, hosts, devices and roles that it names in its network.

Plain wrong values are refused where a task file is read (`tasks.py`). What is left, one value that does not go with
another or with the topology, is found here, for `mozart check` and for all that runs a task file, and is told in the
same form: all at once, each with file, line and path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..documents import Problems
from ..errors import TopologyError
from ..placement.spec_problem import wrong_places
from ..tasks import Spec, Task
from ..topologies.catalogue import load as load_topology
from ..topologies.topology import Topology, first_of
from .channels import Channels
from .tags import CODES, allot

SOME_LINKS = 30
"""How many links a message lists."""

Found = Iterator[tuple[str, str]]
"""Problems: the path of a value in the task file, and what is wrong with it."""


def network_of(spec: Spec) -> Topology:
    """Return the topology of a spec, having held against it all that the spec says of links, hosts and devices.

    Raises SpecError with everything that does not go together, the topology itself included.
    """
    found = list(_wrong_keys(spec))
    try:
        topology = load_topology(spec.topology.name, **spec.topology.options)
    except TopologyError as error:
        # of a file what its name leads to is wrong, of others what the parameters make together
        found.append(("topology.name" if Path(spec.topology.name).suffix else "topology", str(error)))
    else:
        found += [*_wrong_hosts(spec, topology), *_wrong_links(spec, topology)]
        found += [(f"tasks[{number}].{role}.at", what) for number, role, what in wrong_places(spec, topology)]
    _refuse(spec, found)
    return topology


def codes_of(spec: Spec, channels: Sequence[Channels]) -> dict[str, int]:
    """Return the tag code of every task that runs and tags; `channels` are those of the tasks that run.

    Raises SpecError with all tasks that are left without a code.
    """
    codes = allot(channels)
    why = (
        f"there are {CODES} tag codes and more tasks than that meet on a link; remove tasks, or place them where "
        "their packets do not meet"
    )
    _refuse(
        spec,
        (
            (f"tasks[{number}]", f"no tag code is left for {task.name}: {why}")
            for number, task in enumerate(spec.tasks)
            if codes.get(task.name, 0) > CODES
        ),
    )
    return codes


def wrong_key(task: Task) -> str | None:
    """Say what is wrong with the key of a task's monitor, None where nothing is."""
    if task.monitor.key in (None, task.selector.key):
        return None
    return (
        f"must be {task.selector.key} as selector.key is, not {task.monitor.key}; "
        "a monitor looks for the flows that its selector selects"
    )


def _wrong_keys(spec: Spec) -> Found:
    for number, task in enumerate(spec.tasks):
        wrong = wrong_key(task)
        if wrong:
            yield f"tasks[{number}].monitor.key", wrong


def _wrong_hosts(spec: Spec, topology: Topology) -> Found:
    known = set(topology.hosts)
    for host in spec.traffic.prefixes:
        if host not in known:
            yield f"traffic.prefixes.{host}", f"{topology.name} has no such host; it has {first_of(topology.hosts)}"


def _wrong_links(spec: Spec, topology: Topology) -> Found:
    names = [link.name for link in topology.links if link.a[0] == link.b[0]]  # between switches
    for name in spec.loss:
        if name not in topology.link_by_name:
            a, _, b = name.partition("-")
            # a spec has its links in order; the file may have the ends the other way round
            written = f"loss.{b}-{a}" if f"loss.{b}-{a}" in spec.places.lines else f"loss.{name}"
            yield written, f"{topology.name} has no such link; it has {first_of(names, SOME_LINKS)}"


def _refuse(spec: Spec, found: Iterable[tuple[str, str]]) -> None:
    """Raise SpecError where something was found, in the order of the file's lines."""
    problems = Problems(spec.places.source)
    for path, what in found:
        problems.add(spec.places.line(path), path, what)
    problems.finish()
