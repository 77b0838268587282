/** What a checker found. Everything else that is thrown while a machine runs counts as a crash. */
export class Violation extends Error {
  /** Which rule was broken; see `checkers` in ledger.ts. */
  readonly checker: string;

  constructor(checker: string, message: string) {
    super(`${checker}: ${message}`);
    this.name = "Violation";
    this.checker = checker;
  }
}

/** Throws a {@link Violation} unless `holds`. The message is made only when it is needed. */
export function check(holds: boolean, checker: string, message: () => string): asserts holds {
  if (!holds) throw new Violation(checker, message());
}
