"""Every event by the name that the task file uses. A new selector is a class, and a line here."""

from __future__ import annotations

from .elephant import Elephant
from .loss import Loss
from .port_scan import PortScan
from .selector import Selector
from .syn_flood import SynFlood

EVENTS: dict[str, type[Selector]] = {s.event: s for s in (Loss, PortScan, Elephant, SynFlood)}
