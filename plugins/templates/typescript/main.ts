// The driver `{{name}}`: the border to `conveyor driver exec`. What it does is in reconcile.ts.
import { readFileSync } from "node:fs";

import { Permanent } from "./conveyor/driver.js";
import { reconcile } from "./reconcile.js";

function attempt(): { success: boolean; line: object } {
  try {
    const request = JSON.parse(readFileSync(0, "utf8"));
    const { success, message, data } = reconcile(request, (line) => console.log(line));
    return { success, line: { message, ...data } };
  } catch (error) {
    console.error(error);
    const message = error instanceof Error ? error.message : String(error);
    return { success: false, line: { message, failure: error instanceof Permanent ? "permanent" : "retryable" } };
  }
}

const { success, line } = attempt();
// The last line is the result.
console.log(JSON.stringify(line));
process.exitCode = success ? 0 : 1;
