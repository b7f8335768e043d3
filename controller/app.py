"""The Ryu application: brings every switch to what the plan says, and the plan to what the network is.

It can run beside other applications (`ryu-manager --config-file FILE mozart.controller.app other.app`): it touches
rules of its own cookie prefix only, and answers no packet. FILE says, under [mozart], which run it belongs to:

    run = folder of the run               plan_request = JSON file, for a new run
    broker = file of the bus's access     switch_deadline_s = 30

What happens, each in a green thread: a switch that connects, or whose ports change, is brought to its tables, and
looked at once a second, in case another program changes them (`_serve`); when a link's state has changed, or an
operator asks, a new plan is made and brought out (`_work`); reports are written as they come (`bus_link.py`). What
goes wrong is kept in a book (faults.py), of which the status on the bus has the last pages.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ryu import cfg
from ryu.base import app_manager
from ryu.controller import ofp_event
from ryu.controller.handler import DEAD_DISPATCHER, HANDSHAKE_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from ryu.lib import hub
from ryu.ofproto import ofproto_v1_3

from ..bus import topics
from ..bus.access import read_access
from ..errors import LiveError, MozartError
from ..topologies.addresses import measure_port
from . import requests
from .bus_link import BusLink
from .faults import Fault, FaultBook
from .links import Flaps, down_links, port_states, waited_for
from .planned import Plan
from .planning import Planning
from .report_files import ReportFiles
from .rules import tables_of
from .switch import Brought, PortView, Switch

SETTLE_S = 0.1
"""After a link has changed, so long nothing is planned: its other end has a word to say too."""

RETRY_S = 2.0
"""A switch that is not as it should be after all is brought there again after so long."""
PORTS_S = 4.0
"""A switch that connects may take so long to open its ports, before links are taken to be down."""
CHECK_S, LOOK_S = 1.0, 15.0
"""How often a switch is asked for the numbers of its rules, and for all of them."""
TOLD_FAULTS = 50
"""So many of the last faults are told with the status."""

OPTIONS = [
    cfg.StrOpt("run", default=None, help="folder of the run"),
    cfg.StrOpt("plan_request", default=None, help="JSON file with the request for the first plan"),
    cfg.StrOpt("broker", default=None, help="file with the bus's access; without it there is no bus"),
    cfg.FloatOpt("switch_deadline_s", default=30.0, help="after this time missing switches are named"),
]
cfg.CONF.register_opts(OPTIONS, group="mozart")


class MozartApp(app_manager.RyuApp):
    """Controls the switches and agents of one run."""

    OFP_VERSIONS = (ofproto_v1_3.OFP_VERSION,)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.options = cfg.CONF.mozart
        if not self.options.run:
            raise LiveError("which run? Give ryu-manager a --config-file that has [mozart] run = FOLDER")
        folder = Path(self.options.run)
        self.planning = Planning(folder)
        request = self.options.plan_request
        self.plan: Plan = self.planning.first(Path(request) if request else None)
        self.reports = ReportFiles(folder / "reports", self.plan.devices)
        self.switches: dict[str, Switch] = {}
        self.wakes: dict[str, hub.Queue] = {}
        self.brought: dict[str, Brought] = {}
        self.connected_s: dict[str, float] = {}
        self.states: dict[str, dict[str, bool]] = {}
        self.refused = 0
        """OpenFlow messages of ours that switches refused."""
        self.book = FaultBook()
        self.flaps = Flaps(self.plan.topology["links"])
        self.jobs: hub.Queue = hub.Queue()
        self.since_ns = time.time_ns()
        self.settled = False
        """Whether all switches have been there, or the deadline has passed: from then on links are judged."""
        self.bus = self._link() if self.options.broker else None

    def _link(self) -> BusLink:
        access = read_access(self.options.broker)
        handlers = {
            topics.report("+"): self._take_report,
            topics.request("+"): self._take_request,
        }
        lost = (topics.status(topics.CONTROLLER), json.dumps({"state": "lost"}).encode())
        return BusLink(access, topics.CONTROLLER, handlers, lost, self.logger, self._take_bus_fault)

    def start(self) -> None:
        """Begin: the bus, the work, and the deadline for switches."""
        super().start()
        self.logger.info("plan %d: %d of %d tasks run", self.plan.revision, len(self.plan.placement), self._tasks())
        for refusal in self.plan.refused:
            self.logger.warning("task %s is refused: %s", refusal["task"], refusal["reason"])
        if self.bus:
            self._configure()
            hub.spawn(self.bus.run)
        hub.spawn(self._work)
        hub.spawn_after(self.options.switch_deadline_s, self._name_missing)

    def close(self) -> None:
        """Say that the controller has stopped; switches and agents go on with what they have."""
        if self.bus:
            self.bus.close(topics.status(topics.CONTROLLER), json.dumps({"state": "stopped"}))
        super().close()

    def _tasks(self) -> int:
        return len(self.plan.request["spec"]["tasks"])

    # Switches

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])
    def _changed(self, event: Any) -> None:
        """Take up a switch that has connected; let go of one whose connection has ended."""
        datapath = event.datapath
        if event.state == MAIN_DISPATCHER:
            name = self._name_of(datapath)
            if name not in self.plan.switches:
                self.logger.warning("a switch %s has connected that is not in %s", name, self.plan.topology["name"])
                return
            self.logger.info("%s has connected", name)
            self._let_go(name)
            self.switches[name] = Switch(name, datapath, lambda text: self._complain("rules-refused", name, text))
            self.connected_s[name] = time.monotonic()
            self.wakes[name] = hub.Queue()
            self.wakes[name].put(None)
            hub.spawn(self._serve, name, self.switches[name], self.wakes[name])
        else:
            switch = self._switch(datapath)
            if switch is not None:
                self._let_go(switch.name)
                self._tell()

    def _let_go(self, name: str) -> None:
        """End the conversation with a switch, where there is one."""
        switch = self.switches.pop(name, None)
        if switch is not None:
            switch.gone()
            self.wakes.pop(name).put(switch)
            for key in self.book.lasting("switch", name):
                self.book.end(key, time.time_ns())
            said = f"the connection to {name} has ended"
            if self.brought.pop(name, None) is not None:
                self._stand(("away", name), "switch-away", name, said)
            else:
                self.logger.warning("%s", said)

    def _name_of(self, datapath: Any) -> str:
        """Return the name of a switch: that of its own port, which is its bridge's."""
        own = datapath.ports.get(datapath.ofproto.OFPP_LOCAL)
        return own.name.decode(errors="replace") if own is not None else f"s{datapath.id}"

    def _switch(self, datapath: Any) -> Switch | None:
        return next((switch for switch in self.switches.values() if switch.datapath is datapath), None)

    def _serve(self, name: str, switch: Switch, wakes: hub.Queue) -> None:
        """Bring a switch to what it should have, whenever it is woken, until it is gone (woken with itself).

        When nobody wakes it, it is looked at; what did not work is tried again after a while.
        """
        looked_s, amiss = 0.0, False
        while True:
            try:
                woken = wakes.get(timeout=RETRY_S if amiss else CHECK_S)
                while woken is not switch and not wakes.empty():
                    woken = wakes.get()
                look = True
            except hub.QueueEmpty:
                woken, look = None, amiss or time.monotonic() - looked_s > LOOK_S
            if woken is switch:
                return
            try:
                if look or not switch.as_left():
                    looked_s = time.monotonic()
                    amiss = self._bring(name, switch, woken=look)
                self._over(("switch", name, "silent"))
            except LiveError as error:
                if self.switches.get(name) is not switch:
                    return
                amiss = True
                self._stand(("switch", name, "silent"), "switch-silent", name, str(error))
            except Exception as error:  # one switch that answers nonsense must not be given up, nor end the others
                self.logger.exception("%s could not be brought to its rules", name)
                amiss = True
                why = f"{name} could not be brought to its rules: {type(error).__name__}: {error}"
                self._stand(("switch", name, "silent"), "controller-failed", name, why)

    def _bring(self, name: str, switch: Switch, woken: bool) -> bool:
        """Bring a switch to what it should have now; returns whether something is wrong after all."""
        begun_ns, plan, ports = time.time_ns(), self.plan, switch.ports()
        names = {interface: neighbour for neighbour, interface in plan.topology["interfaces"][name].items()}
        names[measure_port(name)] = "mon"
        seen: dict[str, PortView] = {names[port]: view for port, view in ports.items() if port in names}
        tables = tables_of(plan, name, {neighbour: view.number for neighbour, view in seen.items()})
        brought = switch.bring(tables)
        self.brought[name] = brought
        if woken or brought.changes:
            said = name, brought.rules, plan.revision, brought.changes
            self.logger.info("%s has %d rules of plan %d, %d changed", *said)
        if tables.unreached:
            self.logger.warning("%s has no port yet to %s", name, ", ".join(tables.unreached))
        up = {neighbour: view.up for neighbour, view in seen.items() if neighbour != "mon"}
        fresh = time.monotonic() - self.connected_s[name] < PORTS_S
        self.states[name] = port_states(self.states.get(name, {}), up, fresh)
        for neighbour, is_up in up.items():
            self._see_port(name, neighbour, is_up)
        self._judge_links()
        self._tell_brought(name, brought, begun_ns)
        self._tell()
        return bool(brought.faults) or (fresh and self.states[name].keys() > up.keys())

    def _tell_brought(self, name: str, brought: Brought, begun_ns: int) -> None:
        """Write down what bringing a switch to what it should have has shown, and what is over now."""
        now_ns = time.time_ns()
        self._over(("away", name), f"it is back, and {brought.changes} flow entries were put again")
        lost = ("switch", name, "lost")
        if brought.damage:
            self._stand(lost, "rules-lost", name, f"{name}: {brought.damage.text()}", begun_ns)
        if not brought.faults and not brought.blocked:
            self._over(lost, "put right")
        standing: dict[tuple[str, ...], tuple[str, str, int]] = {
            ("switch", name, "foreign", str(each.cookie), str(each.table)): (
                "foreign-rule", f"{name}: {each.text(name)}",
                now_ns - round(brought.ages_s[each.cookie, each.table] * 1e9),
            )
            for each in brought.obstacles
        }  # fmt: skip
        for text in brought.faults:
            standing["switch", name, "left"] = "rules-refused", f"{name}: {text}", now_ns
        for key, (kind, text, since_ns) in standing.items():
            self._stand(key, kind, name, text, since_ns)
        for key in self.book.lasting("switch", name):
            if key not in standing and key[2] not in ("silent", "lost"):
                self._over(key)

    @set_ev_cls(ofp_event.EventOFPPortStatus, MAIN_DISPATCHER)
    def _port_changed(self, event: Any) -> None:
        switch = self._switch(event.msg.datapath)
        if switch is None:
            return
        port, proto = event.msg.desc, event.msg.datapath.ofproto
        up = not (port.state & proto.OFPPS_LINK_DOWN or port.config & proto.OFPPC_PORT_DOWN)
        interface = port.name.decode(errors="replace")
        for neighbour, name in self.plan.topology["interfaces"][switch.name].items():
            if name == interface:
                self._see_port(switch.name, neighbour, up and event.msg.reason != proto.OFPPR_DELETE)
        self.wakes[switch.name].put(None)

    def _see_port(self, device: str, neighbour: str, up: bool) -> None:
        """Take the state of a port, and tell of each time that its link goes down."""
        news = self.flaps.see(device, neighbour, up, self.settled)
        if news is not None and news[1] == "down":
            self._stand(("link", news[0]), "link-down", news[0], f"link {news[0]} is down")
            self._tell()
        elif news is not None:
            self._over(("link", news[0]), "it is up again")
            self._tell()

    @set_ev_cls(ofp_event.EventOFPFlowRemoved, MAIN_DISPATCHER)
    def _flow_removed(self, event: Any) -> None:
        switch = self._switch(event.msg.datapath)
        if switch is not None and switch.removed(event.msg):
            self.wakes[switch.name].put(None)

    @set_ev_cls(
        [
            ofp_event.EventOFPFlowStatsReply,
            ofp_event.EventOFPAggregateStatsReply,
            ofp_event.EventOFPGroupDescStatsReply,
            ofp_event.EventOFPPortDescStatsReply,
            ofp_event.EventOFPBarrierReply,
        ],
        MAIN_DISPATCHER,
    )
    def _answered(self, event: Any) -> None:
        message = event.msg
        switch = self._switch(message.datapath)
        if switch is not None:
            flags = getattr(message, "flags", 0)
            more = bool(flags & message.datapath.ofproto.OFPMPF_REPLY_MORE)
            body = getattr(message, "body", None) or ()
            switch.answered(message.xid, [body] if hasattr(body, "flow_count") else list(body), more)

    @set_ev_cls(ofp_event.EventOFPErrorMsg, [HANDSHAKE_DISPATCHER, MAIN_DISPATCHER])
    def _refused(self, event: Any) -> None:
        message = event.msg
        proto = message.datapath.ofproto
        switch = self._switch(message.datapath)
        kind = proto.ofp_error_type_to_str(message.type)
        code = proto.ofp_error_code_to_str(message.type, message.code)
        if switch is not None and switch.refused(message.xid, f"{kind}, {code}"):
            self.refused += 1

    def _complain(self, kind: str, device: str, text: str, until_ns: int | None = None) -> None:
        """Write down a fault that is told once."""
        self.book.add(Fault(time.time_ns(), kind, device, text, until_ns))
        self.logger.error("%s", text)

    def _stand(self, key: tuple[str, ...], kind: str, device: str, text: str, since_ns: int | None = None) -> None:
        """Write down a fault that lasts until `_over`."""
        if self.book.stand(key, Fault(since_ns or time.time_ns(), kind, device, text)):
            self.logger.error("%s", text)

    def _over(self, key: tuple[str, ...], more: str = "") -> None:
        """Write down that a lasting fault is over."""
        if (ended := self.book.end(key, time.time_ns(), more)) is not None:
            self.logger.warning("over: %s", ended.text)

    def _take_bus_fault(self, kind: str, text: str) -> None:
        """Write down what is wrong with what arrives or leaves; without a text, that it is over."""
        if text:
            self._stand(("bus", kind), kind, topics.CONTROLLER, text)
        else:
            self._over(("bus", kind))
        self._tell()

    def _name_missing(self) -> None:
        missing = waited_for(self.plan.switches, self.switches)
        if missing:
            self._complain(
                "switch-missing",
                ", ".join(missing),
                f"after {self.options.switch_deadline_s:g} s not connected: {', '.join(missing)}. The others forward; "
                "pairs of hosts whose paths cross a missing switch cannot",
            )
        self._judge_links(late=True)
        self._tell()

    # Plans

    def _judge_links(self, late: bool = False) -> None:
        """Ask for another plan where other links are down than the plan has."""
        self.settled = self.settled or late or not waited_for(self.plan.switches, self.switches)
        if self.settled and down_links(self.plan.topology["links"], self.states) != self.plan.down:
            self.jobs.put(("", {}))

    def _work(self) -> None:
        """Do what changes the plan, one thing after the other; whatever goes wrong with one, the next is done."""
        while True:
            topic, message = self.jobs.get()
            try:
                answer = self._answer(message) if topic else None
                if not topic:
                    self._replan_links()
            except Exception as error:
                why = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
                self.logger.exception("%s", message.get("op", "a change of links"))
                what = str(message.get("op", "a change of links"))
                self._complain("controller-failed", what, f"{what} failed: {type(error).__name__}, {why}")
                self._tell()
                answer = {"ok": False, "error": f"the controller failed: {why}"}
            if topic and self.bus and answer is not None:
                reply = {"version": requests.VERSION, "id": message["id"], **answer}
                self.bus.publish(topics.reply(topics.device_of(topic)), json.dumps(reply))

    def _replan_links(self) -> None:
        hub.sleep(SETTLE_S)
        down = down_links(self.plan.topology["links"], self.states)
        if down == self.plan.down:
            return
        self.logger.info("a new plan is made with %s down", ", ".join(sorted(down)) or "no link")
        try:
            plan = self.planning.next(self.plan, {**self.plan.request, "down": sorted(down)})
        except MozartError as error:
            names = ", ".join(sorted(down)) or "no link"
            self._complain("no-plan", names, f"no plan with {names} down: {error}")
            return
        self._bring_out(plan)

    def _answer(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Do what an operator asks, and return the reply."""
        try:
            request = requests.changed(self.plan.request, message)
            if request is not None:
                plan = self.planning.next(self.plan, request)
                refused = requests.refused_additions(message, plan)
                if refused:
                    return {"ok": False, "error": refused}
                self._bring_out(plan)
            elif times := requests.times_of(message):
                self._bring_out(self.plan.at_times(times))
            elif message["op"] == "rules":
                return {"ok": True, **self._rules()}
            return {"ok": True, **requests.listing(self.plan)}
        except MozartError as error:
            return {"ok": False, "error": str(error)}
        except OSError as error:  # the plan cannot be written down, so it is not in force
            return {"ok": False, "error": f"{error.filename or self.planning.run}: {error.strerror or error}"}

    def _rules(self) -> dict[str, Any]:
        """Say how many rules each switch has, and how many packets they have seen by what they are for."""
        return {
            "rules": {name: brought.rules for name, brought in self.brought.items()},
            "packets": {name: switch.packets() for name, switch in list(self.switches.items())},
            "missing": waited_for(self.plan.switches, self.switches),
            "errors": self.book.seen,
            "refused": self.refused,
            "reports": self.reports.written,
            "messages_malformed": self.bus.malformed if self.bus else 0,
            "messages_lost": self.bus.lost if self.bus else 0,
            "messages_postponed": self.bus.postponed if self.bus else 0,
        }

    def _bring_out(self, plan: Plan) -> None:
        """Put a plan in force: written down, then to the switches and agents."""
        self.planning.adopt(plan)
        before, self.plan = self.plan, plan
        self.logger.info("plan %d: %d of %d tasks run", plan.revision, len(plan.placement), self._tasks())
        for move in plan.new_moves:
            self.logger.warning("moved: %(task)s %(module)s: %(source)s -> %(to)s", dict(move))
        for refusal in plan.refused:
            self.logger.warning("task %s is refused: %s", refusal["task"], refusal["reason"])
        if plan.switches != before.switches:
            for wake in self.wakes.values():
                wake.put(None)
        if self.bus:
            self._configure()

    def _configure(self) -> None:
        """Publish every device's configuration, retained."""
        assert self.bus is not None
        for device, config in self.plan.devices.items():
            self.bus.publish(topics.config(device), config.to_json(), retain=True)
        self._tell()

    def _tell(self) -> None:
        """Publish the controller's own status, retained."""
        if self.bus is None:
            return
        status = {
            "state": "running", "revision": self.plan.revision, "since_ns": self.since_ns, "errors": self.book.seen,
            "missing": waited_for(self.plan.switches, self.switches), "down": sorted(self.plan.down),
            "rules": {name: brought.rules for name, brought in self.brought.items()},
            "moves": [dict(move) for move in self.plan.moves], "cut_off": list(self.plan.cut_off),
            "faults": self.book.last(TOLD_FAULTS), "refused": self.refused,
        }  # fmt: skip
        self.bus.publish(topics.status(topics.CONTROLLER), json.dumps(status), retain=True)

    def _take_request(self, topic: str, payload: bytes) -> None:
        self.jobs.put((topic, requests.read(payload)))

    def _take_report(self, topic: str, payload: bytes) -> None:
        self.reports.take(topic, payload)
