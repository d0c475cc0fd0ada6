/**
 * A remote driver of Conveyor: a function of yours, called for every step that names it, wherever NATS can be reached.
 *
 *     import { main } from "./remote/index.js";
 *
 *     await main("deploy", ["app"], async (request, log) => {
 *       log(`${request.event} of ${request.resource.name}`);
 *       return { success: true, message: "deployed", data: { url: "https://example.org" } };
 *     });
 *
 * It is the function of a component; here it may be async, and must not compute for seconds without waiting for anything,
 * because then no sign of life goes out. Errors of the classes `Retryable` and `Permanent` say that an attempt could not be
 * carried through. An attempt comes again after a crash: run_id, step and attempt are the key for effects that must not
 * happen twice.
 *
 * When nobody wants an attempt any more, `request.signal` is aborted and the next line of log throws; until the function has
 * ended, nothing else is begun in its place.
 *
 * Needs Node.js 20 or newer and @nats-io/transport-node.
 */
export { main } from "./command.js";
export { Driver } from "./driver.js";
export { Unavailable } from "./link.js";
export { Permanent, Retryable } from "./wire.js";
