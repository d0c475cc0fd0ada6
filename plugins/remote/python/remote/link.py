"""The way to NATS: the connection, the driver's place, one message at a time, and requests that are answered."""

import asyncio
import contextlib
import dataclasses
import importlib.util
import json
import os
import ssl
import sys
import time

import nats
import nats.errors

from . import wire

# Seconds: of a request for a message, of the signs of life in it, of any other request, and the pauses before something is
# tried again.
EXPIRES, HEARTBEAT, REQUEST, RETRY, RETRY_CAP = 20, 5, 5, 0.25, 5


class Unavailable(Exception):
    """NATS, its stream or the server does not do now what is asked of it."""


class TooLarge(Unavailable):
    """NATS takes no message of this size."""


@dataclasses.dataclass(frozen=True)
class Bounds:
    """The table `remote` of Conveyor's configuration."""

    ack_wait_ms: int = 10_000
    in_flight: int = 1_000
    stop_ms: int = 30_000
    result_bytes: int = 512 << 10


@dataclasses.dataclass(frozen=True)
class Access:
    """Files that say who we are, and who signed the certificates of NATS. User and password may stand in the address."""

    credentials: str = None
    ca: str = None
    certificate: str = None
    key: str = None

    def tls(self, servers):
        """The context of TLS, if that is a must."""
        if not (self.ca or self.certificate or any(server.startswith("tls:") for server in servers)):
            return None
        context = ssl.create_default_context()
        for file, load in [(self.ca, context.load_verify_locations), (self.certificate, self._own(context))]:
            try:
                if file:
                    load(file)
            except OSError as error:
                raise ValueError(f"{file} cannot be used: {error}") from error
        return context

    def _own(self, context):
        return lambda certificate: context.load_cert_chain(certificate, self.key)


