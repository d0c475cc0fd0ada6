// Reads a Dockerfile, as far as the rules need it. Knows nothing of drivers.

export interface Instruction {
  /** In capitals. */
  name: string;
  /** All behind the name, in one line. */
  text: string;
  /** Where it begins, from 1. */
  line: number;
}

/** The instructions of a Dockerfile, each in one line; comments and the bodies of here-documents are left out. */
export function parse(dockerfile: string): Instruction[] {
  const instructions: Instruction[] = [];
  let open: Instruction | undefined;
  let ends: string[] = [];
  for (const [index, raw] of dockerfile.split(/\r?\n/).entries()) {
    const line = raw.trim();
    if (ends.length > 0) {
      if (line === ends[0]) ends.shift();
      continue;
    }
    // Comments and empty lines do not end an instruction that goes on.
    if (line === "" || line.startsWith("#")) continue;
    const goesOn = line.endsWith("\\");
    const text = goesOn ? line.slice(0, -1).trim() : line;
    if (open) {
      open.text = `${open.text} ${text}`.trim();
    } else {
      const [name = ""] = text.split(/\s/, 1);
      open = { name: name.toUpperCase(), text: text.slice(name.length).trim(), line: index + 1 };
      instructions.push(open);
    }
    if (!goesOn) {
      ends = /^(RUN|COPY|ADD)$/.test(open.name) ? hereDocuments(open.text) : [];
      open = undefined;
    }
  }
  return instructions;
}

function hereDocuments(text: string): string[] {
  return [...text.matchAll(/<<-?(["']?)(\w+)\1/g)].map((match) => match[2] ?? "");
}
