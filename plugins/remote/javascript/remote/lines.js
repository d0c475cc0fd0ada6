// The log of one attempt.
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";

import { say, Unavailable } from "./link.js";

// Lines that may wait, bytes of one line, and how long the last ones may take, in ms.
const WAITING = 10_000;
const LINE_BYTES = 16 << 10;
const LAST = 10_000;

/** Takes lines, and publishes them one after the other. */
export class Lines {
  #waiting = [];
  #dropped = 0;
  #pump = Promise.resolve();

  constructor(work, driver, link, signal) {
    const { run_id: runid, step, context } = work.request;
    this.link = link;
    this.signal = signal;
    this.subjects = [`logs.${runid}`, `live.logs.${runid}.${driver}`];
    // Unique for every call, since an attempt that is made again logs again.
    this.prefix = `${runid}/${step}/${randomUUID()}`;
    this.template = { runid, driver, pipeline: context.pipeline ?? "", step };
    this.number = 0;
  }

  take(line, level = "info") {
    this.signal.throwIfAborted();
    if (this.#waiting.length >= WAITING) {
      this.#dropped += 1;
      return;
    }
    const now = new Date().toISOString();
    this.#waiting.push({ ...this.template, timestamp: now, message: cut(String(line)), level });
    if (this.#waiting.length === 1) this.#pump = this.#run();
  }

  /** Returns when all is published, or after a while: a log must not hold up the work. */
  async close() {
    if (this.#dropped > 0) say(`${this.#dropped} log lines are lost: they came too fast`);
    await Promise.race([this.#pump, pause(LAST, undefined, { ref: false })]);
  }

  async #run() {
    const [stored, live] = this.subjects;
    while (this.#waiting.length > 0) {
      const body = JSON.stringify(this.#waiting[0]);
      this.number += 1;
      await this.#publish(stored, live, body);
      this.#waiting.shift();
    }
  }

  async #publish(stored, live, body) {
    // Twice, because the connection may be lost just then; the name makes the second time harmless.
    for (const last of [false, true]) {
      try {
        await this.link.publish(stored, body, `${this.prefix}/${this.number}`, "logs");
        this.link.tell(live, body);
        return;
      } catch (error) {
        if (!(error instanceof Unavailable)) throw error;
        if (last) say(`a log line is lost: ${error.message}`);
      }
    }
  }
}

function cut(line) {
  const bytes = Buffer.from(line);
  if (bytes.length <= LINE_BYTES) return line;
  let end = LINE_BYTES;
  // Not in the middle of a character.
  while ((bytes[end] & 0xc0) === 0x80) end -= 1;
  return `${bytes.subarray(0, end)}…`;
}
