/**
 * When to give up on what never comes, in milliseconds: far beyond what a machine needs that is starved and stands still
 * for seconds now and then. It measures nothing, and no test may take less time because it is less.
 */
export const patience = 180_000;

/**
 * Does it again until the outcome holds, and gives that one. `act` must take its time by itself: by a question that the
 * server holds, or by a program that is started.
 */
export async function insist<Outcome>(
  act: () => Promise<Outcome>,
  holds: (outcome: Outcome) => boolean,
  tell: (outcome: Outcome) => string = (outcome) => JSON.stringify(outcome),
): Promise<Outcome> {
  const deadline = Date.now() + patience;
  for (;;) {
    const outcome = await act();
    if (holds(outcome)) return outcome;
    if (Date.now() > deadline) throw new Error(`it stayed ${tell(outcome)}`);
  }
}
