"""Long silences in a trace: parts that were recorded hours or years apart and are one trace only by mistake.

Nothing is refused for it; but rates, epochs and holds count the time between, so the user is told, with the times.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LONG_S = 3600
"""From so many seconds without a packet on it is said."""
UNITS = ((365.25 * 86400, "years"), (86400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))


class Silences:
    """Sees the times of a trace, batch by batch in order, and keeps its longest silence."""

    def __init__(self) -> None:
        self.count = 0
        """How many were long."""
        self.longest: tuple[int, int] = (0, 0)
        """The times of the packets before and behind the longest one, in ns since 1970."""
        self._last_ns: int | None = None

    def see(self, time_ns: NDArray[np.int64]) -> None:
        """Look at the times of a batch; without a long silence that is one subtraction."""
        if not len(time_ns):
            return
        first_ns, last_ns = int(time_ns[0]), int(time_ns[-1])
        if self._last_ns is not None:
            self._add(self._last_ns, first_ns)
        if last_ns - first_ns > LONG_S * 10**9:
            gaps = np.diff(time_ns.astype(np.uint64))  # modulo 2**64, so years before 1970 do no harm
            for at in np.flatnonzero(gaps > LONG_S * 10**9).tolist():
                self._add(int(time_ns[at]), int(time_ns[at + 1]))
        self._last_ns = last_ns

    def _add(self, begin_ns: int, end_ns: int) -> None:
        if end_ns - begin_ns > LONG_S * 10**9:
            self.count += 1
            self.longest = max(self.longest, (begin_ns, end_ns), key=lambda each: each[1] - each[0])

    def to_dict(self) -> dict[str, Any]:
        """Return what was seen as plain values."""
        return {"count": self.count, "longest_from_ns": self.longest[0], "longest_to_ns": self.longest[1]}


def silence_line(seen: dict[str, Any]) -> str:
    """Say how long a trace (`to_dict` of its silences) has no packet, and when; empty where never for long."""
    if not seen["count"]:
        return ""
    begin_ns, end_ns = seen["longest_from_ns"], seen["longest_to_ns"]
    more = f", and {seen['count'] - 1} more such silences" if seen["count"] > 1 else ""
    return (
        f"no packet for {duration((end_ns - begin_ns) / 1e9)}, from {utc(begin_ns)} to {utc(end_ns)}{more}: "
        "rates, epochs and holds count that time; are these files of one trace?"
    )


def duration(seconds: float) -> str:
    """Show a duration in the largest unit of which there are two or more."""
    unit, name = next(pair for pair in UNITS if seconds >= 2 * pair[0] or pair[0] == 1)
    return f"{seconds / unit:,.1f} {name}"


def utc(time_ns: int | None) -> str:
    """Show nanoseconds since 1970 as a date in UTC, to the microsecond; a dash where there is none."""
    if time_ns is None:
        return "-"
    from datetime import UTC, datetime, timedelta

    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // 1000)
    return f"{moment:%Y-%m-%d %H:%M:%S.%f} UTC"
