// Takes steps, calls the function, and reports. Acknowledges a step only when its result is acknowledged.
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { Lines } from "./lines.js";
import { Link, RETRY, say, TooLarge, Unavailable } from "./link.js";
import { consumer, decode, failed, failureOf, filters, identify, Malformed, outcome, RESULTS, resultEvent, Retryable } from "./wire.js";

export const BOUNDS = { ack_wait_ms: 10_000, in_flight: 1_000, stop_ms: 30_000, result_bytes: 512 << 10 };

// In ms: until a result that cannot be published is given up, and until a large result of an earlier step must have come.
const OFFER = 60_000;
const FETCH = 30_000;
// Deliveries that are remembered as done: more than can be on their way again at one time.
const REMEMBERED = 1_024;

/** Works until it is stopped. It asks for a message only when it can begin it, so that instances share the work. */
export class Driver {
  #underWay = new Set();
  #done = new Set();
  #attempts = new Map();

  constructor(name, resources, reconcile, { servers, access, api, concurrency = 1, bounds } = {}) {
    this.name = name;
    this.reconcile = reconcile;
    this.api = api?.replace(/\/+$/, "");
    this.concurrency = concurrency;
    this.bounds = { ...BOUNDS, ...bounds };
    const inFlight = Math.max(this.bounds.in_flight, concurrency);
    const place = consumer(name, filters(name, resources), this.bounds.ack_wait_ms, inFlight);
    this.link = new Link(name, servers ?? ["nats://127.0.0.1:4222"], access ?? {}, place);
  }

  async run(ready = () => {}) {
    const stopped = new Promise((resolve) => this.link.stopping.addEventListener("abort", () => resolve("stopped")));
    if ((await Promise.race([this.link.connect((data) => this.#cancel(data)), stopped])) === "stopped") return;
    await this.link.assertPlace();
    ready();
    const slots = Promise.all(Array.from({ length: this.concurrency }, () => this.#slot()));
    await Promise.race([slots, stopped]);
    this.stop();
    const late = sleep(this.bounds.stop_ms, "late");
    if ((await Promise.race([slots, late])) === "late") {
      say("what did not end in time is given back");
      for (const { message } of this.#attempts.values()) this.link.answer(message, "-NAK");
    }
    await this.link.close();
  }

  stop() {
    this.link.stop();
  }

  async #slot() {
    while (!this.link.stopping.aborted) {
      const message = await this.link.pull();
      if (message) await this.#take(message);
    }
  }

  /** Serves a delivery, unless this process has it in hand already or is done with it. */
  async #take(message) {
    const delivery = identify(message.reply);
    if (this.#done.has(delivery)) return this.link.answer(message, "+ACK");
    if (this.#underWay.has(delivery)) return;
    this.#underWay.add(delivery);
    try {
      if (!(await this.#serve(message))) return;
      this.#done.add(delivery);
      // A set remembers the order.
      if (this.#done.size > REMEMBERED) this.#done.delete(this.#done.values().next().value);
    } finally {
      this.#underWay.delete(delivery);
    }
  }

  /** Whether nothing is left to do about the message. */
  async #serve(message) {
    let work;
    try {
      work = decode(message.data, this.name);
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      say(`a message that cannot be read is dropped: ${error.message}`);
      this.link.answer(message, "+ACK");
      return true;
    }
    // Said again and again, so that the work is not given to another instance.
    const alive = setInterval(() => this.link.answer(message, "+WPI"), this.bounds.ack_wait_ms / 3);
    const unwanted = new AbortController();
    this.#attempts.set(work.name, { unwanted, message });
    try {
      const result = await this.#attempt(work, unwanted.signal);
      const done = unwanted.signal.aborted || (await this.#report(work, result));
      this.link.answer(message, done ? "+ACK" : '-NAK {"delay": 1000000000}');
      return done;
    } finally {
      this.#attempts.delete(work.name);
      clearInterval(alive);
    }
  }

  #cancel(data) {
    try {
      const { run_id: run, step, attempt } = JSON.parse(new TextDecoder().decode(data));
      const reason = new Error("nobody wants the attempt any more");
      this.#attempts.get(`${run}/${step}/${attempt}`)?.unwanted.abort(reason);
    } catch {
      // Who sends something else here gets no answer in any case.
    }
  }

  async #attempt(work, signal) {
    const lines = new Lines(work, this.name, this.link, signal);
    const log = (line, level) => lines.take(line, level);
    try {
      await this.#whole(work.request.context.results ?? {});
      // It is not of JSON, as the rest of the request is.
      Object.defineProperty(work.request, "signal", { value: signal, enumerable: false });
      return outcome(await this.reconcile(work.request, log), this.bounds.result_bytes);
    } catch (error) {
      // Whatever it is, it fails this attempt and nothing else. What nobody expected is for the author, who needs to know
      // where it was.
      if (!error?.failure && !signal.aborted) lines.take(String(error?.stack ?? error), "debug");
      return failureOf(error);
    } finally {
      // The log is complete before the result can end the run.
      await lines.close();
    }
  }

  /** Puts large results of earlier steps in their place; nobody having told of the API, they stay references. */
  async #whole(results) {
    for (const [step, result] of Object.entries(results)) {
      if (!this.api || !result.blob) continue;
      try {
        result.data = await fetched(`${this.api}/results/${result.blob.digest}`, result.blob.digest);
        delete result.blob;
      } catch (error) {
        throw new Retryable(`the result of step "${step}" cannot be read: ${error.message}`);
      }
    }
  }

  /** Publishes the result, again and again while it is not taken; whether it is acknowledged. */
  async #report(work, result) {
    for (const until = Date.now() + OFFER; ; ) {
      try {
        await this.link.publish(RESULTS, resultEvent(work, this.name, result), `${work.name}/result`, "pipeline");
        return true;
      } catch (error) {
        if (error instanceof TooLarge) {
          result = failed(`the result cannot be published: ${error.message}`);
        } else if (!(error instanceof Unavailable) || Date.now() > until) {
          say(`the result of ${work.name} cannot be published, so its step is given back: ${error.message}`);
          return false;
        } else {
          await sleep(RETRY);
        }
      }
    }
  }
}

async function fetched(address, digest) {
  const answer = await fetch(address, { signal: AbortSignal.timeout(FETCH) });
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  const bytes = Buffer.from(await answer.arrayBuffer());
  if (digest !== `sha256:${createHash("sha256").update(bytes).digest("hex")}`) throw new Error(`${digest} is damaged`);
  return JSON.parse(bytes);
}
