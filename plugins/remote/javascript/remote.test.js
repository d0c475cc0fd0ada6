// Run with `node --test` where @nats-io/transport-node is installed; needs no server.
import assert from "node:assert/strict";
import test from "node:test";

import { bounds } from "./remote/command.js";
import { Driver, Permanent, Retryable, Unavailable } from "./remote/index.js";
import { Lines } from "./remote/lines.js";
import { decode, failed, failureOf, identify, Malformed, outcome, resultEvent } from "./remote/wire.js";

const METADATA = { version: "3", "conveyor.run": "r1", "conveyor.step": "ship", "conveyor.attempt": "2" };
const RESOURCE = { id: "i", name: "app", resource: "app", metadata: { ...METADATA, "driverresults.a": "{}" }, spec: { a: 1 } };

function message(changes) {
  const whole = { event: "update", payload: JSON.stringify(RESOURCE), run_id: "r1", step: "ship", attempt: 2, ...changes };
  return Buffer.from(JSON.stringify(whole));
}

test("a message becomes a request, and its resource goes back", () => {
  const work = decode(message(), "far");
  assert.equal(work.name, "r1/ship/2");
  assert.deepEqual(work.request.resource, { ...RESOURCE, metadata: { version: "3" } });
  const event = JSON.parse(resultEvent(work, "far", failed("no")));
  assert.deepEqual(event.driverresult, { success: false, message: "no", data: null, driver: "far" });
  assert.deepEqual(event.resource.metadata, METADATA);
  assert.equal(decode(message({ step: "*" }), "far").name, "r1/far/2");
  for (const wrong of [Buffer.from(""), Buffer.from("[]"), message({ payload: {} }), message({ run_id: "a.b" })]) {
    assert.throws(() => decode(wrong, "far"), Malformed);
  }
});

test("what a function says, and the errors that it throws", () => {
  assert.deepEqual(outcome({ success: true, message: "é", data: 1 }, 3), { success: true, message: "é", data: 1 });
  assert.match(outcome({ success: true, message: "é", data: 1 }, 2).message, /remote\.result_bytes/);
  for (const wrong of [undefined, {}, { success: true, data: 1n }]) {
    assert.deepEqual(outcome(wrong, 99).data, { failure: "permanent" });
  }
  const foreign = Object.assign(new Error("b"), { failure: "permanent" });
  const kinds = [new Retryable("a"), new Permanent("a"), foreign, "text"].map((error) => failureOf(error).data.failure);
  assert.deepEqual(kinds, ["retryable", "permanent", "permanent", "retryable"]);
});

test("deliveries are told apart", () => {
  assert.equal(identify("$JS.ACK.messages.far.2.7.9.1700.0"), "7@1700");
  assert.equal(identify("$JS.ACK.hub.hash.messages.far.1.7.8.1700.0.x"), "7@1700");
  assert.equal(identify("_INBOX.a.b"), "");
});

test("wrong settings are named", () => {
  for (const [name, resources, told] of [["a.b", ["app"], /a\.b/], ["a", ["*"], /\*/], ["a", [], /no type/]]) {
    assert.throws(() => new Driver(name, resources, () => {}), told);
  }
  assert.throws(() => bounds({ CONVEYOR_REMOTE__STOP_MS: "soon" }), /CONVEYOR_REMOTE__STOP_MS is "soon"/);
  assert.throws(() => new Driver("a", ["app"], () => {}, { access: { ca: "/no/such.pem" } }), /\/no\/such\.pem/);
});

test("lines are published in order, and the second try is the last", async () => {
  const published = [];
  const failures = [new Unavailable("gone")];
  const link = {
    async publish(subject, body) {
      if (failures.length > 0) throw failures.pop();
      published.push([subject, JSON.parse(body).message]);
    },
    tell: (subject) => published.push(subject),
  };
  const lines = new Lines(decode(message(), "far"), "far", link, new AbortController().signal);
  lines.take("one");
  lines.take(`${"x".repeat((16 << 10) - 1)}é`, "warn");
  await lines.close();
  const cut = `${"x".repeat((16 << 10) - 1)}…`;
  assert.deepEqual(published, [["logs.r1", "one"], "live.logs.r1.far", ["logs.r1", cut], "live.logs.r1.far"]);
});
