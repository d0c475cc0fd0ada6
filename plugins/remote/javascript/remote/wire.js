// The messages between Conveyor and a remote driver. Knows nothing of NATS.

export const STREAM = "messages";
export const RESULTS = "pipelines.driver.result";

/** The attempt could not be carried through. Any error with such a field is one, so that a function can do without this
 * module. */
export class Retryable extends Error {
  failure = "retryable";
}

export class Permanent extends Error {
  failure = "permanent";
}

/** The message is none of the protocol: no later delivery will be better. */
export class Malformed extends Error {}

/** One attempt of one step: its name, which is the same whenever it is delivered again, the request for the function, and
 * the resource as it came, because its metadata says which attempt a result belongs to. */
export function decode(bytes, driver) {
  try {
    const message = JSON.parse(new TextDecoder().decode(bytes));
    const resource = JSON.parse(message.payload);
    const { version } = resource.metadata ?? {};
    const request = {
      run_id: message.run_id,
      // A message that goes to all drivers of a type names no step: each driver's name is its own.
      step: ["", "*", undefined].includes(message.step) ? driver : message.step,
      attempt: message.attempt ?? 0,
      event: message.event ?? "",
      resource: { ...resource, metadata: version === undefined ? {} : { version } },
      context: message.context ?? { pipeline: "", metadata: {}, results: {} },
    };
    if (!/^[^.*>\s]+$/.test(message.run_id)) throw new TypeError(`run_id ${message.run_id} is none`);
    return { name: `${request.run_id}/${request.step}/${request.attempt}`, request, resource };
  } catch (error) {
    throw new Malformed(String(error));
  }
}

/** The text of the PipelineEvent with a result. What the engine has recorded need not come back to it. */
export function resultEvent(work, driver, result) {
  const metadata = Object.entries(work.resource.metadata ?? {}).filter(([key]) => !key.startsWith("driverresults."));
  return JSON.stringify({
    event: "driver.result",
    run_id: work.request.run_id,
    resource: { ...work.resource, metadata: Object.fromEntries(metadata) },
    driverresult: { ...result, driver },
  });
}

/** What the function said as a result, at most so many bytes of it. */
export function outcome(said, most) {
  if (typeof said?.success !== "boolean") {
    return failed("reconcile must return { success, message, data }, with success true or false", "permanent");
  }
  let text;
  try {
    text = JSON.stringify(said.data ?? null) ?? "null";
  } catch (error) {
    return failed(`the data of the result is not for JSON: ${error}`, "permanent");
  }
  const message = String(said.message ?? "");
  const size = Buffer.byteLength(text) + Buffer.byteLength(message);
  if (size <= most) return { success: said.success, message, data: JSON.parse(text) };
  return failed(
    `the result has ${size} bytes, and remote.result_bytes allows ${most}: keep the data elsewhere and name the place`,
  );
}

/** A failed result, and which kind of failure it was. */
export function failed(message, kind) {
  return { success: false, message, data: kind ? { failure: kind } : null };
}

/** The same of an error. One that says nothing may be gone at another try. */
export function failureOf(error) {
  return failed(String(error?.message ?? error), error?.failure === "permanent" ? "permanent" : "retryable");
}

/** Which message of the stream is answered at this address: where it stands, and since when, because a stream that was made
 * anew counts from 1 again. */
export function identify(reply) {
  const tokens = reply.split(".");
  // Servers may put a domain and an account before the names.
  const at = tokens.length === 9 ? 5 : 7;
  return tokens[0] === "$JS" && tokens[1] === "ACK" && tokens.length > at + 2 ? `${tokens[at]}@${tokens[at + 2]}` : "";
}

/** The subjects on which work arrives: what goes to all drivers of a type, and what is only for this one. */
export function filters(driver, resources) {
  for (const name of [driver, ...resources]) {
    if (!/^[A-Za-z0-9_-]+$/.test(name)) {
      throw new RangeError(`"${name}" cannot be the name of a driver or a resource: use letters, digits, "-" and "_"`);
    }
  }
  if (resources.length === 0) throw new RangeError(`the driver "${driver}" acts on no type of resource: name one`);
  return resources.flatMap((resource) => [`resources.${resource}`, `drivers.${driver}.resources.${resource}`]);
}

/** The request for the driver's place. All instances must ask for the same. */
export function consumer(driver, subjects, ackWaitMs, inFlight) {
  const config = {
    name: driver,
    durable_name: driver,
    deliver_policy: "all",
    ack_policy: "explicit",
    ack_wait: ackWaitMs * 1e6,
    max_deliver: -1,
    max_ack_pending: inFlight,
    replay_policy: "instant",
    filter_subjects: subjects,
  };
  return { stream_name: STREAM, config, action: "" };
}
