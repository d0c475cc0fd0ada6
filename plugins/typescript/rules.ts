// The rules, and how a Dockerfile is held against them. Pure.
import type { Instruction } from "./dockerfile.js";

export interface Problem {
  line: number;
  rule: string;
  problem: string;
}

/** What is wrong with an instruction among all, or nothing. */
type Rule = (instruction: Instruction, all: Instruction[]) => string | false | undefined;

export const RULES: Record<string, Rule> = {
  "pinned-image": ({ name, text }, all) => {
    if (name !== "FROM") return;
    const image = operands(text)[0] ?? "";
    // A stage before, nothing at all, and what a variable says need no tag.
    if (image === "scratch" || image.includes("$") || stages(all).has(image.toLowerCase())) return;
    if (image.includes("@sha256:")) return;
    const tag = /:([^/:]+)$/.exec(image)?.[1];
    return (!tag || tag === "latest") && `the image ${image} has no fixed version`;
  },
  "other-user": (instruction, all) => {
    // Only the last stage is what runs.
    const last = all.map(({ name }) => name).lastIndexOf("FROM");
    if (instruction !== all[last]) return;
    const user = all.slice(last).findLast(({ name }) => name === "USER")?.text;
    return (!user || /^(root|0)(:|$)/.test(user)) && "what runs in the image is root: name another USER";
  },
  "no-remote-add": ({ name, text }) =>
    name === "ADD" && /(^|\s)https?:/.test(text) && !text.includes("--checksum=") && "what ADD fetches has no --checksum",
  "apt-lists": ({ name, text }) =>
    name === "RUN" &&
    /\bapt(-get)?\s+(-\S+\s+)*install\b/.test(text) &&
    !/rm\s+-\S*r\S*\s+.*\/var\/lib\/apt\/lists/.test(text) &&
    !text.includes("--mount=type=cache") &&
    "the lists of apt stay in the image: remove /var/lib/apt/lists in the same RUN",
  "no-sudo": ({ name, text }) => name === "RUN" && /(^|[\s;&|])sudo\s/.test(text) && "sudo in an image: set USER instead",
  "no-piped-script": ({ name, text }) =>
    name === "RUN" && /\b(curl|wget)\b[^;&]*\|\s*(ba|da|z)?sh\b/.test(text) && "a script is run as it comes from the network",
  "no-secret": ({ name, text }) =>
    /^(ENV|ARG)$/.test(name) &&
    /(^|\s|_)(PASSWORD|SECRET|TOKEN|API_?KEY|PRIVATE_KEY)[A-Z_]*=\S/i.test(text) &&
    "a secret stays in the image: mount it with RUN --mount=type=secret",
};

/** All problems, in the order of the file. */
export function check(all: Instruction[], ignored: ReadonlySet<string>): Problem[] {
  const rules = Object.entries(RULES).filter(([rule]) => !ignored.has(rule));
  return all.flatMap((instruction) =>
    rules.flatMap(([rule, finds]) => {
      const problem = finds(instruction, all);
      return problem ? [{ line: instruction.line, rule, problem }] : [];
    }),
  );
}

/** The words that are no flags. */
function operands(text: string): string[] {
  return text.split(/\s+/).filter((word) => !word.startsWith("--"));
}

function stages(all: Instruction[]): Set<string> {
  const names = all.filter(({ name }) => name === "FROM").map(({ text }) => operands(text)[2]);
  return new Set(names.flatMap((name) => (name ? [name.toLowerCase()] : [])));
}
