"""Tag codes: which value of the packet header says "selected for task k".

Tags are scarce: DSCP has six bits, and 0 means untagged. Tasks whose tagged packets can never meet on a link share a
code: a colouring of the graph that joins two tasks where they can. Greedy, most neighbours first (Welsh and Powell
1967), so the codes are not always the fewest, and never more than the largest number of neighbours plus one.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..topologies.roles import on_path
from .channels import NOWHERE, Channels
from .routes import Routes

CODES = 63


def tagged_links(channels: Channels, routes: Routes) -> frozenset[tuple[str, str]]:
    """Return the links (with direction) on which a task's tagged packets can be: from selector to last monitor."""
    found: set[tuple[str, str]] = set()
    for number, route in enumerate(routes.all[: routes.whole]):
        devices = route.devices
        where, back = channels.where[number], channels.reverse_where[number]
        forward = on_path(route.path, channels.monitor_at) if where != NOWHERE else ()
        reverse = on_path(routes.all[route.reverse].path, channels.monitor_at) if back != NOWHERE else ()
        for w, monitors in ((where, forward), (back, reverse)):
            if w != NOWHERE and monitors:
                begin = devices.index(channels.selectors[w])
                last = max(devices.index(d) for d in monitors)
                found.update(zip(devices[begin:last], devices[begin + 1 : last + 1], strict=True))
    return frozenset(found)


def allot(channels: Sequence[Channels], routes: Routes) -> dict[str, int]:
    """Give every task that tags a code from 1 on. There are no codes above `CODES`: a task that has one cannot tag."""
    links = {c.task.name: tagged_links(c, routes) for c in channels}
    tagging = {name: on for name, on in links.items() if on}
    meets = {a: {b for b in tagging if b != a and tagging[a] & tagging[b]} for a in tagging}
    codes: dict[str, int] = {}
    for name in sorted(tagging, key=lambda n: (-len(meets[n]), n)):
        taken = {codes[other] for other in meets[name] if other in codes}
        codes[name] = next(code for code in range(1, len(tagging) + 2) if code not in taken)
    return codes
