// What a driver says, and how: the same for a component and for a driver that runs elsewhere. The driver's project has a
// copy of its own; the types are for editors and for TypeScript.

/**
 * One attempt of one step of one run. Run, step and attempt are the same whenever this attempt is delivered again: they are
 * the key for effects that must not happen twice.
 *
 * @template [Spec=any]
 * @typedef {object} Request
 * @property {string} run_id
 * @property {string} step
 * @property {number} attempt Counts from 1.
 * @property {string} event `create`, `update` or `delete`.
 * @property {Resource<Spec>} resource What is acted on.
 * @property {Context} context What the steps of the run share.
 */

/**
 * @template [Spec=any]
 * @typedef {object} Resource
 * @property {string} id
 * @property {string} name
 * @property {string} resource The name of its definition.
 * @property {Record<string, string>} metadata Its `version`.
 * @property {Spec} spec
 */

/**
 * @typedef {object} Context
 * @property {string} pipeline
 * @property {Record<string, string>} metadata That of the pipeline.
 * @property {Record<string, StepResult>} results Those of earlier steps, by step id.
 * @property {any} [item] What a step of a matrix is about.
 */

/** @typedef {Result & { driver: string }} StepResult */

/**
 * @typedef {object} Result
 * @property {boolean} success
 * @property {string} message One line for people.
 * @property {any} data For the steps that follow.
 */

/** @typedef {(line: string, level?: "debug" | "info" | "warn" | "error") => void} Log Takes one line of text. */

/**
 * The driver achieved what it is for.
 *
 * @param {string} message
 * @param {any} [data]
 * @returns {Result}
 */
export function success(message, data = null) {
  return { success: true, message, data };
}

/**
 * The driver did its work, and the answer is no: that ends the run, with the message as the reason.
 *
 * @param {string} message
 * @param {any} [data]
 * @returns {Result}
 */
export function failure(message, data = null) {
  return { success: false, message, data };
}

/** Thrown if the work cannot be done, and another try may help. The same is believed of every error that does not say. */
export class Retryable extends Error {
  failure = "retryable";
}

/** Thrown if the work cannot be done, and no other try will help: the spec makes no sense. */
export class Permanent extends Error {
  failure = "permanent";
}
