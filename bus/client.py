"""One user's connection to the broker: publishes, subscribes, comes back by itself, and loses no spooled message.

paho's own thread keeps the connection. Handlers run in it, one at a time; a message is acknowledged when its handler
has returned. What cannot be used is counted, never raised in that thread.

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

import os
import sys
import threading
import time
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
NO_SUBSCRIBER = 0x10
"""Reason code of an acknowledgement (MQTT 5.0, 3.4.2.1): nobody has subscribed, the message is gone."""


@dataclass
class Sent:
    """A message that paho has, and what the broker has answered."""

    topic: str
    qos: int
    number: int | None
    """Its number in the spool."""
    reason: Any = None


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
        self.connections = 0
        """How often the broker has taken the login."""
        self.denied: list[str] = []
        """What the broker has refused: logins, subscriptions and messages."""
        self._lock = threading.Condition()
        self._connected = False
        self._login_refused = ""
        self._in_flight: dict[int, Sent] = {}
        """What is not acknowledged yet, by paho's number."""
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
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_message, client.on_publish = self._on_message, self._on_publish
        client.on_subscribe = self._on_subscribe
        return client

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
        sent = self._send(topic, payload, None, qos, retain)
        if wait_s:
            with self._lock:
                self._lock.wait_for(lambda: sent.reason is not None, wait_s)
            if sent.reason is None or sent.reason.is_failure:
                why = sent.reason or f"no answer within {wait_s:g} s"
                raise BusError(f"the broker does not take what {self.user} says on {topic}: {why}")

    def publish_spooled(self, topic: str, payload: bytes) -> None:
        """Say something that must not be lost: it is on disk when this returns, and stays there as long as it must."""
        if self.spool is None:
            raise BusError(f"{self.user} has no spool")
        with self._spooling:
            with self._lock:
                self._forget_kept()
                self._writing = self.spool.next_number
            number = self.spool.put(topic, payload)  # waits for the disk; what else is said does not
            with self._lock:
                self._writing = None
                send = self._connected
        if send:
            self._send_unheard()
            self._send(topic, payload, number)

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

    def _send(self, topic: str, payload: str | bytes, number: int | None, qos: int = 1, retain: bool = False) -> Sent:
        """Give a message to paho. Its acknowledgement may come, in paho's thread, before its number is known here."""
        sent = Sent(topic, qos, number)
        mid = self._client.publish(topic, payload, qos, retain).mid
        with self._lock:
            self._in_flight[mid] = sent
            if mid in self._early:
                self._acknowledged(mid, self._early.pop(mid))
        return sent

    def _send_spooled(self, number: int) -> None:
        assert self.spool is not None
        try:
            topic, payload = self.spool.get(number)
        except BusError as error:
            self._deny(str(error))
        else:
            self._send(topic, payload, number)

    def _send_unheard(self) -> None:
        """Try again what nobody had subscribed to."""
        with self._lock:
            numbers = sorted(self._unheard)
            self._unheard.clear()
        for number in numbers:
            self._send_spooled(number)

    def _acknowledged(self, mid: int, reason: Any) -> None:
        """Take the broker's answer to a message; one that it refused, or had nobody for, stays in the spool."""
        sent = self._in_flight.pop(mid)
        sent.reason = reason
        if reason.is_failure:
            self._deny(f"message of {self.user} on {sent.topic}: {reason}")
            if sent.number is not None:
                self._refused.add(sent.number)
        elif sent.number is not None and reason.value == NO_SUBSCRIBER:
            self._unheard.add(sent.number)
        else:
            self.sent += 1
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
            self.spool.done(number)
            del self._kept[number]

    def _deny(self, why: str) -> None:
        with self._lock:
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
                del self._in_flight[mid]  # paho has let these go
            # paho sends again what it still had in flight; of the rest of the spool it knows nothing
            known = {sent.number for sent in self._in_flight.values()} | self._refused | {self._writing}
            again = [] if self.spool is None else [number for number in self.spool.numbers() if number not in known]
            self._lock.notify_all()
        for number in again:
            self._send_spooled(number)

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
            sys.excepthook(*sys.exc_info())
        client.ack(message.mid, message.qos)
