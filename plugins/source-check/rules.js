// The rules, and how results are held against them. Pure.

// Each looks at the results of earlier steps and gives the problems it finds; a rule whose step has not run yet, or that
// the resource does not set, finds nothing.
const RULES = {
  required_files: (names, { clone }) =>
    names.filter((name) => !clone.files.some((file) => file.path === name)).map((name) => `${name} is missing`),
  max_file_bytes: (most, { clone }) =>
    clone.files.filter((file) => file.bytes > most).map((file) => `${file.path} has ${file.bytes} bytes, more than ${most}`),
  subject_length: (most, { clone }) =>
    clone.subject.length > most ? [`the subject of ${clone.commit.slice(0, 8)} is longer than ${most}`] : [],
  min_tests: (least, { test }) => (test.passed < least ? [`${test.passed} tests passed, fewer than ${least}`] : []),
};
const NEEDS = { required_files: "clone", max_file_bytes: "clone", subject_length: "clone", min_tests: "test" };

/** How many rules were held against the results of a run, and what is wrong. */
export function check(rules, results) {
  const data = Object.fromEntries(Object.entries(results).map(([step, result]) => [step, result.data]));
  const problems = [];
  let checked = 0;
  for (const [name, bound] of Object.entries(rules)) {
    if (!(name in RULES)) {
      problems.push(`there is no rule "${name}": there are ${Object.keys(RULES).join(", ")}`);
    } else if (data[NEEDS[name]]) {
      checked += 1;
      problems.push(...RULES[name](bound, data));
    }
  }
  return { checked, problems };
}
