import assert from "node:assert/strict";
import test from "node:test";

import { reconcile } from "./reconcile.js";

test("it greets", () => {
  const request = { event: "create", resource: { name: "one", spec: { who: "belt" } }, context: {} };
  assert.equal(reconcile(request, () => {}).message, "Hello, belt!");
});
