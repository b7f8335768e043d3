"""One live run: broker, controller, network, agents and traffic, started in order, watched, and undone in reverse.

1. Prepare: plan (paths, places, codes), which ends a run without a task that fits; split the traffic by host; find
   free ports; write down what is about to be made, before it is made.
2. Start the broker, then the controller, then the network, and wait until every switch has its rules.
3. Start the agents, tell the controller when the first epoch begins, and wait until all agents have that plan.
4. Play the traffic.
5. Tell the controller when the last epoch ends, and wait for the last report of every agent.
6. Take everything down, and evaluate: what was selected and recorded against what each device really saw.

A part that ends while traffic flows is started again, and the fault is noted: forwarding, tagging and recording go on
without the controller and the broker, and an agent that comes back reports its gap. Whatever ends a run early (Ctrl-C,
something that fails), all that it had made is undone, and what was measured until then is evaluated.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..bus import topics
from ..bus.access import KEEPALIVE_S, BrokerAccess, write_access
from ..bus.messages import unpack
from ..controller.planned import Plan, adopt, load_plan
from ..errors import LiveError, MozartError, SpecError
from ..folders import make_folder
from ..replay.report import nothing_runs, refused_lines
from ..signals import name_of
from ..tasks import Spec
from ..topologies.catalogue import load as load_topology
from .broker import Broker
from .emulation import Emulation
from .evaluate import Evaluator
from .network import START_S, GivenNetwork, MininetNetwork, Network, ovs_runs, start_ovs
from .operator import ANSWER_S, Operator
from .ports import free_port
from .processes import Process
from .record import RUNNING, Record
from .report import LiveResult
from .traffic import RATE_PPS, Played, Players, Traffic, sent_figures, split
from .view import View
from .waiting import until

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
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = self.folder.resolve()
        self.topology = load_topology(self.spec.topology.name, **self.spec.topology.options)
        self._stack = ExitStack()
        self.agents: list[Process] = []
        self.restarts = 0
        self._down: set[str] = set()
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
            self._stack.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Take down everything that was started, in reverse."""
        self._stack.close()

    def _prepare(self) -> None:
        """Step 1."""
        refuse_without_root()
        make_folder(self.folder)
        if (self.folder / "plan.json").exists():
            raise LiveError(f"{self.folder} has a run already; name another folder with --out")
        self.record = self._stack.enter_context(Record.open(self.folder))
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
        if not ovs_runs():
            self.say("starting Open vSwitch")
            self.record("service", "openvswitch")
            start_ovs()

    def phase(self, what: str) -> None:
        """Say in the run's record what it is at, for whoever asks meanwhile."""
        self.record.phase(what)

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
        self._stack.callback(self.broker.stop)
        self.broker.start()
        access = self.broker.access
        self.operator = self._stack.enter_context(Operator(access.only(topics.OPERATOR), max(ANSWER_S, patience_s)))
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
        self._stack.callback(lambda: self.controller.stop())
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
        given = self.options.devices
        self.network: Network
        if given:
            self.network = GivenNetwork(self.topology, given, self.record)
            self.network.start()
            self.say(f"using the switches of {given}; they must have the controller tcp:127.0.0.1:{self.port}")
        else:
            self.network = made = MininetNetwork(
                self.topology, self.port, self.record, max(START_S, self.options.patience_s)
            )
            self._stack.callback(made.stop)
            made.start()
            self.emulation = Emulation(self.topology, self.spec.loss, made, self.record)
            self.unemulated = self.emulation.start()
            for sentence in self.unemulated:
                self.say(sentence)
        self._wait_for_switches()

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
        self._stack.callback(lambda: [agent.stop() for agent in self.agents])
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
        self._stack.callback(players.stop)
        players.start()

        def meanwhile() -> None:
            look()
            self.supervise()

        limit_s = self.traffic.duration_s + max(PLAYERS_S, self.options.patience_s)
        until(lambda: not players.running() or self.stop.is_set(), "the senders to end", limit_s, meanwhile)
        if self.stop.is_set():
            players.stop()
            self.note(f"stopped early by {name_of(getattr(self.stop, 'number', signal.SIGINT))}")
        else:
            self.played = players.results()

    def finish(self) -> None:
        """Step 5. What fails now is noted: all that was measured until then is there to be evaluated."""
        self.phase("waiting for the last reports")
        end_ns = time.time_ns() + round(SETTLE_S * 1e9)
        try:
            self.operator.ask("time", end_ns=end_ns)
            until(lambda: not self.unreported(), "the last reports", self.options.patience_s, self.supervise)
            self.rules = self.operator.ask("rules")["rules"]
        except LiveError as error:
            missing = self.unreported()
            self.note(f"no last report of {', '.join(missing)} ({error})" if missing else str(error))

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
        self._note_links(self.operator.status.get(topics.CONTROLLER, {}))

    def _restart_agent(self, number: int) -> None:
        self.agents[number] = self.start_agent(number)

    def _restarted(self, process: Process, again: Callable[[], object]) -> None:
        self.restarts += 1
        self.note(f"{process.name} ended with status {process.popen.returncode}; it was started again")
        if self.restarts > MOST_RESTARTS:
            raise LiveError(f"parts have ended {self.restarts} times; the last was {process.name}:\n{process.tail()}")
        again()

    def _note_links(self, status: Mapping[str, Any]) -> None:
        """Note links that have gone down or come up, and what was placed elsewhere for it."""
        down = set(status.get("down", ()))
        for name in sorted(down ^ self._down):
            self.note(f"link {name} is {'down' if name in down else 'up again'}; traffic takes other paths")
        if down != self._down:
            for move in status.get("moves", ()):
                self.note("moved: {task} {module}: {source} -> {to}".format(**move))
        self._down = down

    def sent_figures(self) -> dict[str, Any]:
        """Return what there was to be sent, and what the senders say of it."""
        return {**self.traffic.to_dict(), "played": sent_figures(self.played)}

    def link_drops(self) -> dict[str, int]:
        """Return how many packets lossy links have dropped on purpose, by link."""
        return self.emulation.dropped() if self.emulation else {}

    def note(self, fault: str) -> None:
        """Write down something that went wrong."""
        self.faults.append(fault)
        self.say(fault)


def _reasons(plan: Plan) -> dict[str, str]:
    return {each["task"]: each["reason"] for each in plan.refused}


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
        try:
            with View({task: sorted(set(modules.values())) for task, modules in run.plan.placement.items()}) as view:
                run.play(lambda: view.show(run.operator.stats, run.operator.status))
        except LiveError as error:
            run.note(str(error))
        run.finish()
        plan, drops = run.plan, run.link_drops()
    say("evaluating what the devices saw")
    evaluator = Evaluator(plan, run.folder)
    evaluation = evaluator.evaluate()
    replayed = evaluator.replayed() if options.observe and evaluation.packets["sent"] else None
    late = evaluator.replayed(late=True) if replayed is not None and evaluation.in_force_ms else None
    problems = run.record.problems
    return LiveResult(
        run.topology, evaluation, replayed, run.rules, run.sent_figures(), run.unemulated, plan.refused,
        [*run.faults, *problems], drops, clean=not problems, late=late,
    )  # fmt: skip
