"""Tag codes of a live network: which bits of the DSCP say "selected for this task".

Two tasks meet where tags of both can stand on the packets of one pair of hosts at one device; they need different
codes. A tag stays on its packet until the last switch, so tasks meet behind their last monitors too. Tasks that do
not meet share a colour (Welsh and Powell 1967, most neighbours first). With at most six colours each is one bit of
the six, so that a packet can be selected for several tasks at once; with more, each is a value of all six bits, and
of two tags the later one stands.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence

from ..bus.config import Code
from ..errors import SpecError
from .reach import Reach

BITS = 6
ALL_BITS = (1 << BITS) - 1

Place = tuple[str, str]
"""A pair ('h1>h5') and a device on its way."""


def tagged_places(reaches: Iterable[Reach]) -> frozenset[Place]:
    """Return where packets can carry a task's tag: from the tagging device on, to the last device of the path."""
    return frozenset(
        (reach.pair, device)
        for reach in reaches
        for begin in reach.tagged_from
        for device in reach.route.devices[reach.route.devices.index(begin) :]
    )


def allot(
    places: Mapping[str, Collection[Place]], keep: Mapping[str, Code] | None = None, reserved: Collection[int] = ()
) -> dict[str, Code]:
    """Give every task that tags a code; `places` says by task where its tags can stand (nowhere: no code).

    `keep` has the codes that are in use: tasks keep them where none of those that meet has the same. `reserved` are
    DSCP values that no packet of ours may carry, whatever it is selected for. Raises SpecError, naming the tasks,
    where the codes do not suffice.
    """
    tagging = {name: set(on) for name, on in places.items() if on}
    meets = {a: {b for b in tagging if b != a and tagging[a] & tagging[b]} for a in tagging}
    kept = {name: code for name, code in (keep or {}).items() if name in tagging}
    for masks in (_bit_codes(meets, reserved, kept), _value_codes(reserved)):
        found = _colour(meets, masks, kept)
        if len(found) == len(tagging):
            return found
    refused = ", ".join(sorted(set(tagging) - set(found)))
    raise SpecError(
        f"there are {len(_value_codes(reserved))} tag codes and more tasks than that meet; without a code: {refused}. "
        "Remove tasks, or place them where their packets do not meet"
    )


def _colour(meets: Mapping[str, set[str]], codes: Sequence[Code], keep: Mapping[str, Code]) -> dict[str, Code]:
    """Colour the tasks with these codes, kept ones first; tasks for which none is left are left out."""
    found: dict[str, Code] = {}
    for name in sorted(meets, key=lambda n: (n not in keep, -len(meets[n]), n)):
        taken = {found[other] for other in meets[name] if other in found}
        free = [code for code in codes if code not in taken]
        if free:
            found[name] = keep[name] if keep.get(name) in free else free[0]
    return found


def _bit_codes(meets: Mapping[str, set[str]], reserved: Collection[int], keep: Mapping[str, Code]) -> list[Code]:
    """Return the most one-bit codes of which no combination is reserved; those in use among them where possible."""
    used = {code.mask for code in keep.values() if code.value == code.mask}
    for size in range(min(BITS, max(len(meets), len(used))), 0, -1):
        choices = [c for c in itertools.combinations([1 << bit for bit in range(BITS)], size) if _safe(c, reserved)]
        if choices:
            chosen = min(choices, key=lambda bits: (len(used - set(bits)), bits))
            return [Code(bit, bit) for bit in chosen]
    return []


def _safe(bits: Sequence[int], reserved: Collection[int]) -> bool:
    return not any(value and value & ~sum(bits) == 0 for value in reserved)


def _value_codes(reserved: Collection[int]) -> list[Code]:
    return [Code(value, ALL_BITS) for value in range(1, ALL_BITS + 1) if value not in reserved]
