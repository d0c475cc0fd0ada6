import assert from "node:assert/strict";
import test from "node:test";

import { reconcile } from "./reconcile.js";

function request(spec) {
  return { event: "create", resource: { name: "one", spec }, context: {} };
}

test("it greets", () => {
  assert.equal(reconcile(request({ who: "belt" }), () => {}).message, "Hello, belt!");
});

test("it needs a name", () => {
  assert.throws(() => reconcile(request({}), () => {}), /no field who/);
});
