"""The selectors and monitors of a device by task: made from its configuration, and kept where that stays the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..bus.config import DeviceConfig, MonitorConfig, SelectorConfig
from ..errors import BusError, SpecError
from ..traces.keys import FlowHash
from .monitoring import Monitoring
from .pairs import Pairs
from .selecting import Selecting

DETECTION = ("event", "key", "hold_s", "detection_delay_ms", "memory_entries", "parameters")
TABLE = ("measure", "key", "memory_entries", "parameters")
TABLE_OF_DEVICE = ("mode", "probability", "early_removal_bytes", "preserve_bytes")
KEYS_OF_DEVICE = ("flow_secret",)
"""What decides whether the state that was kept under one configuration serves another; the rest may change."""
Made = TypeVar("Made")
LAST_BIT = 63
"""The bit that all further selectors share, where a device has more than there are bits."""


@dataclass(frozen=True, slots=True)
class Modules:
    """All modules of one device."""

    selectors: dict[str, Selecting] = field(default_factory=dict)
    monitors: dict[str, Monitoring] = field(default_factory=dict)

    def following(
        self, config: DeviceConfig, before: DeviceConfig | None, pairs: Pairs, flow_hash: FlowHash
    ) -> Modules:
        """Make the modules of a configuration; those that go on are the ones that are here, and not changed yet.

        Raises BusError for what the configuration names and does not exist.
        """
        selectors, monitors = {}, {}
        same_keys = before is not None and _same(before, config, KEYS_OF_DEVICE)
        for s in config.selectors:
            kept = self.selectors.get(s.task)
            goes_on = kept is not None and same_keys and _same(kept.config, s, DETECTION)
            selectors[s.task] = kept if kept is not None and goes_on else _made(Selecting, s, pairs, flow_hash)
        same_device = same_keys and before is not None and _same(before, config, TABLE_OF_DEVICE)
        for m in config.monitors:
            old = self.monitors.get(m.task)
            goes_on = old is not None and same_device and _same(old.config, m, TABLE)
            monitors[m.task] = old if old is not None and goes_on else _made(Monitoring, m, config, pairs)
        return Modules(selectors, monitors)

    def route(self, config: DeviceConfig, pairs: Pairs) -> None:
        """Give all modules the pairs, codes and devices of their configuration."""
        for s in config.selectors:
            self.selectors[s.task].route(s, pairs)
        for m in config.monitors:
            self.monitors[m.task].route(m, pairs)

    def concerns(self, pairs: Pairs) -> NDArray[np.uint64]:
        """Return a column by pair number: bit i is set where selector i (in their order) watches the pair."""
        column = np.zeros(pairs.none + 1, np.uint64)
        for i, selecting in enumerate(self.selectors.values()):
            column |= selecting.watches.astype(np.uint64) << np.uint64(min(i, LAST_BIT))
        return column

    def key_kinds(self) -> tuple[str, ...]:
        """Return the key kinds that they use."""
        return tuple(dict.fromkeys(m.config.key for m in self._all()))

    @property
    def memory_bytes(self) -> int:
        """Memory of all their state."""
        return sum(m.memory_bytes for m in self._all())

    def _all(self) -> list[Selecting | Monitoring]:
        return [*self.selectors.values(), *self.monitors.values()]


def _same(
    a: SelectorConfig | MonitorConfig | DeviceConfig, b: SelectorConfig | MonitorConfig | DeviceConfig,
    names: tuple[str, ...],
) -> bool:  # fmt: skip
    return all(getattr(a, name) == getattr(b, name) for name in names)


def _made(kind: Callable[..., Made], config: SelectorConfig | MonitorConfig, *more: Any) -> Made:
    """Make a module; raises BusError, naming the task, for whatever its plug-in does not take."""
    try:
        return kind(config, *more)
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, SpecError) as error:
        raise BusError(f"task {config.task}: {error}") from None
