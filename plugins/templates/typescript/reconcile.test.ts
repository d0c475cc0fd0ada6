import assert from "node:assert/strict";
import test from "node:test";

import type { Request } from "./conveyor/driver.js";
import { reconcile, type Spec } from "./reconcile.js";

function request(spec: Spec): Request<Spec> {
  const resource = { id: "", name: "one", resource: "app", metadata: { version: "1" }, spec };
  const context = { pipeline: "", metadata: {}, results: {} };
  return { run_id: "", step: "greet", attempt: 1, event: "create", resource, context };
}

test("it greets", () => {
  assert.equal(reconcile(request({ who: "belt" }), () => {}).message, "Hello, belt!");
});

test("it needs a name", () => {
  assert.throws(() => reconcile(request({}), () => {}), /no field who/);
});
