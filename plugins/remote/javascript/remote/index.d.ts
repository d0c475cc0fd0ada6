/** What there is to act on. */
export interface Request<Spec = any> {
  run_id: string;
  /** The step id; the driver's own name in a run without a pipeline. */
  step: string;
  /** Counts from 1. */
  attempt: number;
  event: "create" | "update" | "delete" | (string & {});
  resource: Resource<Spec>;
  context: Context;
  /** Aborted when nobody wants the attempt any more. A component has none. */
  readonly signal?: AbortSignal;
}

/** What moves on the belt. */
export interface Resource<Spec = any> {
  id?: string;
  name: string;
  /** The type. */
  resource?: string;
  pipeline?: string;
  metadata?: { version?: string };
  labels?: Record<string, string>;
  spec: Spec;
}

/** What the steps of a run share. */
export interface Context {
  pipeline: string;
  metadata: Record<string, string>;
  /** The results of earlier steps, by step id. */
  results: Record<string, Result & { driver: string; blob?: { digest: string; bytes: number } }>;
  /** What a step of a matrix is about. */
  item?: unknown;
}

/** What a driver says of an attempt. */
export interface Result {
  success: boolean;
  /** One line for people. */
  message: string;
  /** For the steps that follow. */
  data?: unknown;
}

/** Takes one line of text. */
export type Log = (line: string, level?: "debug" | "info" | "warn" | "error") => void;

export type Reconcile<Spec = any> = (request: Request<Spec>, log: Log) => Result | Promise<Result>;

/** The table `remote` of Conveyor's configuration. */
export interface Bounds {
  ack_wait_ms: number;
  in_flight: number;
  stop_ms: number;
  result_bytes: number;
}

/** Files that say who we are, and who signed the certificates of NATS. */
export interface Access {
  credentials?: string;
  ca?: string;
  certificate?: string;
  key?: string;
}

export interface Options {
  /** Default `nats://127.0.0.1:4222`. */
  servers?: string[];
  access?: Access;
  /** The address of the server's API, from where large results of earlier steps are fetched. */
  api?: string;
  /** The most attempts under way at one time. Default 1. */
  concurrency?: number;
  bounds?: Partial<Bounds>;
}

/** Works until it is stopped. */
export class Driver<Spec = any> {
  /** Throws a RangeError if something cannot be used. */
  constructor(name: string, resources: string[], reconcile: Reconcile<Spec>, options?: Options);
  /** Connects and works; calls `ready` when steps reach it. A server that is away is waited for. */
  run(ready?: () => void): Promise<void>;
  /** Takes no more work; what is under way may end within `stop_ms`. */
  stop(): void;
}

/** A driver as a program: works as the command line and the environment say, until SIGTERM or SIGINT. */
export function main<Spec = any>(name: string, resources: string[], reconcile: Reconcile<Spec>): Promise<never>;

/** The attempt could not be carried through, and trying again may help. */
export class Retryable extends Error {
  readonly failure: "retryable";
}

/** The attempt could not be carried through, and trying again cannot help. */
export class Permanent extends Error {
  readonly failure: "permanent";
}

/** NATS ended the connection for good. */
export class Unavailable extends Error {}
