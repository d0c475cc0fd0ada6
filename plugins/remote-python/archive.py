"""A remote driver: keeps the resource and the results of the earlier steps of each run in a folder.

It runs anywhere that reaches the NATS server of Conveyor, and needs nats-py. Prints `ready` once it can be given work;
SIGTERM or SIGINT lets it finish the work at hand, a second one makes it give that work back.

    python3 archive.py --nats nats://127.0.0.1:4222 --name archive --resources lockfile --out archive/
"""

import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import signal
import sys
import time

import nats
import nats.errors
import nats.js.api
import nats.js.errors
import wire

STREAM = "messages"
RESULTS = "pipelines.driver.result"
# Short, so that a stop is noticed soon: a pull that is broken off could take a message along.
PULL_SECONDS = 1
RETRY_SECONDS = 0.5


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nats", default="nats://127.0.0.1:4222", metavar="URL")
    parser.add_argument("--name", default="archive", help="the name of the driver, as steps of pipelines name it")
    parser.add_argument("--resources", default="lockfile", help="the types to act on, parted by commas")
    parser.add_argument("--out", required=True, type=pathlib.Path, help="the folder to write to")
    parser.add_argument("--delay", type=float, default=0, metavar="SECONDS", help="work longer, to try out long work")
    parser.add_argument("--fail", metavar="MESSAGE", help="do nothing but fail, to try out failures")
    parser.add_argument("--ack-wait", type=float, default=30, metavar="SECONDS", help="silence until redelivery")
    options = parser.parse_args()
    try:
        options.filters = wire.filters(options.name, options.resources.split(","))
    except ValueError as error:
        parser.error(str(error))
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(Driver(options).run())


class Driver:
    """Pulls one message after the other until it is told to stop."""

    def __init__(self, options):
        self.options = options
        self.name = options.name
        self.stopping = False

    async def run(self):
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, task)
        self.connection = await nats.connect(
            self.options.nats,
            name=f"Conveyor Driver Manager - {self.name}",
            max_reconnect_attempts=-1,
            reconnect_time_wait=RETRY_SECONDS,
            error_cb=_on_error,
        )
        self.jetstream = self.connection.jetstream()
        try:
            subscription = await self._subscribe()
            if subscription:
                print("ready", flush=True)
            while not self.stopping:
                subscription = await self._pull(subscription)
        finally:
            await self.connection.close()

    def _stop(self, task):
        if self.stopping:
            task.cancel()
        self.stopping = True

    async def _subscribe(self):
        """Makes the durable consumer, or takes it up again. The stream is the server's: wait until it has made it."""
        config = nats.js.api.ConsumerConfig(
            durable_name=self.name,
            ack_policy=nats.js.api.AckPolicy.EXPLICIT,
            ack_wait=self.options.ack_wait,
            filter_subjects=self.options.filters,
        )
        told = False
        while not self.stopping:
            try:
                await self.jetstream.add_consumer(STREAM, config)
                return await self.jetstream.pull_subscribe_bind(durable=self.name, stream=STREAM)
            except (nats.errors.Error, asyncio.TimeoutError) as error:
                if not told:
                    _say(f"waiting for the stream '{STREAM}': {error!r}")
                told = True
                await asyncio.sleep(RETRY_SECONDS)
        return None

    async def _pull(self, subscription):
        """Serves at most one message. Returns the subscription to go on with."""
        try:
            messages = await subscription.fetch(1, timeout=PULL_SECONDS)
        except asyncio.TimeoutError:
            return subscription
        except nats.errors.Error as error:
            # The consumer or its server is gone: a driver that went on with the old one would be deaf for good.
            _say(f"the consumer is lost: {error!r}")
            await asyncio.sleep(RETRY_SECONDS)
            return await self._subscribe()
        for message in messages:
            await self._serve(message)
        return subscription

    async def _serve(self, message):
        try:
            work = wire.decode(message.data, self.name)
        except wire.Malformed as error:
            _say(f"a message that cannot be read is dropped: {error}")
            await message.term()
            return
        alive = asyncio.create_task(self._keep(message))
        try:
            result = await self._reconcile(work)
            # Only a result that is stored lets go of the work: a crash before that brings the message back.
            if await self._publish(work, result):
                with contextlib.suppress(nats.errors.Error, asyncio.TimeoutError):
                    await message.ack_sync()
        except asyncio.CancelledError:
            await message.nak()
            raise
        finally:
            alive.cancel()

    async def _keep(self, message):
        """Tells again and again that the work goes on, so that it is not given to another."""
        while True:
            await asyncio.sleep(self.options.ack_wait / 3)
            with contextlib.suppress(nats.errors.Error):
                await message.in_progress()

    async def _reconcile(self, work):
        resource = f"{work.resource.get('resource')} {work.resource.get('name')}"
        await self._log(work, f"archiving {resource} with {len(work.results)} earlier results, attempt {work.attempt}")
        if self.options.delay:
            await self._log(work, f"working for {self.options.delay:g} s")
            await asyncio.sleep(self.options.delay)
        if self.options.fail:
            await self._log(work, self.options.fail)
            return {"success": False, "message": self.options.fail, "data": None}
        folder = self.options.out / wire.file_name(work.run) / wire.file_name(work.step)
        try:
            files = await asyncio.to_thread(write, folder, work)
        except OSError as error:
            await self._log(work, f"cannot write: {error}")
            return {"success": False, "message": f"cannot write the archive: {error}", "data": None}
        message = f"{len(files)} files archived"
        await self._log(work, message)
        return {"success": True, "message": message, "data": {"folder": str(folder), "files": files}}

    async def _publish(self, work, result):
        """Whether the result is stored. The message id makes a second publication of it harmless."""
        event = wire.result_event(work, self.name, result)
        headers = {"Nats-Msg-Id": f"{work.name}/result"}
        while True:
            try:
                await self.jetstream.publish(RESULTS, event, headers=headers)
                return True
            except (nats.errors.Error, asyncio.TimeoutError) as error:
                _say(f"the result of {work.name} is not stored yet: {error!r}")
                if self.stopping:
                    return False
                await asyncio.sleep(RETRY_SECONDS)

    async def _log(self, work, text):
        """Logs are worth having but not worth failing for."""
        line = wire.log_line(work, self.name, text, time.time())
        try:
            await self.connection.publish(f"live.logs.{work.run}.{self.name}", line)
            await self.jetstream.publish(f"logs.{work.run}", line)
        except (nats.errors.Error, asyncio.TimeoutError) as error:
            _say(f"a log line is lost ({error!r}): {text}")


def write(folder, work):
    """Writes what is to be kept, and returns the names of the files. Writing it again gives the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {"resource.json": _pretty(work.resource)}
    for step, result in work.results.items():
        contents[f"result-{wire.file_name(step)}.json"] = _pretty(result)
        data = result.get("data") if isinstance(result, dict) else None
        # The report is for people: it is worth a file that they can open.
        if isinstance(data, dict) and isinstance(data.get("markdown"), str):
            contents[f"{wire.file_name(step)}.md"] = data["markdown"]
    for name, text in contents.items():
        # Renamed when whole, so that nobody ever reads half a file.
        part = folder / f".{name}.part"
        part.write_text(text, encoding="utf-8")
        os.replace(part, folder / name)
    return sorted(contents)


def _pretty(value):
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


async def _on_error(error):
    _say(f"connection: {error!r}")


def _say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
