// The driver `{{name}}`, over NATS. What it does is in reconcile.js.
import { reconcile } from "./reconcile.js";
import { main } from "./remote/index.js";

await main("{{name}}", [{{resources}}], reconcile);
