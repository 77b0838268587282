/** Thrown inside the state machine to refuse a command; {@link Catalog.apply} undoes it and answers with the text. */
export class Refusal extends Error {}

/** Consul's text when a service, check or session names a node that is not registered. */
export const missingNode = "Missing node registration";
/** Consul's text when a check names a service that its node does not have. */
export const missingService = "Missing service registration";

/** Runs `act`; a refusal inside gets `prefix` before its text. */
export function refusingWith<Result>(wrap: (text: string) => string, act: () => Result): Result {
  try {
    return act();
  } catch (error) {
    if (error instanceof Refusal) throw new Refusal(wrap(error.message));
    throw error;
  }
}
