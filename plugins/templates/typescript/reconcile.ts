// What the driver does. It knows nothing of how it is called.
import { type Log, Permanent, type Request, type Result, success } from "./conveyor/driver.js";

/** The fields of the spec that this driver reads. */
export interface Spec {
  who?: string;
}

/** Acts on the resource once. */
export function reconcile(request: Request<Spec>, log: Log): Result {
  const { name, spec } = request.resource;
  log(`${request.event} of ${name}`);
  if (!spec.who) {
    throw new Permanent("the spec has no field who");
  }
  const greeting = `Hello, ${spec.who}!`;
  return success(greeting, { greeting });
}
