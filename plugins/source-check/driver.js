// The driver `source-check`: holds what earlier steps told of a source tree and its tests against rules of the resource.
//
// This file is only the border to the host; what the driver does is in rules.js.
import hostLog from "conveyor:driver/host-log@0.1.0";

import { check } from "./rules.js";

export const reconciler = {
  reconcile(request) {
    const rules = JSON.parse(request.target.spec).rules ?? {};
    const { results } = JSON.parse(request.context);
    const { checked, problems } = check(rules, results);
    for (const problem of problems) {
      hostLog.log("error", problem);
    }
    const success = problems.length === 0;
    return {
      success,
      message: success ? `${checked} rules kept` : problems.join("; "),
      data: JSON.stringify({ checked, problems }),
    };
  },
};
