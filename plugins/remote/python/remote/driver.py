"""Takes steps, calls the function, and reports. Acknowledges a step only when its result is acknowledged."""

import asyncio
import collections
import concurrent.futures
import hashlib
import inspect
import json
import time
import traceback
import urllib.request

from . import wire
from .lines import Cancelled, Lines
from .link import RETRY, Access, Bounds, Link, TooLarge, Unavailable, say

# Seconds until a result that cannot be published is given up, and until a large result of an earlier step must have come.
OFFER, FETCH = 60, 30
# Deliveries that are remembered as done: more than can be on their way again at one time.
REMEMBERED = 1_024


class Driver:
    """Works until it is stopped. It asks for a message only when it can begin it, so that instances share the work."""

    def __init__(self, name, resources, reconcile, *, servers=None, access=None, api=None, concurrency=1, bounds=None):
        """Raises ValueError if something cannot be used."""
        self.name, self._reconcile, self._api = name, reconcile, api
        self._concurrency, self._bounds = max(concurrency, 1), bounds or Bounds()
        subjects = wire.filters(name, resources)
        in_flight = max(self._bounds.in_flight, self._concurrency)
        place = wire.consumer(name, subjects, self._bounds.ack_wait_ms, in_flight)
        self._link = Link(name, servers or ["nats://127.0.0.1:4222"], access or Access(), place)
        self._under_way, self._done, self._jobs = set(), collections.OrderedDict(), {}

    async def run(self, ready=lambda: None):
        """Connects and works; calls `ready` when steps reach it. A server that is away is waited for."""
        self._threads = concurrent.futures.ThreadPoolExecutor(self._concurrency, thread_name_prefix=self.name)
        stopping = asyncio.create_task(self._link.stopping.wait())
        connecting = asyncio.create_task(self._link.connect(self._on_cancel))
        await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not connecting.done():
            connecting.cancel()
            return
        connecting.result()
        await self._link.assert_place()
        ready()
        slots = [asyncio.create_task(self._slot()) for _ in range(self._concurrency)]
        await asyncio.wait({*slots, stopping}, return_when=asyncio.FIRST_COMPLETED)
        self.stop()
        _, late = await asyncio.wait(slots, timeout=self._bounds.stop_ms / 1000)
        for slot in late:
            say("an attempt that did not end in time is given back")
            slot.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        await self._link.close()
        for slot in slots:
            if not slot.cancelled():
                slot.result()

    def stop(self):
        """Takes no more work; what is under way may end within `stop_ms`."""
        self._link.stopping.set()

    async def _slot(self):
        while not self._link.stopping.is_set():
            message = await self._link.pull()
            if message:
                await self._take(message)

    async def _take(self, message):
        """Serves a delivery, unless this process has it in hand already or is done with it."""
        delivery = wire.identify(message.reply)
        if delivery in self._done:
            await self._link.answer(message.ack())
        elif delivery not in self._under_way:
            self._under_way.add(delivery)
            try:
                if await self._serve(message):
                    self._done[delivery] = True
                    if len(self._done) > REMEMBERED:
                        self._done.popitem(last=False)
            finally:
                self._under_way.discard(delivery)

    async def _serve(self, message):
        """Whether nothing is left to do about the message."""
        try:
            work = wire.decode(message.data, self.name)
        except wire.Malformed as error:
            say(f"a message that cannot be read is dropped: {error}")
            await self._link.answer(message.ack())
            return True
        alive = asyncio.create_task(self._keep(message))
        job = self._jobs[work.name] = asyncio.create_task(self._attempt(work))
        try:
            await asyncio.wait({job})
            # A cancelled one is as good as done; any other is done when its result is acknowledged.
            done = job.cancelled() or await self._report(work, job.result())
        except asyncio.CancelledError:
            job.cancel()
            await self._link.answer(message.nak())
            raise
        finally:
            del self._jobs[work.name]
            alive.cancel()
        await self._link.answer(message.ack() if done else message.nak(delay=1))
        return done

    async def _keep(self, message):
        """Says again and again that the work goes on, so that it is not given to another instance."""
        while True:
            await asyncio.sleep(self._bounds.ack_wait_ms / 3000)
            await self._link.answer(message.in_progress())

    async def _on_cancel(self, message):
        try:
            said = json.loads(message.data)
            job = self._jobs.get(f"{said['run_id']}/{said['step']}/{said['attempt']}")
        except (ValueError, TypeError, KeyError):
            return
        if job:
            job.cancel()

    async def _attempt(self, work):
        """The result of one call. Cancelled, it ends when the function has ended."""
        lines = Lines(work, self.name, self._link)
        try:
            await self._whole(work.request["context"].get("results") or {})
            return wire.outcome(await self._call(work.request, lines), self._bounds.result_bytes)
        except Exception as error:
            # Whatever it is, it fails this attempt and nothing else.
            if not hasattr(error, "failure"):
                # What nobody expected is for the author, who needs to know where it was.
                lines("".join(traceback.format_exception(error)), "debug")
            return wire.failure_of(error)
        finally:
            # The log is complete before the result can end the run.
            await lines.close()

    async def _call(self, request, lines):
        if inspect.iscoroutinefunction(self._reconcile):
            return await self._reconcile(request, lines)
        # On a thread, so that signs of life go on.
        thread = asyncio.get_running_loop().run_in_executor(self._threads, guarded, self._reconcile, request, lines)
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            lines.cancelled = True
            await asyncio.wait({thread})
            # Asked for, so that nobody misses it.
            thread.exception()
            raise

    async def _whole(self, results):
        """Puts large results of earlier steps in their place; nobody having told of the API, they stay references."""
        for step, result in results.items():
            if self._api and result.get("blob"):
                try:
                    result["data"] = await asyncio.to_thread(fetch, self._api, result.pop("blob")["digest"])
                except (OSError, ValueError) as error:
                    raise wire.Retryable(f'the result of step "{step}" cannot be read: {error}') from error

    async def _report(self, work, result):
        """Publishes the result, again and again while it is not taken; whether it is acknowledged."""
        until = time.monotonic() + OFFER
        while True:
            try:
                event = wire.result_event(work, self.name, result)
                await self._link.publish(wire.RESULTS, event, f"{work.name}/result", "pipeline")
                return True
            except TooLarge as error:
                result = wire.failed(f"the result cannot be published: {error}")
            except Unavailable as error:
                if time.monotonic() > until:
                    say(f"the result of {work.name} cannot be published, so its step is given back: {error}")
                    return False
                await asyncio.sleep(RETRY)


def guarded(reconcile, request, lines):
    try:
        return reconcile(request, lines)
    except Cancelled:
        # Nobody looks at what it says.
        return None


def fetch(api, digest):
    with urllib.request.urlopen(f"{api.rstrip('/')}/results/{digest}", timeout=FETCH) as answer:
        text = answer.read()
    if digest != f"sha256:{hashlib.sha256(text).hexdigest()}":
        raise ValueError(f"what lies at {digest} is damaged")
    return json.loads(text)
