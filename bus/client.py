"""One user's connection to the broker: publishes, subscribes, comes back by itself, and loses no spooled message.

paho's own thread keeps the connection. Handlers run in it, one at a time; a message is acknowledged when its handler
has returned. What cannot be used is counted, and nothing is ever raised in that thread: it would end, and the
connection would stand and be deaf.

paho numbers messages with 16 bits and refuses what it has no number for. So it is given `MOST_OPEN` messages at most
that are not acknowledged; the next ones wait here in order, or in the spool. What there is no room for here, either,
and what is said with QoS 0 while there is no connection, is lost, and counted.

How a spooled message survives:

1. It is on disk before it is sent, and is sent again whenever the connection comes back, until 2.
2. The broker acknowledges it, and has written it to its own disk: a broker that is killed loses what it took in since
   it last did (live/broker.py has it write every second or two). So the file is kept for `KEEP_S` after the
   acknowledgement, counted while the connection stands; where it breaks before that, the message is sent again.
3. From the broker on, the receiver's session is what keeps it, and the receiver acknowledges when its handler is done.

So it arrives at least once, and what waited may arrive after what was said later; receivers know copies and order by
what the message says.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from ..errors import BusError, MozartError
from .access import BrokerAccess
from .spool import Spool

Handler = Callable[[str, bytes], None]
"""Takes a topic and what was said there."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 2
SESSION_S = 0xFFFFFFFF
"""How long the broker remembers a session whose connection has ended: for ever."""
RETRY_S = 1.0
"""In `flush`: after this time, what nobody had subscribed to is tried again."""
KEEP_S = 5.0
"""How long a spooled message is kept after its acknowledgement; longer than between two saves of the broker."""
MOST_OPEN, MOST_OPEN_BYTES = 16_384, 64 << 20
"""Messages, and their bytes, that paho has at a time."""
MOST_WAITING, MOST_WAITING_BYTES = 200_000, 64 << 20
"""Messages, and their bytes, that wait in memory for room there."""
MOST_DENIED = 1000
NUMBERS_TRIED = 64
"""How many of paho's numbers are tried for a message, where some are still in use."""
NO_SUBSCRIBER = 0x10
"""Reason code of an acknowledgement (MQTT 5.0, 3.4.2.1): nobody has subscribed, the message is gone."""


log = logging.getLogger("mozart.bus")


@dataclass
class Sent:
    """A message that paho has or will have, and what the broker has answered."""

    topic: str
    payload: str | bytes
    qos: int
    retain: bool
    number: int | None
    """Its number in the spool."""
    reason: Any = None

    @property
    def is_taken(self) -> bool:
        """Whether the broker has it, and somebody to whom it goes."""
        return self.reason is not None and not self.reason.is_failure and self.reason.value != NO_SUBSCRIBER


