"""One live run: broker, controller, network, agents and traffic, started in order, watched, and undone in reverse.

1. Prepare: plan (paths, places, codes), which ends a run without a task that fits; split the traffic by host; find
   free ports; write down what is about to be made, before it is made.
2. Start the broker, then the controller, then the network, and wait until every switch has its rules.
3. Start the agents, tell the controller when the first epoch begins, and wait until all agents have that plan.
4. Play the traffic.
5. Tell the controller when the last epoch ends, and wait for the last report of every agent.
6. Take everything down, and evaluate: what was selected and recorded against what each device really saw.

A part that ends while traffic flows is started again, and the fault is noted: forwarding, tagging and recording go on
without the controller and the broker, and an agent that comes back reports its gap. So are faults of the network, which
the controller tells and watch.py sees. Whatever ends a run early (Ctrl-C, SIGTERM, SIGHUP, something that fails), all
that it had made is undone, and what was measured until then is evaluated. Where the run's own process is killed, its
processes are ended by guard.py.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..bus import topics
from ..bus.access import KEEPALIVE_S, BrokerAccess, write_access
from ..bus.messages import unpack
from ..controller.faults import Fault
from ..controller.planned import Plan, adopt, load_plan
from ..errors import LiveError, MozartError, SpecError
from ..folders import make_folder
from ..replay.report import nothing_runs, refused_lines
from ..signals import Stop, held, name_of, stopped_by_signal
from ..tasks import Spec
from ..topologies.catalogue import load as load_topology
from .broker import Broker
from .emulation import Emulation
from .evaluate import Evaluation, Evaluator
from .guard import Guard
from .incidents import Incidents
from .lost import host_gaps, judged
from .network import START_S, GivenNetwork, MininetNetwork, Network, ovs_runs, start_ovs
from .operator import ANSWER_S, Operator
from .overload import Load
from .ports import free_port
from .processes import Process
from .record import RUNNING, Record
from .report import LiveResult
from .traffic import RATE_PPS, Played, Players, Traffic, left_out, sent_figures, split
from .view import View
from .waiting import until
from .watch import Watch

SETTLE_S = 1.0
"""After the last packet was sent: it is on its way, and so are the messages that it caused."""
PLAYERS_S = 30.0
"""How much longer than the traffic the senders may take at least."""
PLANNING_S = 20.0
"""What the planner's solver may take at least."""
PLANNER_S = 60.0
"""How much longer than its solver's limit the planner may take: it loads code, and finds paths."""
SLOW_S = 5.0
"""After so long the user is told what is waited for."""
PATIENCE_KEEPALIVES = 6
"""The patience of a run over the keep-alive of its bus: a machine that needs more of one needs more of the other."""
MOST_RESTARTS = 5
"""So often parts are started again in one run."""
FULL_S = 5.0
"""So long last reports are waited for where the disk has no room for them."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """How to run; the defaults are those of `mozart live`."""

    duration_s: float | None = None
    speed: float | None = None
    rate_pps: float = RATE_PPS
    mode: str = "recent"
    port: int | None = None
    """Where switches connect; None: a free port."""
    devices: Path | None = None
    """File of devices that are there already, instead of a network made with Mininet."""
    agents: int = 2
    """Processes that share the devices."""
    patience_s: float = 60.0
    """How long a part of the system may take to be there; planning and compiled code need the most."""
    observe: bool = True
    """Keep every packet seen, for exact truth and for the replay beside it."""


@dataclass
class Run:
    """A run under way: its parts, as far as they have been started."""

    spec: Spec
    options: Options
    folder: Path
    say: Say = print
    stop: threading.Event = field(default_factory=threading.Event)
    """Set to end the run early, in order."""

    def __post_init__(self) -> None:
        self.folder = self.folder.resolve()
        self.topology = load_topology(self.spec.topology.name, **self.spec.topology.options)
        self.incidents = Incidents(self.say)
        self.gave_up = False
        """Whether the run could not go on to its end."""
        self.ours = False
        """Whether Open vSwitch was started by this run."""
        self.watch: Watch | None = None
        self._stack = ExitStack()
        """What belongs to the record; the parts of the run are in `_parts`, which are taken down first."""
        self._parts = ExitStack()
        self.agents: list[Process] = []
        self.restarts = 0
        self.record: Any = None
        self._full_s = 0.0
        """Since when the disk has been full at the end, by the monotonic clock; 0: it is not."""
        self._moves = 0
        """Moves of the plan that have been told."""
        self.emulation: Emulation | None = None
        self.played: dict[str, Played] = {}
        self.unemulated: list[str] = []
        self._read: dict[Path, bool] = {}
        """Reports that have been looked at, and whether each is its device's last."""
        self.rules: dict[str, int] = {}
        """Flow entries of ours by switch, when the traffic had ended."""
        self.traffic = Traffic({}, {}, 1.0, 0.0)

    # starting

    def __enter__(self) -> Run:
        try:
            self._prepare()
            self._start_broker()
            self._start_controller()
            self._start_network()
            self._start_agents()
            self.phase(RUNNING)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def take_down(self) -> None:
        """Take down everything that was started, in reverse, and undo what is left of it; no signal interrupts that."""
        self.incidents.publish = None
        with held(self.say) as came:
            for stack in (self._parts, self._stack):
                try:
                    stack.close()
                except (LiveError, OSError) as error:
                    self.note("left-behind", "run", said_of(error))
        if came and isinstance(self.stop, Stop) and not self.stop.is_set():
            self.stop.number = came[0]
            self.stop.set()

    def close(self) -> None:
        """Take down what is still there, and give up the record."""
        self.take_down()
        if self.record is not None:
            self.record.close()

    @property
    def faults(self) -> list[Fault]:
        """What has gone wrong so far."""
        return self.incidents.book.faults

    def _prepare(self) -> None:
        """Step 1."""
        refuse_without_root()
        make_folder(self.folder)
        if (self.folder / "plan.json").exists():
            raise LiveError(f"{self.folder} has a run already; name another folder with --out")
        self.record = Record.open(self.folder)
        self._stack.callback(self.record.undo)
        self._stack.enter_context(Guard(self.record.id, self.folder / "logs" / "guard.log"))
        given = self.options.devices
        self.given = GivenNetwork(self.topology, given, self.record) if given else None
        self._plan()
        self.phase("splitting the traffic by host")
        self.traffic = split(
            self.spec, self.topology, self.folder / "traffic",
            rate_pps=self.options.rate_pps, speed=self.options.speed, duration_s=self.options.duration_s,
        )  # fmt: skip
        self.say(
            f"{self.traffic.total:,} packets from {len(self.traffic.files)} hosts in {self.traffic.duration_s:.1f} s, "
            f"at {self.traffic.speed:.3g} times the speed recorded"
        )
        for line in left_out(self.traffic.to_dict()):
            self.say(line)
        if not ovs_runs():
            self.say("starting Open vSwitch")
            self.record("service", "openvswitch")
            self.ours = True
            start_ovs()

    def phase(self, what: str) -> None:
        """Say in the run's record and on its bus what it is at, for whoever asks meanwhile."""
        self.record.phase(what)
        self.incidents.enter(what)

    def _plan(self) -> None:
        """Plan, in a process of its own, before anything is made on the machine.

        Raises SpecError where there can be no plan, RefusedError where no task can run; says which tasks are refused.
        """
        self.phase("planning")
        far = time.time_ns() + 24 * 3600 * 10**9  # no epoch before all agents are there
        limit_s = max(PLANNING_S, self.options.patience_s)
        asked = {
            "spec": self.spec.to_dict(),
            "revision": 1,
            "mode": self.options.mode,
            "epoch_start_ns": far,
            "time_limit_s": limit_s,
            "observations": str(self.folder / "observations") if self.options.observe else None,
        }
        request, made, log = self.folder / "request.json", self.folder / "planned.json", self.folder / "planner.log"
        request.write_text(json.dumps(asked))
        command = [sys.executable, "-m", "mozart.controller.plan", str(request), str(made)]
        planner = Process("planner", command, log, self.record)
        try:
            until(lambda: not planner.running(), "the plan", limit_s + PLANNER_S, self._stopped)
            status = planner.popen.returncode
            if status:
                raise SpecError(log.read_text(errors="replace").strip() or f"the planner ended with status {status}")
            plan = load_plan(made)
            if not plan.placement:
                raise nothing_runs(_reasons(plan))
        except BaseException:
            request.unlink()
            raise
        finally:
            planner.stop()
            for file in (made, log):
                file.unlink(missing_ok=True)
        adopt(self.folder, plan)
        for line in refused_lines(_reasons(plan)):
            self.say(line)

    def _stopped(self) -> None:
        if self.stop.is_set():
            raise KeyboardInterrupt

    def _start_broker(self) -> None:
        self.phase("starting the broker")
        log = self.folder / "logs" / "mosquitto.log"
        patience_s = self.options.patience_s
        keepalive_s = max(KEEPALIVE_S, round(patience_s / PATIENCE_KEEPALIVES))
        self.broker = Broker(
            self.folder / "broker", self.topology.devices, self.record,
            log=log, start_s=patience_s, keepalive_s=keepalive_s,
        )  # fmt: skip
        self._parts.callback(self.broker.stop)
        self.broker.start()
        access = self.broker.access
        self.operator = self._parts.enter_context(Operator(access.only(topics.OPERATOR), max(ANSWER_S, patience_s)))
        self.incidents.publish = self.operator.tell
        self._access_file("controller", access.only(topics.CONTROLLER))
        self._access_file("operator", access.only(topics.OPERATOR))

    def _access_file(self, name: str, access: BrokerAccess) -> Path:
        """Write the credentials of one process, and no others."""
        path = self.folder / "broker" / f"access-{name}.json"
        write_access(path, dataclasses.replace(access, spool=str(self.folder / "spool")))
        return path

    def _start_controller(self) -> None:
        """Step 2: it finds the plan in the run's folder."""
        self.phase("starting the controller")
        self.port = self.options.port or free_port()
        self.start_controller()
        self._parts.callback(lambda: self.controller.stop())
        self.wait(
            lambda: self.operator.status.get(topics.CONTROLLER, {}).get("state") == "running",
            "the controller",
        )

    def start_controller(self) -> None:
        """Start the controller's process; one that ran before must have ended."""
        command = [sys.executable, "-m", "mozart.controller.launcher", "--run", str(self.folder)]
        command += ["--listen", f"127.0.0.1:{self.port}"]
        command += ["--broker", str(self.folder / "broker" / "access-controller.json")]
        log = self.folder / "logs" / "controller.log"
        self.controller = Process("controller", command, log, self.record, first=True)

    def _start_network(self) -> None:
        self.phase("starting the network")
        self.network: Network
        if self.given is not None:
            self.network = self.given
            self.network.start()
            self.say(
                f"using the switches of {self.options.devices}; they must have the controller tcp:127.0.0.1:{self.port}"
            )
        else:
            self.network = made = MininetNetwork(
                self.topology, self.port, self.record, max(START_S, self.options.patience_s)
            )
            self._parts.callback(made.stop)
            made.start()
            self.emulation = Emulation(self.topology, self.spec.loss, made, self.record)
            self.unemulated = self.emulation.start()
            for sentence in self.unemulated:
                self.say(sentence)
        self._wait_for_switches()
        self.watch = Watch(self.incidents, self.network, self.folder, self._restart_ovs if self.ours else None)

    def _restart_ovs(self) -> None:
        with self.network.ports_opened():
            start_ovs()

    def _wait_for_switches(self) -> None:
        """Wait until all switches have their rules; raises LiveError naming those that are not connected.

        By the controller's word: Open vSwitch's database hears of a connection only every five seconds.
        """
        try:
            self.wait(self._rules_there, "the switches' connections and rules")
        except LiveError:
            self.alive()  # the reason may be that the controller has ended
            if missing := self.operator.status.get(topics.CONTROLLER, {}).get("missing"):
                after = f"after {self.options.patience_s:g} s"
                raise LiveError(f"not connected to the controller {after}: {', '.join(missing)}") from None
            raise

    def _rules_there(self) -> bool:
        status = self.operator.status.get(topics.CONTROLLER, {})
        rules = status.get("rules", {})
        return not status.get("missing") and all(rules.get(switch) for switch in self.topology.switches)

    def _start_agents(self) -> None:
        """Step 3."""
        self.phase("starting the agents")
        devices = self.network.devices()
        self.devices = [device["device"] for device in devices]
        self.parts = [part for part in shared_out(devices, self.options.agents) if part]
        for number in range(len(self.parts)):
            self.agents.append(self.start_agent(number))
        self._parts.callback(lambda: [agent.stop() for agent in self.agents])
        patience_s, patient = self.options.patience_s, self.patient("the agents, which load or compile their loops")
        self.operator.wait_for_agents(self.devices, self.plan.revision, patience_s, patient)
        start_ns = time.time_ns() + 10**8
        revision = self.operator.ask("time", epoch_start_ns=start_ns)["revision"]
        self.operator.wait_for_agents(self.devices, revision, patience_s, patient)

    def start_agent(self, number: int) -> Process:
        """Start the agent's process for one part of the devices."""
        part = self.parts[number]
        names = [device["device"] for device in part]
        file = self.folder / "broker" / f"devices-{number}.json"
        file.write_text(json.dumps(part))
        access = self._access_file(f"agent-{number}", self.broker.access.only(*names))
        command = [sys.executable, "-m", "mozart.agents.agent", "--devices", str(file), "--broker", str(access)]
        return Process(f"agent {number}", command, self.folder / "logs" / f"agent-{number}.log", self.record)

    # running

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        return load_plan(self.folder / "plan.json")

    def play(self, look: Callable[[], object] = lambda: None) -> None:
        """Step 4; `look` is called meanwhile. Ends early, in order, where `stop` is set."""
        players = Players(self.network, self.traffic, self.folder / "logs", self.record)
        self._parts.callback(players.stop)
        players.start()

        def meanwhile() -> None:
            look()
            self.supervise()

        limit_s = self.traffic.duration_s + max(PLAYERS_S, self.options.patience_s)
        until(lambda: not players.running() or self.stop.is_set(), "the senders to end", limit_s, meanwhile)
        if self.stop.is_set():
            players.stop()
            self.note("stopped", "run", f"stopped early by {name_of(getattr(self.stop, 'number', Stop.number))}")
        else:
            self.played = players.results()

    def measure(self, look: Callable[[], object] = lambda: None) -> None:
        """Do steps 4 and 5; what fails is noted, and what was measured until then is there to be evaluated."""
        try:
            self.play(look)
        except (LiveError, OSError) as error:
            self.gave_up = True
            self.note("gave-up", "run", f"the run could not go on: {said_of(error)}")
        self.finish()

    def finish(self) -> None:
        """Step 5. What fails now is noted: all that was measured until then is there to be evaluated."""
        self.phase("waiting for the last reports")
        end_ns = time.time_ns() + round(SETTLE_S * 1e9)
        try:
            self.operator.ask("time", end_ns=end_ns)
            until(self._reported, "the last reports", self.options.patience_s, self.supervise)
            self.rules = self.operator.ask("rules")["rules"]
        except (LiveError, OSError) as error:
            missing = self.unreported()
            text = f"no last report of {', '.join(missing)} ({said_of(error)})" if missing else said_of(error)
            self.note("no-report", ", ".join(missing) or "controller", text)
            self.gave_up = self.gave_up or bool(missing)

    def _reported(self) -> bool:
        """Whether all devices have reported; raises LiveError where the disk has no room for what they say."""
        missing = self.unreported()
        full = self.watch is not None and self.watch.disk_full
        self._full_s = (self._full_s or time.monotonic()) if full else 0.0
        if missing and full and time.monotonic() - self._full_s > FULL_S:
            raise LiveError(f"{self.folder}: {os.strerror(errno.ENOSPC)} (ENOSPC)")
        return not missing

    def unreported(self) -> list[str]:
        """Return the devices whose last report the controller does not have yet."""
        for device in self.devices:
            for path in self.reports(device):
                if path not in self._read:
                    self._read[path] = _is_final(path)
        done = {path.parent.name for path, final in self._read.items() if final}
        return [device for device in self.devices if device not in done]

    def reports(self, device: str) -> list[Path]:
        """Return the files of a device's reports so far, by epoch."""
        return sorted((self.folder / "reports" / device).glob("*.npz"), key=lambda path: path.stat().st_mtime_ns)

    def wait(self, condition: Callable[[], object], what: str, deadline_s: float | None = None) -> None:
        """Wait for a condition, for as long as the run is in order."""
        until(condition, what, deadline_s or self.options.patience_s, self.patient(what))

    def patient(self, what: str) -> Callable[[], None]:
        """Return what to call while waiting: `alive`, and once that takes long, the user is told of it."""
        begin, told = time.monotonic(), False

        def look() -> None:
            nonlocal told
            self.alive()
            if not told and time.monotonic() - begin > SLOW_S:
                told = True
                self.say(f"waiting for {what}, {self.options.patience_s:g} s at most")

        return look

    def alive(self) -> None:
        """Raise where a part has ended that a start cannot go on without, or Ctrl-C was pressed."""
        self._stopped()
        for process in (self.broker.process, self.controller, *self.agents):
            process.check()

    def supervise(self) -> None:
        """Start parts again that have ended, and note what has happened to the network."""
        if not self.broker.process.running():
            self._restarted(self.broker.process, self.broker.restart)
        if not self.controller.running():
            self._restarted(self.controller, self.start_controller)
        for number, agent in enumerate(self.agents):
            if not agent.running():
                self._restarted(agent, functools.partial(self._restart_agent, number))
        status = self.operator.status.get(topics.CONTROLLER, {})
        self.incidents.take(status)
        moves = [move for move in status.get("moves", ()) if move["source"] and move["to"]]
        for move in moves[self._moves :]:
            self.note("moved", str(move["task"]), "moved: {task} {module}: {source} -> {to}".format(**move), True)
        self._moves = max(self._moves, len(moves))
        if self.watch is not None:
            self.watch.look(status.get("missing", ()))

    def _restart_agent(self, number: int) -> None:
        self.agents[number] = self.start_agent(number)

    def _restarted(self, process: Process, again: Callable[[], object]) -> None:
        self.restarts += 1
        text = f"{process.name} ended with status {process.popen.returncode}"
        if self.watch is not None:
            self.watch.look_at_disk()
            if self.watch.disk_full:  # it would end again
                self.note("part-ended", process.name, text)
                raise LiveError(f"{self.folder}: {os.strerror(errno.ENOSPC)} (ENOSPC)")
        if self.restarts > MOST_RESTARTS:
            self.note("part-ended", process.name, text)
            raise LiveError(f"parts have ended {self.restarts} times; the last was {process.name}:\n{process.tail()}")
        again()
        self.note("part-ended", process.name, f"{text}; it was started again", True)

    def sent_figures(self) -> dict[str, Any]:
        """Return what there was to be sent, and what the senders say of it."""
        return {**self.traffic.to_dict(), "played": sent_figures(self.played)}

    def link_drops(self) -> dict[str, int]:
        """Return how many packets lossy links have dropped on purpose, by link."""
        return self.emulation.dropped() if self.emulation else {}

    def dropped_on_the_way(self) -> int:
        """Return how many of them the agent of their host had seen."""
        return self.emulation.dropped_on_the_way() if self.emulation else 0

    def note(self, kind: str, device: str, text: str, repaired: bool = False) -> None:
        """Write down something that went wrong, and whether that is put right."""
        self.incidents.note(kind, device, text, repaired)


