"""How much each link carried: from the exact streams."""

from __future__ import annotations

import numpy as np

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
        links = self.routes.topology.links
        loads = np.zeros(len(links))
        if duration_s > 0:
            for route in np.flatnonzero(self.bytes).tolist():
                loads[self.routes.links_of(route)] += self.bytes[route] * 8 / 1e6 / duration_s
        return {link.name: load for link, load in zip(links, loads.tolist(), strict=True)}
