// The driver `report`: writes a Markdown report from the results of the earlier steps.
//
// This file is only the border to the host; what the driver does is in report.js.
import { component } from "./conveyor/component.js";
import { Permanent, success } from "./conveyor/driver.js";
import { InputError, write } from "./report.js";

export const reconciler = component(({ resource, context }, log) => {
  const target = { name: resource.name, version: resource.metadata.version };
  log(`writing the report of ${resource.resource} ${resource.name}`);
  const report = reportOf(target, context);
  log(`results used: ${report.summary.steps.join(", ")}`, "debug");
  log(`the report has ${report.markdown.split("\n").length} lines`);
  const { packages, violations } = report.summary;
  return success(`report on ${packages} packages, ${violations} violations`, report);
});

function reportOf(target, context) {
  try {
    return write(target, context);
  } catch (error) {
    if (error instanceof InputError) {
      throw new Permanent(`the report cannot be written: ${error.message}`);
    }
    throw error;
  }
}
