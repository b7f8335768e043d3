"""Replay: one trace through the placed network, all tasks, modes, memory sizes and delays in one pass."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import SpecError
from ..fields import fields_of
from ..kernels import compile_time
from ..monitors.measures import MEASURES
from ..monitors.modes import MODES
from ..placement.algorithms import DEFAULT
from ..selectors.selection import MAX_DELAYS
from ..tasks import MonitorSpec, Sampling, SelectorSpec, Spec, Task
from ..topologies.topology import Topology
from ..traces.ahead import ahead
from ..traces.formats import open_trace
from ..traces.keys import FlowHash, seeded_secret
from ..traces.packets import PacketBatch
from ..traces.reader import TraceReader
from ..traces.sites import HashSites, PrefixSites
from ..traces.synth import Synthesizer, SynthOptions
from .arguments import losses, one, several
from .channels import Channels
from .feed import BATCH_PACKETS, BUFFERS, EpochEnd, Feed, needs_of
from .flow_count import FlowCount
from .flows import FlowSink, sink_of
from .link_loads import LinkLoads
from .meaning import codes_of, network_of
from .outcome import Setting
from .placed import Placed, place_tasks
from .result import Result
from .routes import Routes, link_drops, lossy_links
from .tags import CODES
from .taken import Taken
from .task_replay import TaskReplay
from .vocabulary import load

STOP_S = 0.1
"""How often it is seen whether the trace is to end early."""
Progress = Callable[[int, float], None]
"""Called after each batch with the packets replayed so far and the seconds of trace that they cover."""


def replay(
    spec: Spec | str | Path | Mapping[str, Any],
    *,
    trace: str | Path | Sequence[str | Path] | None = None,
    memory: int | Sequence[int] | None = None,
    mode: str | Sequence[str] | None = None,
    detection_delay_ms: float | Sequence[float] | None = None,
    loss: Mapping[str, float] | None = None,
    probability: float | None = None,
    seed: int | None = None,
    algorithm: str = DEFAULT,
    epoch_start_ns: int | None = None,
    taken: Taken | None = None,
    flow_secret: str | None = None,
    flows: bool | str | Path = True,
    all_records: bool = False,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    look: Callable[[Placed], object] = lambda placed: None,
) -> Result:
    """Replay a trace through the network of a task file and compare modes, memory sizes and detection delays.

    `spec` is a task file, a dict with its keys, or a Spec. The other arguments stand in for what it says: `trace`
    (files) for its traffic, `memory` (entries of each monitor) and `detection_delay_ms` for those of every task,
    `mode` (default: all of `monitors.modes.MODES`), `loss` (link to probability), `probability` of sampling, `seed`.
    `algorithm` (of `placement.algorithms`) places the modules under the task file's `resources`; tasks that do not fit
    are not replayed, and `Result.refused` says why. Epochs count from `epoch_start_ns` (since 1970), or else from the
    first packet. `taken` has the paths of flows that are known. `flow_secret` (hexadecimal) makes flow keys those of a
    live run; else it follows from the seed. `flows` is a Parquet file to which the rows of selected flows go as epochs
    end, True to keep them in memory, or False for none; with `all_records` also the records of flows that nobody
    selected. `stop`, once set, ends the trace early. `look` is called with what was placed before the first packet, and
    may raise. Returns a Result; its `error` says where a damaged trace ended. Raises SpecError, PlacementError and
    TraceError for input that cannot be used at all.
    """
    if all_records and flows is False:
        raise SpecError("all_records needs flows: True, or a file for them")
    memory = several("memory", memory, fields_of(MonitorSpec)["memory_entries"])
    delay = fields_of(SelectorSpec)["detection_delay_ms"]
    detection_delay_ms = several("detection_delay_ms", detection_delay_ms, delay, MAX_DELAYS)
    probability = one("probability", probability, fields_of(Sampling)["probability"])
    seed = one("seed", seed, fields_of(Spec)["seed"])
    spec = spec if isinstance(spec, Spec) else load(spec)
    plan = _effective(spec, trace, losses(loss), probability, seed)
    topology = network_of(spec)  # what stands in for a part of the task file does not make that part right
    modes = _known_modes(tuple(MODES) if mode is None else mode)
    placed = place_tasks(plan, topology, algorithm)
    look(placed)
    routes = Routes(topology, plan.topology.ecmp, lossy_links(topology, plan.loss))
    flow_hash = FlowHash(bytes.fromhex(flow_secret or seeded_secret(plan.seed)))
    tasks = _task_replays(plan, placed, routes, modes, memory, detection_delay_ms, flow_hash, flows is not False)
    source, opened = _open(plan)
    stop = stop or threading.Event()
    with opened, sink_of(flows) as sink, _closed_by(stop, source if isinstance(source, TraceReader) else None):
        feed = Feed(
            source, routes, _sites(plan, topology), link_drops(routes, plan.loss) if plan.loss else None,
            needs_of([_needs(task.channels) for task in tasks]), plan.sampling.epoch_s, plan.traffic.speed,
            plan.seed, flow_hash, stop, epoch_start_ns, taken, all_records,
        )  # fmt: skip
        counted, loads = FlowCount(), LinkLoads(routes)
        begin = time.perf_counter()
        with compile_time() as compiling:
            _run(feed, tasks, counted, loads, sink, progress)
        seconds = time.perf_counter() - begin
    return Result(
        spec=plan.to_dict(),
        trace=_trace_figures(feed, counted, source),
        rows=[row for task in tasks for row in task.rows()],
        located_links=[found for task in tasks for found in task.located_links()],
        placement={task.task.name: _modules(task.channels) for task in tasks},
        algorithm=placed.algorithm,
        placement_status=placed.status,
        refused=placed.refused,
        link_mbps=loads.mbps((feed.last_ns - feed.first_ns) / 1e9),
        one_way_mbps=loads.one_way_mbps((feed.last_ns - feed.first_ns) / 1e9),
        topology=topology,
        seconds=seconds,
        compile_s=compiling(),
        interrupted=feed.stopped,
        error=feed.error,
        selectors={t.task.name: {"selections": len(t.selected_at), "evicted": t.selector.evicted} for t in tasks},
        selected_keys={t.task.name: t.selections.keys().copy() for t in tasks},
        flows=sink.flows,
    )


def _task_replays(
    plan: Spec,
    placed: Placed,
    routes: Routes,
    modes: Sequence[str],
    memory: Sequence[int] | None,
    delays_ms: Sequence[float] | None,
    flow_hash: FlowHash,
    with_flows: bool,
) -> list[TaskReplay]:
    """Return the tasks that were placed, ready to take packets; what is random follows from a task's number."""
    channels = {
        task.name: Channels(task, routes, *placed.at[task.name]) for task in plan.tasks if task.name in placed.at
    }
    if len(channels) > CODES:  # fewer tasks have a code each
        codes_of(plan, list(channels.values()))
    return [
        TaskReplay(
            task, channels[task.name], routes, plan.sampling,
            _settings(task, plan, modes, memory), delays_ms or (task.selector.detection_delay_ms,), plan.loss,
            plan.seed * 1_000_003 + number, flow_hash, with_flows,
        )
        for number, task in enumerate(plan.tasks)
        if task.name in channels
    ]  # fmt: skip