class BusClient:
    """A user's connection. Thread-safe; `close` ends it in order, so that no last will is sent.

    With `lasting` the broker keeps what is said to this user while it is away, so one connection a user may be so;
    without, any number of connections of a user may stand side by side.
    """

    def __init__(
        self,
        user: str,
        access: BrokerAccess,
        *,
        handlers: Mapping[str, Handler] | None = None,
        will: tuple[str, bytes] | None = None,
        spool: Spool | None = None,
        lasting: bool = True,
    ) -> None:
        """Prepare a connection; `handlers` are by topic filter, `will` is published, retained, if it breaks."""
        self.user, self.access, self.spool = user, access, spool
        self.handlers = dict(handlers or {})
        self.sent = self.received = 0
        """Messages that the broker has acknowledged, or QoS 0 has let go; messages that came."""
        self.malformed = 0
        """Messages that no handler could use."""
        self.handler_errors = 0
        """Messages at which a handler failed in a way that it should not."""
        self.callback_errors = 0
        """Other errors in paho's thread, which goes on."""
        self.disk_errors = 0
        """Times that the spool could not be read or tidied up."""
        self.lost = 0
        """Messages not spooled that the broker refused, nobody heard, or found no room or connection."""
        self.connections = 0
        """How often the broker has taken the login."""
        self.denied: list[str] = []
        """What the broker has refused: logins, subscriptions and messages."""
        self._lock = threading.Condition()
        self._connected = False
        self._login_refused = ""
        self._in_flight: dict[int, Sent] = {}
        """What paho has and is not acknowledged yet, by paho's number."""
        self._open_bytes = 0
        self._backlog: deque[Sent] = deque()
        """What waits for room at paho."""
        self._backlog_bytes = 0
        self._unsent: set[int] = set()
        """Messages in the spool that wait for room at paho."""
        self._giving = threading.Lock()
        """Who has it gives messages to paho. Never waited for: paho's thread may hold locks of its own."""
        self._early: dict[int, Any] = {}
        """Acknowledgements that came before paho's `publish` had returned."""
        self._kept: dict[int, float] = {}
        """When each message in the spool was acknowledged (monotonic clock, s)."""
        self._unheard: set[int] = set()
        """Messages in the spool for which the broker had no subscriber."""
        self._refused: set[int] = set()
        """Messages in the spool that the broker has refused; mosquitto 2.0 ends the connection, too, at each."""
        self._spooling = threading.Lock()
        self._writing: int | None = None
        """The message that is just being spooled: who spools it sends it."""
        self._handed: int | None = None
        """The spooled message that paho is just being given."""
        self._lasting = lasting
        self._client = self._make(will)

    def _make(self, will: tuple[str, bytes] | None) -> mqtt.Client:
        name = f"mozart-{self.user}" if self._lasting else f"mozart-{self.user}-{os.urandom(8).hex()}"
        client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5, manual_ack=True
        )  # fmt: skip
        client.username_pw_set(self.user, self.access.password(self.user))
        client.reconnect_delay_set(FIRST_PAUSE_S, LONGEST_PAUSE_S)  # type: ignore[arg-type]
        if will is not None:
            client.will_set(will[0], will[1], qos=1, retain=True)
        for name in ("on_connect", "on_disconnect", "on_message", "on_publish", "on_subscribe"):
            setattr(client, name, self._contained(getattr(self, f"_{name}")))
        return client

    def _contained(self, callback: Callable[..., None]) -> Callable[..., None]:
        """Return a callback that raises nothing: what it raised is counted and told."""

        def contained(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except Exception:
                self.callback_errors += 1
                log.exception("%s: %s failed", self.user, callback.__name__)

        return contained

    def start(self) -> None:
        """Begin to connect; where the broker is not there, it is tried again for as long as it takes."""
        properties = Properties(PacketTypes.CONNECT)
        if self._lasting:
            properties.SessionExpiryInterval = SESSION_S
        access = self.access
        self._client.connect_async(
            access.host, access.port, access.keepalive_s, clean_start=not self._lasting, properties=properties
        )
        self._client.loop_start()

    def wait_connected(self, deadline_s: float) -> None:
        """Wait until the broker has taken the login; raises BusError with the reason where it does not."""
        with self._lock:
            self._lock.wait_for(lambda: self._connected or self._login_refused, deadline_s)
        if not self._connected:
            why = self._login_refused or "no answer; is it running?"
            raise BusError(f"the broker at {self.access.host}:{self.access.port} does not take {self.user}: {why}")

    @property
    def connected(self) -> bool:
        """Whether the broker has taken the login, and the connection stands."""
        return self._connected

    def publish(
        self, topic: str, payload: str | bytes, *, qos: int = 1, retain: bool = False, wait_s: float = 0.0
    ) -> None:
        """Say something; with QoS 1 it is kept in memory until the broker has it.

        With `wait_s`, wait for that, and raise BusError, naming user and topic, where it is refused or too late.
        """
        sent = self.post(topic, payload, qos=qos, retain=retain)
        if wait_s:
            self.wait_answer(sent, wait_s)
            if sent.reason is None or sent.reason.is_failure:
                why = sent.reason or f"no answer within {wait_s:g} s"
                raise BusError(f"the broker does not take what {self.user} says on {topic}: {why}")

    def post(self, topic: str, payload: str | bytes, *, qos: int = 1, retain: bool = False) -> Sent:
        """Say something, and return what will know whether the broker has it."""
        sent = Sent(topic, payload, qos, retain, None)
        with self._lock:
            if len(self._backlog) < MOST_WAITING and self._backlog_bytes + len(payload) <= MOST_WAITING_BYTES:
                self._backlog.append(sent)
                self._backlog_bytes += len(payload)
            else:
                self.lost += 1
        self._give_all()
        return sent

    def wait_answer(self, sent: Sent, within_s: float) -> None:
        """Wait until the broker has answered to a message, or for a time."""
        with self._lock:
            self._lock.wait_for(lambda: sent.reason is not None, within_s)

    def publish_spooled(self, topic: str, payload: bytes) -> None:
        """Say something that must not be lost: it is on disk when this returns, and stays there as long as it must.

        Raises OSError where the disk does not take it, and nothing is said then.
        """
        if self.spool is None:
            raise BusError(f"{self.user} has no spool")
        with self._spooling:
            with self._lock:
                self._forget_kept()
                self._writing = self.spool.next_number
            try:
                number = self.spool.put(topic, payload)  # waits for the disk; what else is said does not
            except OSError:
                with self._lock:
                    self._writing = None
                raise
            with self._lock:
                self._writing = None
                if self._connected:
                    self._unsent |= self._unheard | {number}
                    self._unheard.clear()
        self._give_all()

    def waiting(self) -> int:
        """Return the number of spooled messages that are not acknowledged."""
        with self._lock:
            return 0 if self.spool is None else len(set(self.spool.numbers()) - set(self._kept))

    def flush(self, deadline_s: float) -> int:
        """Wait until all that is spooled is acknowledged; return how many are not at the deadline."""
        end = time.monotonic() + deadline_s
        while (waiting := self.waiting()) and time.monotonic() < end:
            self._send_unheard()
            with self._lock:
                self._lock.wait_for(lambda: self.waiting() == 0, min(RETRY_S, max(end - time.monotonic(), 0.0)))
        return waiting

    def close(self) -> None:
        """End the connection in order; what is spooled and not acknowledged stays."""
        with self._lock:
            self._forget_kept(0.0)
        self._client.disconnect()
        self._client.loop_stop()
        if self.spool is not None:
            self.spool.close()

    def _give_all(self) -> None:
        """Give paho what waits, as far as it has room; whoever does so already does it for this call, too."""
        while self._has_work() and self._giving.acquire(blocking=False):
            try:
                while self._has_work() and (sent := self._next()) is not None:
                    if not self._give(sent):
                        return
            finally:
                self._giving.release()

    def _has_work(self) -> bool:
        with self._lock:
            full = len(self._in_flight) >= MOST_OPEN or self._open_bytes >= MOST_OPEN_BYTES
            return not full and bool(self._backlog or (self._unsent and self._connected))

    def _next(self) -> Sent | None:
        """Take the next message: what was said, before what was spooled; None where there is none after all."""
        while True:
            with self._lock:
                if self._backlog:
                    sent = self._backlog.popleft()
                    self._backlog_bytes -= len(sent.payload)
                    return sent
                if not self._unsent:
                    return None
                number = self._handed = min(self._unsent)
                self._unsent.remove(number)
            assert self.spool is not None
            try:
                return Sent(*self.spool.get(number), 1, False, number)
            except (BusError, OSError) as error:
                self._deny(str(error))
                with self._lock:
                    self.disk_errors += isinstance(error, OSError)
                    self._refused.add(number)
                    self._handed = None

    def _give(self, sent: Sent) -> bool:
        """Give a message to paho; return whether it took it. It may be acknowledged before its number is known here."""
        for _ in range(NUMBERS_TRIED):  # each try has paho's next number
            info = self._client.publish(sent.topic, sent.payload, sent.qos, sent.retain)
            if info.rc != mqtt.MQTT_ERR_QUEUE_SIZE:
                break
        with self._lock:
            self._handed = None
            if info.rc == mqtt.MQTT_ERR_QUEUE_SIZE:
                self._put_back(sent)
                return False
            if sent.qos == 0 and info.rc != mqtt.MQTT_ERR_SUCCESS:
                self.lost += 1
                return True
            self._in_flight[info.mid] = sent
            self._open_bytes += len(sent.payload)
            if info.mid in self._early:
                self._acknowledged(info.mid, self._early.pop(info.mid))
        return True

    def _put_back(self, sent: Sent) -> None:
        if sent.number is not None:
            self._unsent.add(sent.number)
            return
        self._backlog.appendleft(sent)
        self._backlog_bytes += len(sent.payload)

    def _send_unheard(self) -> None:
        """Try again what nobody had subscribed to."""
        with self._lock:
            self._unsent |= self._unheard
            self._unheard.clear()
        self._give_all()

    def _acknowledged(self, mid: int, reason: Any) -> None:
        """Take the broker's answer to a message; one that it refused, or had nobody for, stays in the spool."""
        sent = self._in_flight.pop(mid)
        self._open_bytes -= len(sent.payload)
        sent.reason = reason
        if reason.is_failure:
            self._deny(f"message of {self.user} on {sent.topic}: {reason}")
            if sent.number is not None:
                self._refused.add(sent.number)
            else:
                self.lost += 1
        elif sent.number is not None and reason.value == NO_SUBSCRIBER:
            self._unheard.add(sent.number)
        else:
            self.sent += 1
            self.lost += reason.value == NO_SUBSCRIBER and not sent.retain
            if sent.number is not None:
                self._kept[sent.number] = time.monotonic()
                self._forget_kept()
        self._lock.notify_all()

    def _forget_kept(self, age_s: float = KEEP_S) -> None:
        """Remove spooled messages that were acknowledged so long ago, while the connection still stands."""
        if self.spool is None or not self._connected:
            return
        limit = time.monotonic() - age_s
        for number in [number for number, when in self._kept.items() if when <= limit]:
            try:
                self.spool.done(number)
            except OSError as error:  # it is sent once more by the next process, which does no harm
                self.disk_errors += 1
                log.error("%s: cannot remove message %d of the spool: %s", self.user, number, error)
            del self._kept[number]

    def _deny(self, why: str) -> None:
        with self._lock:
            if len(self.denied) < MOST_DENIED:
                self.denied.append(why)
            self._lock.notify_all()

    # paho's callbacks

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._login_refused = f"login refused, {reason}"
            self._deny(f"login of {self.user}: {reason}")
            return
        if self.handlers:
            client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in self.handlers])
        with self._lock:
            self.connections += 1
            self._connected, self._login_refused = True, ""
            self._kept.clear()  # the broker may have lost these with the last connection
            self._unheard.clear()
            for mid in [mid for mid, sent in self._in_flight.items() if sent.qos == 0]:
                self._open_bytes -= len(self._in_flight.pop(mid).payload)  # paho has let these go
                self.lost += 1
            # paho sends again what it still had in flight; of the rest of the spool it knows nothing
            known = {sent.number for sent in self._in_flight.values()} | self._refused | {self._writing, self._handed}
            self._unsent = set() if self.spool is None else set(self.spool.numbers()) - known
            self._lock.notify_all()
        self._give_all()

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._connected = False

    def _on_subscribe(self, client: Any, userdata: Any, mid: Any, reasons: Any, properties: Any) -> None:
        for reason in reasons:
            if reason.is_failure:
                self._deny(f"subscription of {self.user}: {reason}")

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        with self._lock:
            if mid in self._in_flight:
                self._acknowledged(mid, reason)
            else:
                self._early[mid] = reason
        self._give_all()

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        self.received += 1
        try:
            for topics, handler in self.handlers.items():
                if mqtt.topic_matches_sub(topics, message.topic):
                    handler(message.topic, message.payload)
        except MozartError:
            self.malformed += 1
        except Exception:  # one bad message must not end the thread that keeps the connection
            self.handler_errors += 1
            log.exception("%s: a message on %s could not be taken", self.user, message.topic)
        client.ack(message.mid, message.qos)