def _reasons(plan: Plan) -> dict[str, str]:
    return {each["task"]: each["reason"] for each in plan.refused}


def said_of(error: Exception) -> str:
    """Return what an error says; of the system's, the path and the reason."""
    if isinstance(error, OSError):
        name = errno.errorcode.get(error.errno or 0, "")
        return f"{error.filename or 'the run'}: {error.strerror or error}{f' ({name})' if name else ''}"
    return str(error)


def _is_final(report: Path) -> bool:
    try:
        header, _ = unpack(report.read_bytes())
    except (OSError, MozartError):
        return False
    return bool(header.get("final"))


def shared_out(devices: Sequence[dict[str, Any]], processes: int) -> list[list[dict[str, Any]]]:
    """Share devices out among processes: hosts and switches apart, where there are two processes or more."""
    if processes < 1:
        raise SpecError(f"agents need at least one process, not {processes}")
    if processes == 1:
        return [list(devices)]
    kinds = [[d for d in devices if d["kind"] == kind] for kind in ("host", "switch")]
    halves = [processes // 2, processes - processes // 2]
    return [kind[n::half] for kind, half in zip(kinds, halves, strict=True) for n in range(half)]


def refuse_without_root() -> None:
    """Raise LiveError for a user who can make no network."""
    if os.geteuid() != 0:
        raise LiveError("a live run makes switches and namespaces, which only root may; use sudo, or mozart replay")


def live(spec: Spec, options: Options, folder: Path, say: Say, stop: threading.Event) -> LiveResult:
    """Run a task file live and return what it found; everything that it made has gone when this returns.

    Results go to `folder`, which must not have a run yet. Raises LiveError where a part cannot be started.
    """
    run = Run(spec, options, folder, say, stop)
    with run:
        with View({task: sorted(set(modules.values())) for task, modules in run.plan.placement.items()}) as view:
            run.measure(lambda: view.show(run.operator.stats, run.operator.status))
        return conclude(run)


def conclude(run: Run) -> LiveResult:
    """Do step 6: take a run down that has measured, and return what it found."""
    plan, drops, on_the_way = run.plan, run.link_drops(), run.dropped_on_the_way()
    run.phase("taking down the network")
    run.take_down()
    result = LiveResult(
        run.topology, Evaluation(), rules=run.rules, traffic=run.sent_figures(), unemulated=run.unemulated,
        refused=plan.refused, link_drops=drops, left_behind=run.record.problems, gave_up=run.gave_up,
    )  # fmt: skip
    evaluate(run, plan, result)
    for problem in run.record.problems:
        run.note("left-behind", "run", problem)
    _sum_up(run, result, on_the_way)
    return result


def _sum_up(run: Run, result: LiveResult, on_the_way: int) -> None:
    """Hold what was planned against what was sent, and that against what arrived; then write down all faults."""
    found, end_ns = result.evaluation, time.time_ns()
    gaps = host_gaps(found.devices)
    result.lost, _ = judged(found.lost_ns, on_the_way, gaps, run.faults, end_ns)
    if found.packets.get("sent"):
        whole = not run.stop.is_set() and not run.gave_up
        told = [run.traffic.packets[host] for host in run.played]
        unmeasured = sum(n for counts in found.drops.values() for name, n in counts.items() if name == "kernel_drops")
        result.load = Load(
            sum(told) if whole else None, run.traffic.duration_s if whole else None, found.sent_s if whole else None,
            found.packets["sent"], found.packets["delivered"], result.lost.unexplained,
            sum(said["packets"] for said in found.devices.values()), unmeasured,
        )  # fmt: skip
        if text := result.load.text():
            run.note("overload", "run", text)
    _, result.faults = judged(found.lost_ns, on_the_way, gaps, run.faults, end_ns)
    result.more_faults = run.incidents.book.more + run.incidents.untold


def evaluate(run: Run, plan: Plan, result: LiveResult) -> None:
    """Fill in what the devices saw, and the replays beside it.

    A signal that asks for an end, while this is done, leaves out the replays; a second one, or a disk without room,
    what is not done yet. What was measured stays in the run's folder.
    """
    run.phase("evaluating what the devices saw")
    run.say("evaluating what the devices saw")
    with stopped_by_signal() as stop:
        try:
            evaluator = Evaluator(plan, run.folder)
            found = result.evaluation = evaluator.evaluate()
            if run.options.observe and found.packets["sent"] and not stop.is_set():
                beside = evaluator.replayed(stop=stop)
                late = evaluator.replayed(late=True, stop=stop) if found.in_force_ms and not stop.is_set() else None
                if not stop.is_set():
                    result.replayed, result.late = beside, late
        except KeyboardInterrupt:
            stop.set()
        except (MozartError, OSError) as error:
            result.gave_up = True
            run.note("gave-up", "evaluation", f"not all could be evaluated: {said_of(error)}")
    if stop.is_set():
        where = f"what was measured lies in {run.folder}"
        run.note("stopped", "evaluation", f"the evaluation was stopped by {name_of(stop.number)}; {where}")
        result.status = stop.status