def _run(
    feed: Feed,
    tasks: Sequence[TaskReplay],
    counted: FlowCount,
    loads: LinkLoads,
    sink: FlowSink,
    progress: Progress | None,
) -> None:
    """Take everything that the feed gives: while the tables take one batch, the selectors see the next one."""
    with ThreadPoolExecutor(max(os.cpu_count() or 1, 1)) as pool:
        at_work: list[Future[None]] = []
        for item in ahead(feed):
            for task in tasks:
                task.timed = getattr(feed.batches, "timed", True)
            if isinstance(item, EpochEnd):
                _finish(at_work)
                five_tuples = item.streams["five-tuple"]
                counted.add(five_tuples.key[: len(five_tuples)])
                loads.add(five_tuples)
                jobs = [job for task in tasks for job in task.end_epoch(item)]
            else:
                jobs = [job for task in tasks for job in task.take(item)]
                _finish(at_work)
                _hand_on(tasks, sink)
            at_work = [pool.submit(job) for job in jobs]
            if progress:
                progress(feed.packets, (feed.last_ns - feed.first_ns) / 1e9)
        _finish(at_work)
    for task in tasks:
        task.end_flows()
    _hand_on(tasks, sink)


def _hand_on(tasks: Sequence[TaskReplay], sink: FlowSink) -> None:
    """Give the rows of flows of the epochs that have ended to where they are kept."""
    for task in tasks:
        for table in task.take_flows():
            sink.add(table)


def _finish(at_work: Sequence[Future[None]]) -> None:
    """Wait for jobs, which do not touch each other's tables; raises what one of them raised."""
    for job in at_work:
        job.result()


