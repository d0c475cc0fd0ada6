"""The log of one attempt."""

import asyncio
import datetime
import json
import threading
import uuid

from .link import Unavailable, say

# Lines that may wait, bytes of one line, and how many seconds the last ones may take.
WAITING, LINE_BYTES, LAST = 10_000, 16 << 10, 10


class Cancelled(BaseException):
    """Nobody wants the attempt's result any more."""


class Lines:
    """Takes lines from any thread, and publishes them one after the other."""

    def __init__(self, work, driver, link):
        self.cancelled = False
        self._loop, self._thread, self._link = asyncio.get_running_loop(), threading.get_ident(), link
        self._waiting, self._dropped = asyncio.Queue(), 0
        self._subjects = (f"logs.{work.run}", f"live.logs.{work.run}.{driver}")
        # Unique for every call, since an attempt that is made again logs again.
        self._prefix = f"{work.run}/{work.step}/{uuid.uuid4().hex}"
        pipeline = work.request["context"].get("pipeline") or ""
        self._template = {"runid": work.run, "driver": driver, "pipeline": pipeline, "step": work.step}
        self._pump = asyncio.create_task(self._run())

    def __call__(self, line, level="info"):
        if self.cancelled:
            raise Cancelled
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        record = {**self._template, "timestamp": now, "message": cut(str(line)), "level": level}
        if threading.get_ident() == self._thread:
            self._take(record)
        else:
            self._loop.call_soon_threadsafe(self._take, record)

    def _take(self, record):
        if self._waiting.qsize() < WAITING:
            self._waiting.put_nowait(record)
        else:
            self._dropped += 1

    async def close(self):
        """Returns when all is published, or after a while: a log must not hold up the work."""
        if self._dropped:
            say(f"{self._dropped} log lines are lost: they came too fast")
        self._waiting.put_nowait(None)
        await asyncio.wait({self._pump}, timeout=LAST)
        self._pump.cancel()

    async def _run(self):
        number, (stored, live) = 0, self._subjects
        while (record := await self._waiting.get()) is not None:
            number += 1
            body = json.dumps(record).encode()
            # Twice, because the connection may be lost just then; the name makes the second time harmless.
            for last in (False, True):
                try:
                    await self._link.publish(stored, body, f"{self._prefix}/{number}", "logs")
                    await self._link.tell(live, body)
                    break
                except Unavailable as error:
                    if last:
                        say(f"a log line is lost: {error}")


def cut(line):
    encoded = line.encode(errors="replace")
    return line if len(encoded) <= LINE_BYTES else encoded[:LINE_BYTES].decode(errors="ignore") + "…"
