// The way to NATS: the connection, the driver's place, one message at a time, and requests that are answered.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { rootCertificates } from "node:tls";

import {
  connect,
  createInbox,
  credsAuthenticator,
  headers,
  tokenAuthenticator,
  usernamePasswordAuthenticator,
} from "@nats-io/transport-node";

import { STREAM } from "./wire.js";

// In ms: of a request for a message, of the signs of life in it, of any other request, and the pauses before something is
// tried again.
const EXPIRES = 20_000;
const HEARTBEAT = 5_000;
const REQUEST = 5_000;
export const RETRY = 250;
const RETRY_CAP = 5_000;

/** NATS, its stream or the server does not do now what is asked of it. */
export class Unavailable extends Error {}

/** NATS takes no message of this size. */
export class TooLarge extends Unavailable {}

/** A connection that comes back by itself, with the driver's place. `stopping` ends all waiting. */
export class Link {
  #stopping = new AbortController();
  // Aborted when the connection is lost; another one with each connection.
  #lost = new AbortController();
  // Aborted when the connection is back.
  #away = new AbortController();
  #asserted = false;
  #asserting;
  #told;

  constructor(name, servers, access, place) {
    this.name = name;
    this.place = place;
    this.options = options(servers, access);
  }

  get stopping() {
    return this.#stopping.signal;
  }

  stop() {
    this.#stopping.abort();
  }

  /** Waits for a server. */
  async connect(onCancel) {
    // The client says nothing of a first connection that fails, and tries on.
    const waiting = setTimeout(() => say(`there is no connection to NATS at ${this.options.servers} yet`), REQUEST);
    this.nats = await connect({ ...this.options, name: `Conveyor driver ${this.name}` });
    clearTimeout(waiting);
    this.#away.abort();
    this.#follow();
    this.nats.subscribe(`control.cancel.${this.name}`, { callback: (error, message) => error || onCancel(message.data) });
  }