class Link:
    """A connection that comes back by itself, with the driver's place. `stopping` ends all waiting."""

    def __init__(self, name, servers, access, place):
        self._name, self._servers, self._access, self._place = name, servers, access, place
        self._tls = access.tls(servers)
        if access.credentials and not importlib.util.find_spec("nkeys"):
            raise ValueError("credentials need the package nkeys: pip install nats-py[nkeys]")
        if access.credentials and not os.access(access.credentials, os.R_OK):
            raise ValueError(f"{access.credentials} cannot be read")
        self._asserted, self._told = False, None
        self.stopping, self._lost, self._turn = asyncio.Event(), asyncio.Event(), asyncio.Lock()

    async def connect(self, on_cancel):
        """Waits for a server."""
        self._nats = await nats.connect(
            self._servers,
            name=f"Conveyor driver {self._name}",
            tls=self._tls,
            user_credentials=self._access.credentials,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RETRY,
            # A server that hangs is noticed within 15 s.
            ping_interval=5,
            max_outstanding_pings=2,
            error_cb=self._wrong,
            disconnected_cb=self._away,
            reconnected_cb=self._back,
            closed_cb=self._closed,
        )
        await self._back()
        await self._nats.subscribe(f"control.cancel.{self._name}", cb=on_cancel)

    async def close(self):
        """Ends the connection once all is sent, and tells whether it had ended by itself."""
        if self._nats.is_closed:
            raise Unavailable(f"NATS ended the connection for good: {self._nats.last_error}")
        with contextlib.suppress(nats.errors.Error, asyncio.TimeoutError):
            await self._nats.flush(timeout=REQUEST)
        await self._nats.close()

    async def _wrong(self, error):
        # While a server is away the same is told several times a second.
        self._say(f"NATS: {error or type(error).__name__}")

    async def _away(self):
        self._asserted = False
        self._lost.set()

    async def _back(self):
        self._lost.set()
        # The client takes TLS only where the server asks for it, and tells nobody whether it did.
        if self._tls and not self._nats._server_info.get("tls_required"):
            say("the server has no TLS, although it is a must")
            await self._nats.close()

    async def _closed(self):
        self.stopping.set()

    async def pause(self, seconds):
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)

    async def assert_place(self):
        """Makes the durable consumer, or takes it up again, as soon as the server has made the stream."""
        pause = RETRY
        async with self._turn:
            while not self._asserted and not self.stopping.is_set():
                self._lost.clear()
                try:
                    await self._ask(f"$JS.API.CONSUMER.CREATE.{wire.STREAM}.{self._name}", json.dumps(self._place).encode())
                    self._asserted, self._told = not self._lost.is_set(), None
                except Unavailable as error:
                    self._say(f"there is no place for the driver {self._name} yet: {error}")
                    await self.pause(pause)
                    pause = min(pause * 2, RETRY_CAP)

    async def pull(self):
        """Asks for one message and waits for it; None if the request has ended without."""
        await self.assert_place()
        answer = asyncio.get_running_loop().create_future()
        heard = time.monotonic()

        async def hear(message):
            nonlocal heard
            heard = time.monotonic()
            status = (message.headers or {}).get("Status")
            if status != "100" and not answer.done():
                answer.set_result(message)
            elif not status:
                # We had given up on it: another instance may have it at once.
                await message.nak()

        try:
            inbox = self._nats.new_inbox()
            subscription = await self._nats.subscribe(inbox, cb=hear)
            body = {"batch": 1, "expires": int(EXPIRES * 1e9), "idle_heartbeat": int(HEARTBEAT * 1e9)}
            subject = f"$JS.API.CONSUMER.MSG.NEXT.{wire.STREAM}.{self._name}"
            await self._nats.publish(subject, json.dumps(body).encode(), reply=inbox)
            ends = [asyncio.create_task(event.wait()) for event in (self.stopping, self._lost)]
            while not answer.done() and not any(end.done() for end in ends):
                await asyncio.wait({answer, *ends}, timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)
                if not answer.done() and time.monotonic() - heard > HEARTBEAT * 2:
                    self._doubt("the server is silent")
                    break
            for end in ends:
                end.cancel()
            given_up = not answer.done() and answer.cancel()
            # What is on its way to us while we stop still comes to `hear`.
            await (subscription.drain() if given_up and self.stopping.is_set() else subscription.unsubscribe())
        except (nats.errors.Error, asyncio.TimeoutError) as error:
            self._doubt(error)
            await self.pause(RETRY)
            return None
        if given_up:
            return None
        headers = answer.result().headers or {}
        if "Status" not in headers:
            return answer.result()
        # Of its age a request ends as it should; else something happened to the place.
        if headers["Status"] not in ("404", "408"):
            self._doubt(f"{headers['Status']} {headers.get('Description', '')}")
            await self.pause(RETRY)
        return None

    def _doubt(self, why):
        self._say(f"asking for messages anew: {why}")
        self._asserted = False

    async def publish(self, subject, body, name, stream):
        """Publishes to a stream and waits until it has stored the message; its name makes a second time harmless."""
        await self._ask(subject, body, {"Nats-Msg-Id": name, "Nats-Expected-Stream": stream})

    async def tell(self, subject, body):
        """Tells whoever listens at this moment."""
        with contextlib.suppress(nats.errors.Error):
            await self._nats.publish(subject, body)

    async def answer(self, send):
        """Answers a delivery. If that is lost, the message comes again by itself."""
        with contextlib.suppress(nats.errors.Error):
            await send

    async def _ask(self, subject, body, headers=None):
        """A request to JetStream, which must not answer an error."""
        try:
            answer = await self._nats.request(subject, body, timeout=REQUEST, headers=headers)
            error = json.loads(answer.data).get("error")
        except nats.errors.MaxPayloadError as error:
            raise TooLarge(str(error)) from error
        except nats.errors.NoRespondersError as error:
            raise Unavailable("the server has no JetStream or not the stream, or it is still starting") from error
        except (nats.errors.Error, asyncio.TimeoutError, ValueError, AttributeError) as error:
            raise Unavailable(f"NATS does not answer: {error!r}") from error
        if error:
            raise Unavailable(f"{error.get('description')} ({error.get('err_code')})")

    def _say(self, text):
        if text != self._told:
            self._told = text
            say(text)


def say(text):
    print(text, file=sys.stderr, flush=True)
