"""Whether a run asked for more than the machine could carry: planned held against sent, sent against delivered."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LATE_SHARE, LATE_S = 0.1, 0.5
"""Senders that take so much longer than planned, both together, are overloaded."""
LOST_SHARE = 0.01
"""So large a share lost without a reason, not sent, or not measured, is one that shares of the rows show."""

MARK = "the run was overloaded: this share is made by that, too"


@dataclass(frozen=True, slots=True)
class Load:
    """What was planned, and what came of it; None where it is not known (a run that was stopped early)."""

    planned_packets: int | None
    planned_s: float | None
    real_s: float | None
    """From the first packet sent to the last."""
    sent: int
    delivered: int
    unexplained: int
    """Packets lost although no loss was asked for, while no fault lasted."""
    measured: int
    """Packets that all devices measured."""
    unmeasured: int
    """Packets that they could not take up."""

    @property
    def reasons(self) -> list[str]:
        """Say what shows that the machine was overloaded; empty where nothing does."""
        said = []
        planned, plan_s, real_s = self.planned_packets, self.planned_s, self.real_s
        if plan_s is not None and real_s is not None and real_s > plan_s * (1 + LATE_SHARE) + LATE_S:
            said.append(f"the senders took {real_s:.1f} s for what was planned for {plan_s:.1f} s")
        if planned and planned - self.sent > LOST_SHARE * planned:
            said.append(f"{self.sent:,} of {planned:,} planned packets were sent")
        if self.sent and self.unexplained > LOST_SHARE * self.sent:
            said.append(
                f"{self.delivered:,} of {self.sent:,} packets were delivered, and {self.unexplained:,} were lost "
                "although no loss was asked for and no fault lasted"
            )
        if self.unmeasured > LOST_SHARE * (self.measured + self.unmeasured):
            said.append(f"devices could not take up {self.unmeasured:,} packets beside {self.measured:,} measured")
        return said

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Load:
        """Read what `to_dict` made."""
        return cls(**{field.name: given[field.name] for field in dataclasses.fields(cls)})

    def text(self) -> str:
        """Return the reasons and what to do, as one sentence."""
        return f"overload: {'; '.join(self.reasons)}; play less with --rate, or on more cores" if self.reasons else ""

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON has them."""
        return {"overloaded": bool(self.reasons), **dataclasses.asdict(self), "reasons": self.reasons}
