// The driver `{{name}}` as a component. What it does is in reconcile.ts.
import { component } from "./conveyor/component.js";
import { reconcile } from "./reconcile.js";

export const reconciler = component(reconcile);
