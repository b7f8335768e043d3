"""B4, the wide-area network that the MOZART evaluation ran on: 12 switches, 12 hosts, 19 links.

The graph is the one published with the data of several traffic-engineering systems (Yates, TEAVAR, NCFlow,
Teal). Rates are those of Yates: 1 Gbit/s between switches, 10 Gbit/s to hosts. No source says which site is
which or how long the links are: the sites here are this project's assumption, chosen so that the graph makes
sense on the globe (two in Asia, six in North America, four in Europe; 1-3 and 2-5 cross the Pacific, 7-11 and
8-10 the Atlantic).
"""

from __future__ import annotations

from .geography import fibre_latency_ms
from .topology import Link, Topology, with_hosts

LINKS = "1-2 1-3 2-5 3-4 3-6 4-5 4-7 4-8 5-6 6-7 6-8 7-8 7-11 8-10 9-10 9-11 10-11 10-12 11-12"
SWITCH_LINK_MBPS = 1_000.0

SITES: tuple[tuple[str, float, float], ...] = (
    ("Changhua, Taiwan", 120.5, 24.1),
    ("Singapore", 103.8, 1.3),
    ("Oregon", -121.2, 45.6),
    ("Iowa", -95.9, 41.3),
    ("Los Angeles", -118.2, 34.1),
    ("Oklahoma", -95.3, 36.2),
    ("North Carolina", -81.5, 35.9),
    ("South Carolina", -80.0, 33.1),
    ("Groningen", 6.8, 53.4),
    ("Belgium", 3.9, 50.5),
    ("Dublin", -6.4, 53.3),
    ("Hamina, Finland", 27.2, 60.6),
)
"""Site of s1, s2 ...: name, longitude and latitude in degrees, to a tenth. Assumed, not published."""


def b4() -> Topology:
    """Return B4 with one host a switch; latencies from the assumed sites (`geography.py`)."""
    places = [(longitude, latitude) for _, longitude, latitude in SITES]
    switches = tuple(f"s{i}" for i in range(1, len(SITES) + 1))
    links = []
    for pair in LINKS.split():
        a, b = (int(end) - 1 for end in pair.split("-"))
        links.append(Link(switches[a], switches[b], fibre_latency_ms(places[a], places[b]), SWITCH_LINK_MBPS))
    hosts, host_links = with_hosts(switches)
    return Topology(
        "b4",
        hosts,
        switches,
        (*links, *host_links),
        sites={switch: name for switch, (name, _, _) in zip(switches, SITES, strict=True)},
        positions={
            # Asia is drawn west of America, so that no link of the picture runs across Europe.
            switch: (x - 360.0 if x > 60 else x, y)
            for switch, (x, y) in zip(switches, places, strict=True)
        },
    )
