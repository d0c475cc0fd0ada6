// The driver `{{name}}`: the border to the host. What it does is in reconcile.js.
import hostLog from "conveyor:driver/host-log@0.1.0";

import { reconcile } from "./reconcile.js";

export const reconciler = {
  reconcile({ event, target, context }) {
    try {
      const resource = { name: target.name, spec: JSON.parse(target.spec) };
      const request = { event, resource, context: JSON.parse(context) };
      const { success, message, data } = reconcile(request, (line) => hostLog.log("info", line));
      return { success, message, data: JSON.stringify(data) };
    } catch (error) {
      // The same input gives the same error, so another try is of no use.
      throw { tag: "permanent", val: String(error) };
    }
  },
};
