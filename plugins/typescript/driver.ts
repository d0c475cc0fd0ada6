// The driver `dockerfile-check`: holds the Dockerfile of a release against rules that make images smaller and safer.
import { component } from "./conveyor/component.js";
import { failure, type Log, Permanent, type Request, type Result, success } from "./conveyor/driver.js";
import { parse } from "./dockerfile.js";
import { check, RULES } from "./rules.js";

/** The fields of the spec that this driver reads. */
export interface Spec {
  dockerfile: string;
  /** Names of rules that need not be kept. */
  dockerfile_ignore?: string[];
}

export const reconciler = component(reconcile);

/** Acts on the resource once. */
export function reconcile({ resource }: Request<Spec>, log: Log): Result {
  const { dockerfile, dockerfile_ignore: ignore = [] } = resource.spec;
  if (typeof dockerfile !== "string" || !Array.isArray(ignore)) {
    throw new Permanent("the spec needs a text dockerfile, and dockerfile_ignore must be a list if it is there");
  }
  const unknown = ignore.find((rule) => !(rule in RULES));
  if (unknown !== undefined) {
    throw new Permanent(`there is no rule "${unknown}": there are ${Object.keys(RULES).join(", ")}`);
  }
  const instructions = parse(dockerfile);
  if (!instructions.some(({ name }) => name === "FROM")) {
    throw new Permanent("the Dockerfile has no FROM");
  }
  const problems = check(instructions, new Set(ignore));
  for (const { line, rule, problem } of problems) {
    log(`line ${line}: ${problem} (${rule})`, "warn");
  }
  const data = { instructions: instructions.length, problems };
  const [first] = problems;
  return first
    ? failure(`the Dockerfile breaks ${problems.length} rules; line ${first.line}: ${first.problem}`, data)
    : success(`the Dockerfile keeps ${Object.keys(RULES).length - ignore.length} rules`, data);
}