  async #follow() {
    for await (const status of this.nats.status()) {
      if (status.type === "disconnect") {
        this.#asserted = false;
        this.#away = new AbortController();
        this.#lost.abort();
        this.#say("the connection to NATS is lost");
      } else if (status.type === "reconnect") {
        this.#lost = new AbortController();
        this.#away.abort();
          } else if (status.type === "error") {
        this.#say(`NATS: ${status.error?.message}`);
      }
    }
    this.stop();
  }

  /** Ends the connection once all is sent. */
  async close() {
    if (this.nats.isClosed()) throw new Unavailable(`NATS ended the connection for good: ${await this.nats.closed()}`);
    await Promise.race([this.nats.flush().catch(() => {}), sleep(REQUEST)]);
    await this.nats.close();
  }

  /** Ends early when everything stops. */
  async pause(ms) {
    await sleep(ms, undefined, { signal: this.stopping }).catch(() => {});
  }

  /** Makes the durable consumer, or takes it up again, as soon as the server has made the stream. */
  assertPlace() {
    this.#asserting ??= this.#assert().finally(() => (this.#asserting = undefined));
    return this.#asserting;
  }

  async #assert() {
    for (let pause = RETRY; !this.#asserted && !this.stopping.aborted; pause = Math.min(pause * 2, RETRY_CAP)) {
      try {
        await this.#ask(`$JS.API.CONSUMER.CREATE.${STREAM}.${this.name}`, JSON.stringify(this.place));
        this.#asserted = true;
        this.#told = undefined;
      } catch (error) {
        if (!(error instanceof Unavailable)) throw error;
        this.#say(`there is no place for the driver ${this.name} yet: ${error.message}`);
        await this.pause(pause);
      }
    }
  }

  /** Asks for one message and waits for it; undefined if the request has ended without. */
  async pull() {
    await this.assertPlace();
    if (!this.#asserted || this.stopping.aborted) return undefined;
    let [heard, settled] = [Date.now(), false];
    const inbox = createInbox();
    const { message, subscription } = await new Promise((resolve) => {
      const settle = (message) => {
        settled = true;
        clearInterval(watch);
        for (const signal of ends) signal.removeEventListener("abort", none);
        resolve({ message, subscription });
      };
      const none = () => settle(undefined);
      const hear = (error, message) => {
        heard = Date.now();
        const code = message?.headers?.code;
        if (!error && code !== 100 && !settled) settle(message);
        // We had given up on it: another instance may have it at once.
        else if (!error && !code) this.answer(message, "-NAK");
      };
      const watch = setInterval(() => {
        if (Date.now() - heard <= HEARTBEAT * 2) return;
        this.#doubt("the server is silent");
        none();
      }, HEARTBEAT);
      const subscription = this.nats.subscribe(inbox, { callback: hear });
      const body = { batch: 1, expires: EXPIRES * 1e6, idle_heartbeat: HEARTBEAT * 1e6 };
      const subject = `$JS.API.CONSUMER.MSG.NEXT.${STREAM}.${this.name}`;
      this.nats.publish(subject, JSON.stringify(body), { reply: inbox });
      const ends = [this.stopping, this.#lost.signal];
      for (const signal of ends) signal.addEventListener("abort", none);
      if (ends.some((signal) => signal.aborted)) none();
    });
    if (!message && this.stopping.aborted && !this.nats.isClosed()) {
      // What is on its way to us still comes to `hear`.
      await Promise.race([subscription.drain().catch(() => {}), sleep(REQUEST)]);
    } else {
      subscription.unsubscribe();
    }
    const code = message?.headers?.code;
    if (!code) return message;
    // Of its age a request ends as it should; else something happened to the place.
    if (code !== 404 && code !== 408) {
      this.#doubt(`${code} ${message.headers.description}`);
      await this.pause(RETRY);
    }
    return undefined;
  }

  #doubt(why) {
    this.#say(`asking for messages anew: ${why}`);
    this.#asserted = false;
  }

  /** Publishes to a stream and waits until it has stored the message; its name makes a second time harmless. */
  async publish(subject, body, name, stream) {
    const head = headers();
    head.set("Nats-Msg-Id", name);
    head.set("Nats-Expected-Stream", stream);
    await this.#ask(subject, body, head);
  }

  /** Tells whoever listens at this moment. */
  tell(subject, body) {
    if (!this.nats.isClosed()) this.nats.publish(subject, body);
  }

  /** Answers a delivery. If that is lost, the message comes again by itself. */
  answer(message, what) {
    this.tell(message.reply, what);
  }

  /** A request to JetStream, which must not answer an error. */
  async #ask(subject, body, head) {
    const [size, most] = [Buffer.byteLength(body), this.nats.info?.max_payload ?? 1 << 20];
    // Room for what stands before it.
    if (size > most - 1_024) throw new TooLarge(`the message has ${size} bytes, and NATS takes ${most}`);
    // What is said while the connection is away, the client throws away.
    if (!this.#away.signal.aborted) await sleep(REQUEST, undefined, { signal: this.#away.signal }).catch(() => {});
    let answer;
    try {
      const asked = this.nats.request(subject, body, { timeout: REQUEST, headers: head });
      answer = (await unless(this.#lost.signal, asked)).json();
    } catch (error) {
      throw new Unavailable(`NATS does not answer, or has no such stream yet: ${error.message}`);
    }
    if (answer.error) throw new Unavailable(`${answer.error.description} (${answer.error.err_code})`);
  }

  #say(text) {
    if (text !== this.#told) say(text);
    this.#told = text;
  }
}

/** What the client needs to know. User and password, or a token, may stand in an address, where it does not look. */
function options(servers, access) {
  const read = (file) => {
    try {
      return readFileSync(file);
    } catch (error) {
      throw new RangeError(`${file} cannot be used: ${error.message}`);
    }
  };
  const addresses = servers.map((server) => {
    const text = server.includes("://") ? server : `nats://${server}`;
    if (!URL.canParse(text)) throw new RangeError("an address of a NATS server cannot be read");
    return new URL(text);
  });
  const known = addresses.find((address) => address.username);
  const [user, password] = [known?.username, known?.password].map((text) => decodeURIComponent(text ?? ""));
  const authenticators = [];
  if (known) authenticators.push(password ? usernamePasswordAuthenticator(user, password) : tokenAuthenticator(user));
  if (access.credentials) authenticators.push(credsAuthenticator(read(access.credentials)));
  const must = access.ca || access.certificate || addresses.some((address) => address.protocol === "tls:");
  const tls = {
    ...(access.ca && { ca: [...rootCertificates, read(access.ca).toString()] }),
    ...(access.certificate && { cert: read(access.certificate).toString(), key: read(access.key).toString() }),
  };
  return {
    servers: addresses.map((address) => address.host),
    ...(authenticators.length > 0 && { authenticator: authenticators }),
    ...(must && { tls }),
    waitOnFirstConnect: true,
    maxReconnectAttempts: -1,
    reconnectTimeWait: RETRY,
    // A server that hangs is noticed within 15 s.
    pingInterval: 5_000,
    maxPingOut: 2,
  };
}

/** What the work gives, unless the signal comes before. */
async function unless(signal, work) {
  let reject;
  const broken = new Promise((_, no) => (reject = () => no(new Error("the connection is lost"))));
  signal.addEventListener("abort", reject);
  if (signal.aborted) reject();
  try {
    return await Promise.race([work, broken]);
  } finally {
    signal.removeEventListener("abort", reject);
  }
}

export function say(text) {
  console.error(text);
}
