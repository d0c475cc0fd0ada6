// The driver `report`: writes a Markdown report from the results of the earlier steps.
//
// This file is only the border to the host; what the driver does is in report.js.
import hostLog from "conveyor:driver/host-log@0.1.0";

import { InputError, write } from "./report.js";

export const reconciler = {
  reconcile(request) {
    try {
      return reconcile(request);
    } catch (error) {
      // The same input gives the same error, so another try is of no use.
      if (error instanceof InputError || error instanceof SyntaxError) {
        throw { tag: "permanent", val: `the report cannot be written: ${error.message}` };
      }
      throw { tag: "permanent", val: `the report driver is broken: ${error.message}` };
    }
  },
};

function reconcile(request) {
  const context = JSON.parse(request.context);
  hostLog.log("info", `writing the report of ${request.target.resourceType} ${request.target.name}`);
  const report = write(request.target, context);
  hostLog.log("debug", `results used: ${report.summary.steps.join(", ")}`);
  hostLog.log("info", `the report has ${report.markdown.split("\n").length} lines`);
  return {
    success: true,
    message: `report on ${report.summary.packages} packages, ${report.summary.violations} violations`,
    data: JSON.stringify(report),
  };
}
