"""Tag codes: which value of the packet header says "selected for task k".

Tags are scarce: DSCP has six bits, and 0 means untagged. Tasks whose tagged packets can never meet on a link share a
code: a colouring of the graph that joins two tasks where they can. Greedy, most neighbours first (Welsh and Powell
1967), so the codes are not always the fewest, and never more than the largest number of neighbours plus one.
"""

from __future__ import annotations

from collections.abc import Sequence

from .channels import Channels

CODES = 63


def allot(channels: Sequence[Channels]) -> dict[str, int]:
    """Give every task that tags a code from 1 on. There are no codes above `CODES`: a task that has one cannot tag."""
    links = {c.task.name: c.tagged_links() for c in channels}
    tagging = {name: on for name, on in links.items() if on}
    meets = {a: {b for b in tagging if b != a and tagging[a] & tagging[b]} for a in tagging}
    codes: dict[str, int] = {}
    for name in sorted(tagging, key=lambda n: (-len(meets[n]), n)):
        taken = {codes[other] for other in meets[name] if other in codes}
        codes[name] = next(code for code in range(1, len(tagging) + 2) if code not in taken)
    return codes
