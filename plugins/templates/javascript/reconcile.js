// What the driver does. It knows nothing of how it is called.

/**
 * Acts on the resource once.
 *
 * @param request `event` (create, update, delete), `resource` (`name`, `spec`) and `context` (what the steps share:
 *   `pipeline`, `metadata`, and the `results` of earlier steps by step id)
 * @param log takes one line of text
 * @returns `success`, `message` (one line for people) and `data` for the steps that follow
 */
export function reconcile(request, log) {
  const { name, spec } = request.resource;
  log(`${request.event} of ${name}`);
  const greeting = `Hello, ${spec.who}!`;
  return { success: true, message: greeting, data: { greeting } };
}
