"""The ways of monitoring that every evaluation shows side by side on the same packets and memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mode:
    """What a monitor does with tags and with the part of its table that selected flows do not need."""

    name: str
    samples: bool
    """Admit untagged packets with the sampling probability (normal mode)."""
    heeds_tags: bool
    """Record every packet of a flow whose tag, reverse tag or explicit message arrives (event mode)."""
    priority: bool
    """Let a selected flow take the slot of a non-selected one."""
    recency: bool
    """Keep the recent past: admit every flow, over the one that sent least and longest ago (table.py)."""
    heeds_hints: bool
    """Mark a recorded flow when a message says it was selected, though it may send nothing more to tag."""
    summary: str

    def probability(self, sampling: float) -> float:
        """Return the probability with which the mode samples, where `sampling` is what the task file says."""
        if not self.samples:
            return 0.0
        return 1.0 if self.recency else sampling

    @property
    def reports_all(self) -> bool:
        """Whether all entries are reported, because the monitor does not know which flows are selected."""
        return not self.heeds_tags

    @property
    def keeps_ghosts(self) -> bool:
        """Whether flows that find no slot are counted in words that the slots of others do not need (table.py)."""
        return self.priority and not self.recency


MODES = {
    mode.name: mode
    for mode in (
        Mode("none", True, False, False, False, False, "sample-and-hold alone, no coordination"),
        Mode("tag", False, True, False, False, False, "only tagged packets are recorded"),
        Mode("two-mode", True, True, False, False, False, "sampling and tags, first come first served"),
        Mode("mozart", True, True, True, False, False, "sampling and tags, selected flows come first"),
        Mode("recent", True, True, True, True, True, "as mozart, and spare slots keep the recent past"),
    )
}
"""Every mode by name, in the order of the evaluation."""
