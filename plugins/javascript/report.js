// From the results of the earlier steps to a Markdown report. Knows nothing of components.

/** The input makes no sense. */
export class InputError extends Error {}

/** The longest table of a report; a longer list ends with a line that says how many are left out. */
const ROWS = 15;

/** `{markdown, summary}` for the resource `target`, from the `context` of its run. */
export function write(target, context) {
  const results = context.results ?? {};
  const inventory = dataOf(results, "lock-parse");
  if (!inventory) {
    throw new InputError("no earlier step with the driver 'lock-parse' has left a result");
  }
  // The check may be absent from the pipeline: the report then says so instead of refusing.
  const check = dataOf(results, "policy-check");
  const summary = summarise(target, results, inventory, check);
  const parts = [
    `# Supply chain of ${escape(target.name)}`,
    overview(summary, inventory),
    verdict(check),
    licences(check),
    duplicates(inventory),
    mostConnected(inventory),
  ];
  return { markdown: `${parts.filter(Boolean).join("\n\n")}\n`, summary };
}

function dataOf(results, driver) {
  const result = Object.values(results).find((candidate) => candidate.driver === driver);
  return result?.data ?? null;
}

function summarise(target, results, inventory, check) {
  return {
    resource: target.name,
    version: target.version,
    packages: inventory.count,
    duplicates: inventory.duplicates.length,
    violations: check ? check.violations.length : 0,
    checked: check !== null,
    steps: Object.keys(results).sort(),
  };
}

function overview(summary, inventory) {
  const foreign = inventory.packages.filter((one) => one.source).length;
  return table(
    ["", ""],
    [
      ["version of the resource", summary.version],
      ["packages", summary.packages],
      ["from a registry or elsewhere", foreign],
      ["the project's own", summary.packages - foreign],
      ["in more than one version", summary.duplicates],
    ],
  );
}

function verdict(check) {
  if (!check) {
    return "## Policy\n\nNot checked: the pipeline has no step with the driver `policy-check`.";
  }
  if (check.violations.length === 0) {
    return "## Policy\n\nKept: no violation.";
  }
  const rows = check.violations.map((violation) => [violation.kind, violation.message]);
  return `## Policy\n\nBroken: ${check.violations.length} violations.\n\n${table(["kind", "violation"], rows)}`;
}

function licences(check) {
  const rows = Object.entries(check?.statistics?.licences ?? {});
  return rows.length > 0 && `## Licences\n\n${table(["licence", "packages"], rows)}`;
}

function duplicates(inventory) {
  const rows = inventory.duplicates.map((duplicate) => [duplicate.name, duplicate.versions.join(", ")]);
  return rows.length > 0 && `## In more than one version\n\n${table(["package", "versions"], rows)}`;
}

function mostConnected(inventory) {
  const rows = inventory.packages
    .filter((one) => one.dependencies > 0)
    .sort((a, b) => b.dependencies - a.dependencies || (a.name < b.name ? -1 : 1))
    .slice(0, 5)
    .map((one) => [`${one.name} ${one.version}`, one.dependencies]);
  return rows.length > 0 && `## Most direct dependencies\n\n${table(["package", "dependencies"], rows)}`;
}

function table(head, rows) {
  const lines = [head, head.map(() => "---"), ...rows.slice(0, ROWS)].map((row) => `| ${row.map(escape).join(" | ")} |`);
  if (rows.length > ROWS) {
    lines.push("", `… and ${rows.length - ROWS} more.`);
  }
  return lines.join("\n");
}

/** Names and reasons are written by others: they must neither end a cell nor start markup. */
function escape(value) {
  return String(value)
    .replace(/\s+/g, " ")
    .replace(/[\\|`*<>[\]]/g, "\\$&");
}
