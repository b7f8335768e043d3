"""One device of an agent: its ring, selectors, tagger, monitors and epochs, in rounds.

What has to be quick (`react`), with the packets that are ready:

1. read them from the ring to the columns of a batch that is filled over several rounds;
2. let the selectors look at them at once, and put the tags of what they select. At the end of an epoch, by the packets'
   times or by the clock, go on in the next; the one that is over is only set aside.

What can wait (`tend`), because a packet's time is in the packet:

3. let the monitors have the packets, every 200 ms or when the batch is full;
4. report an epoch that is over: its packets to the monitors first, then their records.

The times of the ring are those of the wall clock, so epochs are the same on all devices.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bus.config import DeviceConfig
from ..bus.reports import VERSION as REPORT_VERSION
from ..errors import MozartError
from ..traces.header_kernels import SKIP_REASONS
from ..traces.keys import FlowHash
from ..traces.packets import PacketBatch
from . import counters
from .epochs import NEVER_NS, Epochs
from .host_tagger import HostTagger
from .link import Link, Refused, Told
from .modules import LAST_BIT, Modules
from .observed import Observed
from .pairs import Pairs
from .places import Place
from .reports import monitor_columns, selector_columns
from .ring import Ring
from .selecting import Notice, Selecting
from .switch_tagger import SwitchTagger
from .tagger import Outcome, Tagger

BATCH_PACKETS = 1 << 14
MEASURE_NS = 200_000_000
GRACE_NS = 20_000_000
"""After the end of an epoch: what was in the ring has been read by then."""
STATS_NS = 1_000_000_000
REOPEN_NS = 200_000_000
UNREAD_NS = 5_000_000
"""Packets that are older have been read from the ring, unless it is behind."""
SETTLE_NS = 50_000_000
MOST_BATCHES = 8
"""Batches a round, so that one busy device does not keep the others waiting."""
POLL_NS = 50_000_000
"""How often a tagger is asked that has nothing open: the other side may have gone."""
NO_ITEMS = np.empty(0, np.uint64)

log = logging.getLogger("mozart.agent")


def tagger_of(place: Place) -> Tagger:
    """Return the tagger of a device: flow entries at a switch, nftables at a host."""
    if place.kind == "switch":
        assert place.management is not None
        return SwitchTagger(place.management)
    return HostTagger(place.device, place.interface, place.netns_pid, place.netns_start)


@dataclass(slots=True)
class Over:
    """An epoch that is over, and not reported yet."""

    header: dict[str, Any]
    """What its report says of it, as far as that is known."""
    cut: int
    """Rows of the batch before this one belong to it."""
    end_ns: int
    wait_ns: int
    """Until then, tags that the device has not confirmed are waited for."""


class Device:
    """One device at work. Not thread-safe: one thread does the rounds."""

    def __init__(self, place: Place, link: Link) -> None:
        """Open ring and tagger; raises LiveError where the interface is missing or the user may not."""
        self.place, self.link = place, link
        self.ring = Ring(
            place.interface, place.netns_pid, blocks=place.blocks, block_bytes=place.block_bytes,
            timeout_ms=place.timeout_ms, incoming_only=place.kind == "switch",
            netns_start=place.netns_start,
        )  # fmt: skip
        self.tagger = tagger_of(place)
        self.config: DeviceConfig | None = None
        self.modules = Modules()
        self._flow_hash = FlowHash.at_random()
        self._link_losses = dict(link.losses())
        self._said_faults: list[str] = []
        self._faults: dict[tuple[str, str], str] = {}
        """What is out of service until the next epoch, by ('selector' or 'monitor', task), and why."""
        self.counters = counters.zero()
        self.cpu_ns = 0
        self._sequence, self._reported_ns = link.last_report()
        self._gaps: list[list[int]] = []
        self._taken: list[list[int]] = []
        """Revisions taken since the last report: [revision, time from which packets were treated as it says]."""
        self._observed: Observed | None = None
        self._epochs = Epochs(NEVER_NS, 1)
        self._epoch = 0
        self._done = True
        """Nothing is measured: there is no configuration, or the run is over."""
        self._over: Over | None = None
        self._batch = PacketBatch.empty(BATCH_PACKETS)
        self._columns = self._batch.columns()
        self._outgoing = np.empty(BATCH_PACKETS, np.uint8)
        self._pair = np.empty(BATCH_PACKETS, np.int32)
        self._keys: dict[str, NDArray[np.uint64]] = {}
        self._filled = self._looked = self._measured = 0
        """Rows of the batch that are filled, that selectors have seen, that monitors have had."""
        self._serial = self._seen_ns = 0
        self._skipped = self.ring.skipped.copy()
        self._measure_at_ns = self._stats_at_ns = self._check_at_ns = self._due_ns = self._poll_at_ns = 0
        self._malformed = self._tagger_faults = self._cpu_reported_ns = self._cpu_said_ns = self._lost_ns = 0
        self._totals = counters.zero()

    # configuration

    def configure(self, config: DeviceConfig, now_ns: int) -> None:
        """Do from now on what a configuration says; modules that it does not change keep their state.

        All that can fail comes first: raises BusError or LiveError for what cannot be done, and all is as before.
        """
        pairs = Pairs(config)
        flow_hash = FlowHash(bytes.fromhex(config.flow_secret))
        modules = self.modules.following(config, self.config, pairs, flow_hash)
        keys = {kind: np.empty(BATCH_PACKETS, np.uint64) for kind in modules.key_kinds()}
        observed = self._observe(config)
        try:
            self._prepare_tags(config)
        except MozartError:
            if observed is not None and observed is not self._observed:
                observed.close()
            raise
        self._finish_before(config, modules, now_ns)
        for task, selecting in self.modules.selectors.items():
            if modules.selectors.get(task) is not selecting:
                self.tagger.remove(selecting.stop())
        modules.route(config, pairs)
        if self._observed is not None and observed is not self._observed:
            self._observed.close()
        self.modules, self._pairs, self._observed, self._keys = modules, pairs, observed, keys
        self._flow_hash = flow_hash
        self._concerns = modules.concerns(pairs)
        self._faults.clear()
        self._start(config, now_ns)
        self._due_ns = 0
        self._say_status("running")

    def _observe(self, config: DeviceConfig) -> Observed | None:
        if self.config is not None and self.config.observations == config.observations:
            return self._observed
        return None if config.observations is None else Observed(config.observations, self.place.device)

    def _prepare_tags(self, config: DeviceConfig) -> None:
        """Have the tagger take the tasks; where the interface is away it gets them when that is back."""
        try:
            self.tagger.configure(config.selectors, config.codes)
        except MozartError as error:
            self._check_ring(time.time_ns())
            if not self.ring.lost:
                raise
            log.warning("%s: cannot tag before %s is back: %s", self.place.device, self.place.interface, error)

    def _finish_before(self, config: DeviceConfig, modules: Modules, now_ns: int) -> None:
        """Give the packets so far to the modules as they were, and report what would be lost with the change."""
        self._report_over()
        if self.config is None or self._done:
            return
        self._measure(self._looked, now_ns)
        after = Epochs.of(config)
        if (self._epochs.start_ns, self._epochs.length_ns) != (after.start_ns, after.length_ns):
            self._report(now_ns, final=False)
            return
        monitors = {task: m for task, m in self.modules.monitors.items() if modules.monitors.get(task) is not m}
        selectors = {task: s for task, s in self.modules.selectors.items() if modules.selectors.get(task) is not s}
        if monitors or selectors:
            self._report_going(Modules(selectors, monitors), now_ns)

    def _start(self, config: DeviceConfig, now_ns: int) -> None:
        """Find the epoch that it is; what was not seen of it, and of those since the last report, is a gap.

        Where the end of the run has passed by the time that we hear of it, the last report is still to be made.
        """
        first, idle = self.config is None, self._done
        self.config, self._epochs = config, Epochs.of(config)
        self._epoch = self._epochs.number(min(now_ns, self._epochs.end_ns - 1))
        self._done = now_ns >= self._epochs.end_ns and (first or idle)
        unread_ns = self._seen_ns + 1 if self.ring.ready else max(self._seen_ns + 1, now_ns - UNREAD_NS)
        self._taken.append([config.revision, now_ns if first else unread_ns])
        if first:
            missed_from = max(self._epochs.start_ns, self._reported_ns)
            if missed_from < now_ns:
                self._gaps.append([missed_from, now_ns])

    # rounds

    def work(self, now_ns: int) -> None:
        """Do a round, and all that is due."""
        self.react(now_ns)
        self.tend(now_ns)

    def react(self, now_ns: int) -> int:
        """Do what has to be quick (steps 1 and 2); return the number of packets that there were."""
        begun = time.thread_time_ns()
        self._hear(now_ns)
        packets = 0
        for _ in range(MOST_BATCHES):
            if not (read := self._read()):
                break
            packets += read
            self._look(now_ns)
        self._tag(now_ns)
        self.cpu_ns += time.thread_time_ns() - begun
        return packets

    def tend(self, now_ns: int) -> bool:
        """Do what can wait (steps 3 and 4), as far as it is due; return whether there was something."""
        if not self._done and now_ns >= self._epochs.over_ns(self._epoch) + GRACE_NS and not self.ring.ready:
            self._end_epoch()
        measure = self._over is None and now_ns >= self._measure_at_ns and self._filled > self._measured
        over = self._over is not None and (now_ns >= self._over.wait_ns or not self.tagger.waits())
        if not (measure or over or now_ns >= self._check_at_ns):
            return False
        begun = time.thread_time_ns()
        if over:
            self._report_over()
        elif measure:
            self._measure(self._looked, now_ns - UNREAD_NS)
        if now_ns >= self._check_at_ns:
            self._check(now_ns)
        self.cpu_ns += time.thread_time_ns() - begun
        return True

    def _hear(self, now_ns: int) -> None:
        for each in self.link.heard():
            if isinstance(each, Told):
                self._told(each)
                continue
            if isinstance(each, Refused):
                self._refuse(each.revision, each.why)
                continue
            try:
                if self.config is None or each.revision >= self.config.revision:
                    self.configure(each, now_ns)
            except (MozartError, MemoryError) as error:
                self._refuse(each.revision, str(error) or "there is not enough memory for it")

    def _refuse(self, revision: int | None, why: str) -> None:
        """Count and tell that a configuration is refused; all is as it was."""
        log.error("%s: configuration %s refused: %s", self.place.device, revision, why)
        self.counters["messages_malformed"] += 1
        self._say_status("running", refused=why, refused_revision=revision)

    def _told(self, told: Told) -> None:
        """Pass a message to the monitor of its task."""
        self.counters["messages_received"] += 1
        monitor = self.modules.monitors.get(told.task)
        if told.arrived_ns - told.time_ns > self._epochs.length_ns:
            self.counters["messages_late"] += 1
        elif monitor is None:
            self.counters["messages_malformed"] += 1
        else:
            try:
                monitor.tell(told.key, told.kind, told.span, told.arrived_ns)
            except Exception as error:
                self._fail("monitor", told.task, error)

    def _read(self) -> int:
        """Fill rows of the batch from the ring; return how many."""
        if not self.ring.ready:
            return 0
        if self._filled == BATCH_PACKETS:
            self._measure(self._looked, 0)
        before = self._filled
        self._filled = self.ring.read(self._columns, self._outgoing, before)
        return self._filled - before

    def _look(self, now_ns: int) -> None:
        """Let the selectors look at the rows that they have not seen, epoch by epoch."""
        if self._looked < self._filled:
            self._seen_ns = int(self._batch.time_ns[self._filled - 1])
        while self._looked < self._filled:
            begin, end = self._looked, self._filled
            times = self._batch.time_ns[begin:end]
            if self._done or times[0] < self._epochs.start_ns:
                last = end if self._done else begin + int(np.searchsorted(times, self._epochs.start_ns))
                self._leave_out(last)
                continue
            over_ns = self._epochs.over_ns(self._epoch)
            if times[-1] >= over_ns:
                end = begin + int(np.searchsorted(times, over_ns))
            if end > begin:
                self._detect(begin, end, now_ns)
            self._looked = end
            if end < self._filled:
                self._end_epoch()

    def _leave_out(self, end: int) -> None:
        """Take rows that are before the first epoch, or after the last."""
        self._report_over()
        self._looked = self._measured = end
        self._empty_batch()

    def _detect(self, begin: int, end: int, now_ns: int) -> None:
        packets, pair = self._rows(begin, end), self._pair[begin:end]
        self.counters["packets"] += end - begin
        if not self._keys:
            return
        self._pairs.write(packets, pair)
        for kind, column in self._keys.items():
            column[begin:end] = self._flow_hash.keys(packets, kind)
        concerned = self._pairs.concerned(pair, self._concerns)
        for i, (task, selecting) in enumerate(list(self.modules.selectors.items())):
            if not concerned >> min(i, LAST_BIT) & 1:
                continue
            late = selecting.late
            try:
                found = selecting.take(packets, self._keys[selecting.config.key][begin:end], pair, now_ns)
            except Exception as error:
                self._fail("selector", task, error)
                continue
            self.counters["selected"] += found
            self.counters["late_selections"] += selecting.late - late
            if found:
                self._due_ns = 0

    def _rows(self, begin: int, end: int) -> PacketBatch:
        return PacketBatch(*[column[begin:end] for column in self._columns])

    def _tag(self, now_ns: int) -> None:
        """Put, move and end tags, and send messages, as far as they are due; the tags of all tasks first, together."""
        if now_ns >= self._due_ns:
            due = []
            for task, selecting in list(self.modules.selectors.items()):
                try:
                    due.append(selecting.due(now_ns))
                except Exception as error:
                    self._fail("selector", task, error)
            self.tagger.put([put for puts, _, _ in due for put in puts], now_ns)
            self.tagger.remove([tag for _, _, ends in due for tag in ends])
            for notice in (notice for _, notices, _ in due for notice in notices):
                self._notify(notice, now_ns)
            self._due_ns = min((s.next_due_ns for s in self.modules.selectors.values()), default=NEVER_NS)
        if now_ns >= self._poll_at_ns or self.tagger.waits():
            self._poll_at_ns = now_ns + POLL_NS
            self._learn(self.tagger.poll(now_ns))

    def _notify(self, notice: Notice, now_ns: int) -> None:
        self.counters["messages_sent"] += 1
        if notice.to == self.place.device:
            self._told(Told(notice.task, notice.key, notice.time_ns, notice.kind, notice.span, now_ns))
        else:
            self.link.notify(notice)

    def _learn(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.installed_ns is None:
                log.warning("%s: tag of %s refused: %s", self.place.device, outcome.tag.task, outcome.why)
                self.counters["refused_selections"] += 1
            else:
                self.counters["tags_installed"] += 1
            if (selecting := self.modules.selectors.get(outcome.tag.task)) is not None:
                selecting.learn(outcome)

    def _measure(self, end: int, until_ns: int) -> None:
        """Let the monitors have the rows up to `end`, and the messages before the last row or before `until_ns`.

        An epoch that is over is reported before they have any row of the next.
        """
        if self._over is not None and end > self._over.cut:
            self._report_over()
        begin = self._measured
        packets, pair = self._rows(begin, end), self._pair[begin:end]
        if end > begin:
            until_ns = max(until_ns, int(packets.time_ns[-1]) + 1)
        keys_of = self._flow_hash.keys
        for task, monitor in list(self.modules.monitors.items()):
            kind = monitor.config.key
            key = self._keys[kind][begin:end]
            try:
                reverse_key = keys_of(packets, kind, reverse=True) if monitor.wants_reverse_keys else key
                item = keys_of(packets, monitor.counts) if monitor.counts else NO_ITEMS
                monitor.take(packets, pair, key, reverse_key, item, self._serial, until_ns)
            except Exception as error:
                self._fail("monitor", task, error)
        if self._observed is not None and end > begin:
            self._observed.add(packets, self._outgoing[begin:end])
        self._serial += end - begin
        self._measured = end
        self._measure_at_ns = time.time_ns() + MEASURE_NS
        self._empty_batch()

    def _empty_batch(self) -> None:
        if self._measured == self._filled:
            self._filled = self._looked = self._measured = 0
            if self._over is not None:
                self._over.cut = 0  # they have had them all

    # epochs

    def _end_epoch(self) -> None:
        """Set the epoch aside, and start the next: the one of the rows that come, or of the clock."""
        over_ns = self._epochs.over_ns(self._epoch)
        final = over_ns >= self._epochs.end_ns
        self._set_aside(over_ns, final)
        self._epoch += 1
        self._done = final
        if not final:
            for task, selecting in list(self.modules.selectors.items()):
                try:
                    selecting.begin_epoch(over_ns)
                except Exception as error:
                    self._fail("selector", task, error)
            self._due_ns = 0

    def _set_aside(self, end_ns: int, final: bool) -> None:
        """Take down what was counted, and start counting anew; records and selections are taken when it is reported."""
        self._report_over()
        self._count_losses()
        if self.ring.lost:
            self._gaps.append([self._lost_ns, end_ns])
            self._lost_ns = end_ns
        header = self._header(end_ns, final)
        self._over = Over(header, self._looked, end_ns, time.time_ns() + SETTLE_NS)
        self._gaps, self._taken, self.counters, self._cpu_reported_ns = [], [], counters.zero(), self.cpu_ns
        self._reported_ns = end_ns

    def _report_over(self, all_made: bool = False) -> None:
        """Send the records, selections and counters of an epoch that was set aside, where there is one.

        Selections of the next epoch wait for its report, unless `all_made` says that this one is the last.
        """
        over = self._over
        if over is None:
            return
        self._over = None
        self._measure(over.cut, over.end_ns)
        counted = over.header["counters"]
        counted["dscp_cleaned"] += self.tagger.cleaned()
        before = self.counters["module_faults"]
        tasks, columns = self._records(self.modules, NEVER_NS if all_made else over.end_ns)
        counted["module_faults"] += self.counters["module_faults"] - before  # what failed just now belongs to it
        self.counters["module_faults"] = before
        over.header["faults"] = self._fault_texts()
        self._send_report(over.header, tasks, columns)
        for name, value in counted.items():
            self._totals[name] += value
        self._begin_again()

    def _report(self, end_ns: int, final: bool) -> None:
        """Report what there is, at once."""
        self._learn(self.tagger.settle(SETTLE_NS / 1e9))
        self._set_aside(end_ns, final)
        self._report_over(all_made=True)

    def _report_going(self, going: Modules, now_ns: int) -> None:
        """Send the records and selections of modules that end within the epoch, in a report of their own."""
        nothing = {"counters": counters.zero(), "gaps": [], "taken": [], "faults": [], "cpu_s": 0.0}
        self._send_report(self._header(now_ns, final=False) | nothing, *self._records(going, NEVER_NS))

    def _records(self, modules: Modules, made_before_ns: int) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
        """Return what modules have to report, and start their tables anew: parts of the header, and columns."""
        tasks: dict[str, dict[str, Any]] = {}
        columns: dict[str, NDArray[Any]] = {}
        for task, monitor in list(modules.monitors.items()):
            try:
                summary, found = monitor.summary(), monitor_columns(task, monitor.records())
                monitor.start_epoch()
            except Exception as error:
                self._fail("monitor", task, error)
                continue
            tasks[task] = {"monitor": summary}
            columns.update(found)
        for task, selecting in list(modules.selectors.items()):
            try:
                said, selections = selecting.report(made_before_ns)
            except Exception as error:
                self._fail("selector", task, error)
                continue
            tasks.setdefault(task, {})["selector"] = said
            columns.update(selector_columns(task, selections))
        return tasks, columns

    # modules that fail

    def _fail(self, kind: str, task: str, error: Exception) -> None:
        """Take a module out of service in which something failed, until the next epoch; the others go on."""
        log.error("%s: the %s of %s failed", self.place.device, kind, task, exc_info=error)
        self.counters["module_faults"] += 1
        self._faults[kind, task] = f"{type(error).__name__}: {error}"
        modules = self.modules.selectors if kind == "selector" else self.modules.monitors
        module = modules.pop(task, None)
        if isinstance(module, Selecting):
            self.tagger.remove(module.stop())
        self._concerns = self.modules.concerns(self._pairs)
        self._say_status("running")

    def _begin_again(self) -> None:
        """Make the modules that are out of service anew, with empty state, at the start of an epoch."""
        if not self._faults or self.config is None:
            return
        self._faults.clear()
        try:
            self.modules = self.modules.following(self.config, self.config, self._pairs, self._flow_hash)
        except Exception as error:
            log.error("%s: cannot make its modules anew", self.place.device, exc_info=error)
        self._concerns = self.modules.concerns(self._pairs)
        self._due_ns = 0
        self._say_status("running")

    def _header(self, end_ns: int, final: bool) -> dict[str, Any]:
        """Return what a report says of the epoch so far."""
        assert self.config is not None
        start_ns = max(self._epochs.begin_ns(self._epoch), self._reported_ns)
        return {
            "version": REPORT_VERSION, "device": self.place.device, "revision": self.config.revision,
            "epoch": self._epoch, "start_ns": min(start_ns, end_ns), "end_ns": end_ns, "final": final,
            "gaps": self._gaps, "taken": self._taken, "counters": self.counters, "faults": self._fault_texts(),
            "cpu_s": (self.cpu_ns - self._cpu_reported_ns) / 1e9,
        }  # fmt: skip

    def _send_report(
        self, header: dict[str, Any], tasks: dict[str, dict[str, Any]], columns: dict[str, NDArray[Any]]
    ) -> None:
        self._sequence += 1
        more = {"sequence": self._sequence, "memory_bytes": self.memory_bytes, "tasks": tasks}
        self.link.report(header | more, columns)

    @property
    def memory_bytes(self) -> int:
        """Memory of the ring, the batch and the modules."""
        batch = sum(int(c.nbytes) for c in (*self._columns, self._pair, self._outgoing, *self._keys.values()))
        return self.ring.memory_bytes + batch + self.modules.memory_bytes

    def _count_losses(self) -> None:
        found = self.ring.losses()
        self.counters["kernel_drops"] += found.kernel_drops
        self.counters["ring_losses"] += found.ring_losses
        for name, count in zip(SKIP_REASONS, self.ring.skipped - self._skipped, strict=True):
            if name in self.counters:
                self.counters[name] += int(count)
        self._skipped = self.ring.skipped.copy()
        malformed = self.link.malformed()
        self.counters["messages_malformed"] += malformed - self._malformed
        self._malformed = malformed
        self.counters["tagger_faults"] += self.tagger.faults - self._tagger_faults
        self._tagger_faults = self.tagger.faults
        for name, total in self.link.losses().items():
            self.counters[name] += total - self._link_losses.get(name, 0)
            self._link_losses[name] = total
        if self._observed is not None:
            self.counters["observations_lost"] += self._observed.lost
            self._observed.lost = 0

    # now and then

    def _check(self, now_ns: int) -> None:
        """See whether the interface is there, and once a second say how it goes."""
        self._check_at_ns = now_ns + REOPEN_NS
        self._check_ring(now_ns)
        if self.ring.lost and self.ring.reopen():
            self._gaps.append([self._lost_ns, now_ns])
            self._restore_tags(now_ns)
        if now_ns >= self._stats_at_ns:
            self._say_stats(now_ns)

    def _check_ring(self, now_ns: int) -> None:
        if not self.ring.lost:
            self.ring.check()
            if self.ring.lost:
                self._lost_ns = now_ns
                self.counters["interface_losses"] += 1
                log.warning("%s: %s is gone; waiting for it", self.place.device, self.place.interface)

    def _restore_tags(self, now_ns: int) -> None:
        try:
            self.tagger.restore(now_ns)
        except MozartError as error:
            log.error("%s: cannot tag again: %s", self.place.device, error)
            self.counters["refused_selections"] += 1

    def _say_stats(self, now_ns: int) -> None:
        self._count_losses()
        waiting = counters.zero() if self._over is None else self._over.header["counters"]
        values = {name: self._totals[name] + waiting[name] + value for name, value in self.counters.items()}
        values["tagged"] = values.pop("tags_installed")
        passed_ns = max(now_ns - self._stats_at_ns + STATS_NS, 1)
        percent = 100 * (self.cpu_ns - self._cpu_said_ns) / passed_ns
        more = {"time_ns": now_ns, "cpu_percent": round(percent, 2), "memory_bytes": self.memory_bytes}
        self.link.stats(values | more)
        if self.config is not None and self._fault_texts() != self._said_faults:
            self._say_status("running")
        self._stats_at_ns, self._cpu_said_ns = now_ns + STATS_NS, self.cpu_ns

    def _say_status(self, state: str, **more: Any) -> None:
        revision = None if self.config is None else self.config.revision
        self._said_faults = self._fault_texts()
        self.link.status({"state": state, "revision": revision, "faults": self._said_faults, **more})

    def _fault_texts(self) -> list[str]:
        """Say what is out of service, or not kept."""
        found = [f"{kind} of {task}: {why}" for (kind, task), why in self._faults.items()]
        found += self.link.faults()
        return found + ([self._observed.fault] if self._observed is not None and self._observed.fault else [])

    def let_go(self) -> None:
        """Let go of ring and tagger, whatever state they are in; tags in force stay. Nothing is reported."""
        closed = [lambda: self.tagger.close(False), self.ring.close]
        for close in closed + ([self._observed.close] if self._observed is not None else []):
            try:
                close()
            except Exception as error:
                log.error("%s: cannot close all of it", self.place.device, exc_info=error)

    def close(self, now_ns: int, remove_tags: bool = False) -> None:
        """Report what there is, let go of ring and tags (`remove_tags`: and end them), and say so."""
        self._read()
        self._look(now_ns)
        self._report_over()
        if not self._done and self.config is not None:
            self._measure(self._looked, now_ns)
            self._report(min(now_ns, self._epochs.end_ns), final=False)
        self.tagger.close(remove_tags)
        self.ring.close()
        if self._observed is not None:
            self._observed.close()
        self._say_status("stopped")
