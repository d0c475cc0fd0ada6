// A driver as a program: what the command line and the environment say, and the signals that stop it.
import { parseArgs } from "node:util";

import { BOUNDS, Driver } from "./driver.js";
import { say } from "./link.js";

const TEXTS = ["name", "resources", "nats", "server", "credentials", "ca", "certificate", "key", "concurrency"];
const HELP = `  --name NAME           as steps of pipelines name it
  --resources TYPE,...  what it acts on
  --nats URL,...        where NATS is (CONVEYOR_NATS); else the server tells
  --server URL          the server (CONVEYOR_SERVER)
  --credentials FILE    for NATS (.creds)
  --ca FILE             who signed the certificates of NATS (PEM); makes TLS a must
  --certificate FILE    to show to NATS (PEM), with --key FILE
  --concurrency N       the most attempts under way at one time`;

/** Works until SIGTERM or SIGINT, which let what is under way end; a second one ends at once. */
export async function main(name, resources, reconcile) {
  let driver;
  try {
    const said = read(process.argv.slice(2));
    if (said.help) {
      console.log(`The driver ${name} of Conveyor, over NATS.\n\n${HELP}`);
      process.exit(0);
    }
    driver = await made(name, resources, reconcile, said);
  } catch (error) {
    if (!(error instanceof RangeError || error instanceof TypeError)) throw error;
    say(`error: ${error.message}\nfix: see --help`);
    process.exit(2);
  }
  let signals = 0;
  for (const signal of ["SIGTERM", "SIGINT"]) {
    process.on(signal, () => {
      signals += 1;
      if (signals > 1) process.exit(130);
      driver.stop();
    });
  }
  try {
    await driver.run(() => console.log(`driver ${driver.name} is ready`));
  } catch (error) {
    say(`error: ${error.message}`);
    process.exit(1);
  }
  // What goes on although nobody waits for it any more would keep the process.
  process.exit(0);
}

function read(args) {
  const options = Object.fromEntries(TEXTS.map((name) => [name, { type: "string" }]));
  const { values } = parseArgs({ args, options: { ...options, help: { type: "boolean" } } });
  if (!values.certificate !== !values.key) throw new RangeError("--certificate and --key belong together: give both");
  return values;
}

async function made(name, resources, reconcile, said) {
  const api = said.server ?? (process.env.CONVEYOR_SERVER || "http://127.0.0.1:8080");
  const nats = said.nats ?? (process.env.CONVEYOR_NATS || (await natsOf(api)) || "nats://127.0.0.1:4222");
  const types = said.resources === undefined ? resources : said.resources.split(",").filter(Boolean);
  return new Driver(said.name ?? name, types, reconcile, {
    servers: nats.split(",").map((server) => server.trim()),
    access: said,
    api,
    concurrency: whole("--concurrency", said.concurrency, 1),
    bounds: bounds(process.env),
  });
}

/** Those that CONVEYOR_REMOTE__ACK_WAIT_MS and its like say, as for a driver in Rust. */
export function bounds(environment) {
  const of = (name) => `CONVEYOR_REMOTE__${name.toUpperCase()}`;
  return Object.fromEntries(
    Object.entries(BOUNDS).map(([name, preset]) => [name, whole(of(name), environment[of(name)], preset)]),
  );
}

function whole(what, text, preset) {
  if (text === undefined || text === "") return preset;
  if (!/^[1-9][0-9]{0,14}$/.test(text)) throw new RangeError(`${what} is "${text}": give a whole number such as ${preset}`);
  return Number(text);
}

/** Where the server's NATS is, if the server is there and has one. */
async function natsOf(server) {
  try {
    const answer = await fetch(`${server.replace(/\/+$/, "")}/info`, { signal: AbortSignal.timeout(5_000) });
    return (await answer.json()).nats;
  } catch {
    return undefined;
  }
}
