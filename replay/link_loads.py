"""How much each link carried: from the exact streams."""

from __future__ import annotations

import numpy as np

from ..topologies.topology import Link
from .routes import Routes
from .streams import Streams


class LinkLoads:
    """Adds up the bytes on every route, and says what that makes on every link."""

    def __init__(self, routes: Routes) -> None:
        self.routes = routes
        self.bytes = np.zeros(len(routes), np.float64)

    def add(self, streams: Streams) -> None:
        """Take the streams of an epoch (of one key kind: each packet counts once)."""
        route = streams.route[: len(streams)]
        self.bytes += np.bincount(route, streams.bytes, minlength=len(self.routes))

    def mbps(self, duration_s: float) -> dict[str, float]:
        """Return the mean load of each link in Mbit/s, both directions together, by the link's name.

        A trace that takes no time has no rate: all loads are 0.
        """
        one_way = self.one_way_mbps(duration_s)
        return {link.name: sum(one_way[name] for name in one_ways(link)) for link in self.routes.topology.links}

    def one_way_mbps(self, duration_s: float) -> dict[str, float]:
        """Return the mean load of each direction of each link in Mbit/s, by its name (`one_ways`)."""
        links = self.routes.topology.links
        names = [one_ways(link) for link in links]
        loads = {name: 0.0 for both in names for name in both}
        for route in np.flatnonzero(self.bytes).tolist() if duration_s > 0 else ():
            mbps = self.bytes[route] * 8 / 1e6 / duration_s
            for device, number in zip(self.routes.route(route).devices, self.routes.links_of(route), strict=False):
                loads[names[number][device != links[number].a]] += mbps
        return loads


def one_ways(link: Link) -> tuple[str, str]:
    """Return the names of a link's two directions: 's3>s6' and 's6>s3', 's3>s6.2' and so on."""
    return link.name.replace("-", ">", 1), link.reversed.name.replace("-", ">", 1)
