// The driver `{{name}}`: the border to `conveyor driver exec`. What it does is in reconcile.ts.
import { readFileSync } from "node:fs";

import { reconcile } from "./reconcile.js";

const { success, message, data } = reconcile(JSON.parse(readFileSync(0, "utf8")), console.log);
// The last line is the result.
console.log(JSON.stringify({ message, ...data }));
process.exitCode = success ? 0 : 1;