def _effective(
    spec: Spec,
    trace: str | Path | Sequence[str | Path] | None,
    loss: Mapping[str, float] | None,
    probability: float | None,
    seed: int | None,
) -> Spec:
    """Return the spec with what stands in for parts of it."""
    if trace is not None:
        files = [trace] if isinstance(trace, str | Path) else trace
        if not isinstance(files, Iterable) or not all(isinstance(file, str | Path) for file in files):
            raise SpecError(f"trace must be a file or a list of files, not {trace!r}")
        traffic = replace(spec.traffic, trace=tuple(map(str, files)), synthetic=None, options={})
        spec = replace(spec, traffic=traffic)
    if spec.traffic.trace is None and spec.traffic.synthetic is None:
        raise SpecError(
            "no traffic: name a trace (--trace FILE), or set traffic.trace or traffic.synthetic in the task file"
        )
    if loss is not None:
        spec = replace(spec, loss=dict(loss))
    if probability is not None:
        spec = replace(spec, sampling=replace(spec.sampling, probability=probability))
    if seed is None:
        return spec
    options = {name: value for name, value in spec.traffic.options.items() if name != "seed"}
    return replace(spec, seed=seed, traffic=replace(spec.traffic, options=options))


def _known_modes(modes: str | Sequence[str]) -> tuple[str, ...]:
    modes = (modes,) if isinstance(modes, str) else tuple(str(name).strip() for name in modes)
    if not modes:
        raise SpecError(f"no mode is given; there are {', '.join(MODES)}")
    for name in modes:
        if name not in MODES:
            raise SpecError(f"no mode {name!r}; there are {', '.join(MODES)}")
    return tuple(dict.fromkeys(modes))


def _settings(task: Task, plan: Spec, modes: Sequence[str], memory: Sequence[int] | None) -> list[Setting]:
    """Return the modes and memory sizes of a task's monitors, side by side."""
    return [
        Setting(name, entries, MODES[name].probability(plan.sampling.probability))
        for name in modes
        for entries in (memory or (task.monitor.memory_entries,))
    ]


def _needs(channel: Channels) -> tuple[str, bool, str | None]:
    task = channel.task
    return task.selector.key, "reverse tag" in channel.kinds(), MEASURES[task.monitor.measure].counts


def _open(plan: Spec) -> tuple[Iterable[PacketBatch], AbstractContextManager[Any]]:
    """Return the packets of the plan's traffic, and what closes them."""
    traffic = plan.traffic
    if traffic.trace is not None:
        reader = open_trace(traffic.trace, buffers=BUFFERS, batch_packets=BATCH_PACKETS)
        return reader, reader
    options = {"seed": plan.seed, **traffic.options}
    return Synthesizer(SynthOptions(name=str(traffic.synthetic), **options)), nullcontext()


@contextmanager
def _closed_by(stop: threading.Event, capture: TraceReader | None) -> Iterator[None]:
    """Close a capture as soon as `stop` is set: it may be a pipe that gives nothing, for which the replay waits."""
    over = threading.Event()

    def watch(capture: TraceReader) -> None:
        while not over.wait(STOP_S):
            if stop.is_set():
                capture.close()
                return

    if capture is not None:
        threading.Thread(target=watch, args=(capture,), name="stop", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _sites(plan: Spec, topology: Topology) -> HashSites | PrefixSites:
    if plan.traffic.map == "prefix":
        return PrefixSites(topology.hosts, plan.traffic.prefixes)
    return HashSites(topology.hosts)


def _trace_figures(feed: Feed, flows: FlowCount, source: Iterable[PacketBatch]) -> dict[str, Any]:
    """Return the figures of the trace that was replayed; what was left out stands under `skipped`, by reason."""
    same_site, no_site = (int(n) for n in feed.unrouted)
    return {
        "packets": feed.packets,
        "flows": int(flows),
        "flows_exact": flows.exact,
        "bytes": feed.bytes,
        "duration_s": (feed.last_ns - feed.first_ns) / 1e9,
        "skipped": {**getattr(source, "skipped", {}), "same_site": same_site, "no_site": no_site},
        "reordered": getattr(source, "reordered", 0),
        "silences": feed.silences.to_dict(),
        "untimed": getattr(source, "untimed", 0),
        "dropped_on_links": feed.dropped,
    }


def _modules(channel: Channels) -> dict[str, Any]:
    """Say where a task's modules are and how its selections reach its monitors."""
    task = channel.task
    return {
        "selector": {"event": task.selector.event, "devices": list(channel.selectors)},
        "monitor": {"measure": task.monitor.measure, "devices": list(channel.monitors)},
        "channels": sorted(channel.kinds()),
    }
