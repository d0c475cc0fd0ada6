// The border between a driver and the host of components.
import hostLog from "conveyor:driver/host-log@0.1.0";

import { Permanent } from "./driver.js";

/**
 * What a component exports as `reconciler`, from the function that acts on resources.
 *
 * @param {(request: import("./driver.js").Request, log: import("./driver.js").Log) => import("./driver.js").Result} reconcile
 */
export function component(reconcile) {
  return {
    reconcile(asked) {
      try {
        const { success, message, data } = reconcile(requestOf(asked), log);
        return { success, message, data: JSON.stringify(data ?? null) };
      } catch (error) {
        const { failure } = error ?? {};
        if (failure === "permanent" || failure === "retryable") {
          throw { tag: failure, val: error.message };
        }
        // What nobody expected is for the author, who needs to know where it was.
        log(`${error}\n${error?.stack ?? ""}`, "debug");
        throw { tag: "retryable", val: String(error) };
      }
    },
  };
}

function log(line, level = "info") {
  hostLog.log(level, line);
}

function requestOf({ runId, stepId, attempt, event, target, context }) {
  const resource = {
    id: target.id,
    name: target.name,
    resource: target.resourceType,
    metadata: { version: target.version },
    spec: parse(target.spec, "spec"),
  };
  return { run_id: runId, step: stepId, attempt, event, resource, context: parse(context, "context") };
}

function parse(text, what) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Permanent(`the ${what} cannot be read: ${error.message}`);
  }
}
