/** A value now where it can be had now, a promise of it otherwise: the hot path of DNS never waits a turn. */
export type Eventually<Value> = Value | Promise<Value>;

export function then<From, To>(value: Eventually<From>, next: (value: From) => Eventually<To>): Eventually<To> {
  return value instanceof Promise ? value.then(next) : next(value);
}
