"""Where packets are lost: the monitors of a path counted the same tagged packets, so a difference is loss.

Of a flow that is recorded at two neighbouring monitors, the packets since its selection are compared: the tag made
both begin with the same packet, so what the second has less was lost between them. A link is named where any such
packet is missing; a flow's loss is put on the links where it misses packets.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
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


def hops_between(monitors: Sequence[str], routes: Routes, link_number: Mapping[frozenset[str], int]) -> list[Hop]:
    """Return the links whose both ends have a monitor, once for each direction that a path takes."""
    number = {device: m for m, device in enumerate(monitors)}
    found: dict[tuple[str, str], NDArray[np.bool_]] = {}
    for p, route in enumerate(routes.all[: routes.whole]):
        for a, b in itertools.pairwise(route.devices):
            if a in number and b in number:
                found.setdefault((a, b), np.zeros(routes.whole, np.bool_))[p] = True
    return [Hop(number[a], number[b], link_number[frozenset((a, b))], paths) for (a, b), paths in found.items()]


def compare(
    found: LinkLoss,
    records: Sequence[Records],
    selected: Selected,
    hops: Sequence[Hop],
    path_of: NDArray[np.int64],
    reports_all: bool,
) -> None:
    """Compare the records of one epoch, monitor by monitor, along each flow's path (`path_of[flow]`)."""
    counts = []
    for report in records:
        flow = selected.find(report.flow)
        known = flow >= 0
        since = report.packets if reports_all else report.packets - report.pre_packets
        counts.append((flow[known], since[known]))
    for hop in hops:
        (one, before), (two, behind) = counts[hop.before], counts[hop.behind]
        both, first, second = np.intersect1d(one, two, assume_unique=True, return_indices=True)
        mine = hop.on_path[path_of[both]]
        missing = np.maximum(before[first] - behind[second], 0) * mine
        found.passed[hop.link] += int((before[first] * mine).sum())
        found.lost[hop.link] += int(missing.sum())
        found.named.update((int(f), hop.link) for f in both[missing > 0])


def learn_truth(found: LinkLoss, losses: Losses) -> None:
    """Take what links truly dropped of the selected flows."""
    some = losses.packets > 0
    found.true.update(zip(losses.flow[some].tolist(), losses.link[some].tolist(), strict=True))


def located(found: LinkLoss, names: Sequence[str], chances: Sequence[float]) -> dict[str, Any]:
    """Return what was found, link by link, with precision and recall for links and for (flow, link) pairs."""
    truly = {link for link, chance in enumerate(chances) if chance > 0}
    named = {int(link) for link in np.flatnonzero(found.lost)}
    return {
        "links": [
            {
                "link": names[link],
                "lost_packets": int(found.lost[link]),
                "estimated_loss": ratio(int(found.lost[link]), int(found.passed[link])),
                "true_loss": chances[link],
                "flows": sum(1 for _, at in found.named if at == link),
            }
            for link in sorted(named | truly)
        ],
        "precision": ratio(len(named & truly), len(named)),
        "recall": ratio(len(named & truly), len(truly)),
        "flow_precision": ratio(len(found.named & found.true), len(found.named)),
        "flow_recall": ratio(len(found.named & found.true), len(found.true)),
    }
