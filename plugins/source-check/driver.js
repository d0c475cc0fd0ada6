// The driver `source-check`: holds what earlier steps told of a source tree and its tests against rules of the resource.
//
// This file is only the border to the host; what the driver does is in rules.js.
import { component } from "./conveyor/component.js";
import { failure, success } from "./conveyor/driver.js";
import { check } from "./rules.js";

export const reconciler = component(({ resource, context }, log) => {
  const { checked, problems } = check(resource.spec.rules ?? {}, context.results);
  for (const problem of problems) {
    log(problem, "error");
  }
  const data = { checked, problems };
  return problems.length === 0 ? success(`${checked} rules kept`, data) : failure(problems.join("; "), data);
});
