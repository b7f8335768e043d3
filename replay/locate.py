"""Where packets are lost: the monitors of a path counted the same tagged packets, so a difference is loss.

Of a flow that is recorded at two neighbouring monitors, the packets since its selection are compared: the tag made
both begin with the same packet, so what the second has less was lost between them. Where the tag reaches both and
the second had room for every selected flow, a flow that it has no record of has lost all its tagged packets. A link
is named where any such packet is missing; a flow's loss is put on the links where it misses packets. Links without
a monitor at both ends, such as those to hosts, are not judged.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..monitors.records import Records
from .outcome import ratio
from .routes import Routes
from .truth import Losses, Selected


@dataclass(slots=True)
class LinkLoss:
    """What one setting found of the loss on each link, and what is true."""

    links: int
    passed: NDArray[np.int64] = field(init=False)
    lost: NDArray[np.int64] = field(init=False)
    named: set[tuple[int, int]] = field(default_factory=set)
    true: set[tuple[int, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.passed = np.zeros(self.links, np.int64)
        self.lost = np.zeros(self.links, np.int64)


@dataclass(frozen=True, slots=True)
class Hop:
    """A link between two monitors that follow each other on some paths, in one direction."""

    before: int
    behind: int
    link: int
    on_path: NDArray[np.bool_]
    """By number of a whole path: whether it takes this link in this direction."""
    tagged: NDArray[np.bool_]
    """By number of a whole path: whether the tag of its flows reaches the monitors at both ends."""


def hops_between(
    monitors: Sequence[str],
    routes: Routes,
    reached: Sequence[Collection[int]],
) -> list[Hop]:
    """Return the links whose both ends have a monitor, once for each direction that a path takes.

    `reached` has, for each route, the numbers of the monitors that the tag of its flows reaches.
    """
    number = {device: m for m, device in enumerate(monitors)}
    found: dict[tuple[str, int], Hop] = {}
    for p, route in enumerate(routes.all[: routes.whole]):
        for (a, b), link in zip(itertools.pairwise(route.devices), routes.links_of(p).tolist(), strict=True):
            if a not in number or b not in number:
                continue
            one, two = number[a], number[b]
            hop = found.setdefault((a, link), Hop(one, two, link, *np.zeros((2, routes.whole), np.bool_)))
            hop.on_path[p] = True
            hop.tagged[p] = one in reached[p] and two in reached[p]
    return list(found.values())


def compare(
    found: LinkLoss,
    records: Sequence[Records],
    complete: Sequence[bool],
    selected: Selected,
    hops: Sequence[Hop],
    path_of: NDArray[np.int64],
    reports_all: bool,
) -> None:
    """Compare the records of one epoch, monitor by monitor, along each flow's path (`path_of[flow]`).

    `complete` says of each monitor whether it had room for every selected flow whose tag reached it.
    """
    counts = []
    for report in records:
        flow = selected.find(report.flow)
        known = flow >= 0
        since = report.packets if reports_all else report.packets - report.pre_packets
        counts.append((flow[known], since[known]))
    for hop in hops:
        (flow, before), (there, counted) = counts[hop.before], counts[hop.behind]
        _, first, second = np.intersect1d(flow, there, assume_unique=True, return_indices=True)
        path = path_of[flow]
        comparable = hop.tagged[path] & complete[hop.behind]
        comparable[first] = True
        behind = np.zeros_like(before)
        behind[first] = counted[second]
        mine = hop.on_path[path] & comparable
        missing = np.maximum(before - behind, 0) * mine
        found.passed[hop.link] += int((before * mine).sum())
        found.lost[hop.link] += int(missing.sum())
        found.named.update((int(f), hop.link) for f in flow[missing > 0])


def learn_truth(found: LinkLoss, losses: Losses) -> None:
    """Take what links truly dropped of the selected flows."""
    some = losses.packets > 0
    found.true.update(zip(losses.flow[some].tolist(), losses.link[some].tolist(), strict=True))


def located(found: LinkLoss, names: Sequence[str], chances: Sequence[float], hops: Sequence[Hop]) -> dict[str, Any]:
    """Return what was found, link by link, with precision and recall for links and for (flow, link) pairs.

    Recall is over the links that `hops` judge.
    """
    judged = {hop.link for hop in hops}
    truly = {link for link, chance in enumerate(chances) if chance > 0}
    named = {int(link) for link in np.flatnonzero(found.lost)}
    true_flows = {(flow, link) for flow, link in found.true if link in judged}
    return {
        "links": [
            {
                "link": names[link],
                "judged": link in judged,
                "lost_packets": int(found.lost[link]),
                "estimated_loss": ratio(int(found.lost[link]), int(found.passed[link])),
                "true_loss": chances[link],
                "flows": sum(1 for _, at in found.named if at == link),
            }
            for link in sorted(named | truly)
        ],
        "precision": ratio(len(named & truly), len(named)),
        "recall": ratio(len(named & truly), len(truly & judged)),
        "flow_precision": ratio(len(found.named & true_flows), len(found.named)),
        "flow_recall": ratio(len(found.named & true_flows), len(true_flows)),
    }
