/**
 * When to give up on what never comes, in milliseconds: far beyond what a machine needs that is starved and stands still
 * for seconds now and then. It measures nothing, and no test takes longer because it is long.
 */
export const patience = 180_000;
/** Between two questions that nobody holds. */
const breath = 50;

/** Does it again until the outcome holds, and gives that one; rejects with what is told of the last one. */
export async function insist<Outcome>(
  act: () => Promise<Outcome>,
  holds: (outcome: Outcome) => boolean,
  tell: (outcome: Outcome) => string = (outcome) => JSON.stringify(outcome),
): Promise<Outcome> {
  const deadline = performance.now() + patience;
  for (;;) {
    const asked = performance.now();
    const outcome = await act();
    if (holds(outcome)) return outcome;
    const now = performance.now();
    if (now > deadline) throw new Error(`it stayed ${tell(outcome)}`);
    if (now - asked < breath) await new Promise((resolve) => setTimeout(resolve, breath));
  }
}
