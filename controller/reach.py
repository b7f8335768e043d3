"""Reach: how a task's selections get to its monitors on a live network, route by route.

The channels of `replay.channels`, with one difference: tags are removed at the last switch, so a monitor on the host at
which a packet arrives never sees one. What a tag or a reverse tag would tell it there, a message tells it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..replay.channels import NOWHERE, Channels
from ..replay.routes import Route, Routes
from ..topologies.lists import Lists


@dataclass(frozen=True, slots=True)
class Reach:
    """What one task does on one whole route; devices by name."""

    route: Route
    selector: str | None
    """The device whose selector watches the route."""
    crossed: tuple[str, ...]
    """Monitors on the route."""
    by_tag: tuple[str, ...]
    """Those that the selector's tag reaches."""
    by_message: tuple[str, ...]
    """Monitors of the route's flows that need a message."""
    reverse_tagger: str | None
    """The device whose selector tags packets of this route for flows of the opposite direction."""
    by_reverse_tag: tuple[str, ...]
    """Monitors of the opposite direction that those tags reach, on this route."""
    span: int
    """How many monitors the route's flows concern."""

    @property
    def pair(self) -> str:
        """The pair of hosts that the route joins: 'h1>h5'."""
        return f"{self.route.devices[0]}>{self.route.devices[-1]}"

    @property
    def tagged_from(self) -> tuple[str, ...]:
        """Devices from which on packets of the route can carry the task's tag."""
        forward = (self.selector,) if self.selector and self.by_tag else ()
        return forward + ((self.reverse_tagger,) if self.reverse_tagger else ())


def reaches(channels: Channels, routes: Routes) -> tuple[Reach, ...]:
    """Return how a task reaches its monitors, for each whole route, in the order of `routes.all`."""
    return tuple(_reach(channels, number, route) for number, route in enumerate(routes.all[: routes.whole]))


def _reach(channels: Channels, number: int, route: Route) -> Reach:
    source, end = route.devices[0], route.devices[-1]
    selector = _device(channels, int(channels.where[number]))
    tagger = _device(channels, int(channels.reverse_where[number]))
    crossed = _named(channels, channels.crossed, number)
    reached = dict(zip(crossed, channels.reached[number].tolist(), strict=True))
    by_tag = tuple(m for m in crossed if reached[m] and m != end)
    told = [m for m in crossed if m == end or (m == source and not reached[m])]
    by_reverse = tuple(m for m in _named(channels, channels.reverse_reached, number) if m != end)
    return Reach(
        route, selector, crossed, by_tag if selector else (),
        (*told, *_named(channels, channels.beside, number)) if selector else (),
        tagger if by_reverse else None, by_reverse, int(channels.span[number]),
    )  # fmt: skip


def _device(channels: Channels, where: int) -> str | None:
    return None if where == NOWHERE else channels.selectors[where]


def _named(channels: Channels, lists: Lists, number: int) -> tuple[str, ...]:
    return tuple(channels.monitors[m] for m in lists[number].tolist())
