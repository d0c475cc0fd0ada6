// The driver of the tests of remote drivers, in JavaScript; driver.rs says what it does.
import { appendFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import { main, Permanent } from "./remote/index.js";

await main("far", ["app"], async (request, log) => {
  const { resource, context } = request;
  const file = join(process.env.NOTES, resource.name);
  appendFileSync(file, "begun\n");
  try {
    while ("hold" in resource.spec && !existsSync(`${file}.go`)) await pause(50, undefined, { signal: request.signal });
  } catch (error) {
    appendFileSync(file, "broken off\n");
    throw error;
  }
  if (resource.spec.permanent) throw new Permanent(resource.spec.permanent);
  if (resource.spec.fail) return { success: false, message: resource.spec.fail };
  log(`${request.event} of ${resource.name}`);
  const { team } = context.metadata;
  const before = context.results.before.data;
  const data = { process: process.pid, attempt: request.attempt, team, before, text: "<é>" };
  return { success: true, message: "done", data };
});
