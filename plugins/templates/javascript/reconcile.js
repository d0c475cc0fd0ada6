// What the driver does. It knows nothing of how it is called.
import { Permanent, success } from "./conveyor/driver.js";

/**
 * Acts on the resource once.
 *
 * @param {import("./conveyor/driver.js").Request<{ who?: string }>} request
 * @param {import("./conveyor/driver.js").Log} log
 */
export function reconcile(request, log) {
  const { name, spec } = request.resource;
  log(`${request.event} of ${name}`);
  if (!spec.who) {
    throw new Permanent("the spec has no field who");
  }
  const greeting = `Hello, ${spec.who}!`;
  return success(greeting, { greeting });
}
