/** The checker of histories itself, on histories whose answer is known. */
import { fc } from "../support/property.ts";
import { type KeyInput, type KeyOperation, type KeyOutput, keyModel } from "../../adapters/sim/history.ts";
import { linearizable } from "../../adapters/sim/linearizable.ts";
import { assert, describe, it } from "../support/harness.ts";

const put = (value: string): KeyInput => ({ kind: "put", value });
const get: KeyInput = { kind: "get" };
const cas = (expected: string | undefined, value: string): KeyInput => ({ kind: "cas", value, expected, ambiguous: false });
const acquire = (session: string): KeyInput => ({ kind: "acquire", value: session, session });
const took: KeyOutput = { kind: "took", effect: true };
const tookNot: KeyOutput = { kind: "took", effect: false };
const saw = (value: string | undefined, holder?: string): KeyOutput => ({ kind: "value", value, holder });
const never = Number.POSITIVE_INFINITY;

let clients = 0;
const op = (call: number, end: number, input: KeyInput, output?: KeyOutput): KeyOperation => ({
  client: ++clients,
  call,
  return: end,
  input,
  output,
});
const verdict = (...history: KeyOperation[]): string => linearizable(keyModel, history).kind;

describe("a history is linearizable", () => {
  it("when nothing happened", () => assert.equal(verdict(), "linearizable"));

  it("when each operation follows the last", () =>
    assert.equal(verdict(op(0, 1, get, saw(undefined)), op(2, 3, put("a"), took), op(4, 5, get, saw("a"))), "linearizable"));

  it("when a read that overlaps a write sees the old or the new value", () => {
    for (const value of [undefined, "a"])
      assert.equal(verdict(op(0, 10, put("a"), took), op(1, 2, get, saw(value))), "linearizable");
  });

  it("when an unanswered write took effect, at any later time", () =>
    assert.equal(verdict(op(0, never, put("a")), op(1, 2, get, saw(undefined)), op(100, 101, get, saw("a"))), "linearizable"));

  it("when an unanswered write never took effect", () =>
    assert.equal(verdict(op(0, never, put("a")), op(100, 101, get, saw(undefined))), "linearizable"));

  it("when an operation returns at the time another is called: they are concurrent", () =>
    assert.equal(verdict(op(0, 2, put("a"), took), op(2, 3, get, saw(undefined))), "linearizable"));

  it("when the order that explains it is not the order of calls", () =>
    assert.equal(
      verdict(op(0, 10, put("a"), took), op(1, 9, put("b"), took), op(2, 3, get, saw("b")), op(11, 12, get, saw("a"))),
      "linearizable",
    ));

  it("when a session that ended without telling lets another take the lock", () =>
    assert.equal(
      verdict(
        op(0, 1, acquire("s"), took),
        op(2, never, { kind: "sessionEnd", session: "s", delayed: false, deletes: false }),
        op(3, 4, acquire("t"), took),
      ),
      "linearizable",
    ));
});

describe("a history is impossible", () => {
  it("when a read misses a write that returned before it began", () =>
    assert.equal(verdict(op(0, 1, put("a"), took), op(2, 3, get, saw(undefined))), "impossible"));

  it("when two reads see two writes in opposite orders", () =>
    assert.equal(
      verdict(
        op(0, 10, put("a"), took),
        op(0, 10, put("b"), took),
        op(1, 2, get, saw("a")),
        op(3, 4, get, saw("b")),
        op(5, 6, get, saw("a")),
      ),
      "impossible",
    ));

  it("when a value is read before anybody began to write it", () =>
    assert.equal(verdict(op(0, 1, get, saw("a")), op(2, 3, put("a"), took)), "impossible"));

  it("when two compare-and-sets of one value both take effect", () =>
    assert.equal(verdict(op(0, 1, put("a"), took), op(2, 9, cas("a", "b"), took), op(2, 9, cas("a", "c"), took)), "impossible"));

  it("when a compare-and-set fails although nobody interfered", () =>
    assert.equal(verdict(op(0, 1, put("a"), took), op(2, 3, cas("a", "b"), tookNot)), "impossible"));

  it("when two sessions hold one lock", () =>
    assert.equal(verdict(op(0, 1, acquire("s"), took), op(2, 3, acquire("t"), took)), "impossible"));

  it("when a seen write that was never answered is unseen again", () =>
    assert.equal(verdict(op(0, never, put("a")), op(1, 2, get, saw("a")), op(3, 4, get, saw(undefined))), "impossible"));
});

describe("a drawn history", () => {
  const inputs = fc.constantFrom<KeyInput>(get, put("a"), put("b"), put("c"), cas("a", "b"), cas(undefined, "c"), {
    kind: "delete",
  });

  it("that one copy produced is linearizable, however calls and returns are stretched", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(inputs, fc.nat(3), fc.nat(3), fc.boolean()), { maxLength: 40 }), (drawn) => {
        let state = keyModel.initial;
        const history = drawn.map(([input, early, late, answered], at): KeyOperation => {
          const output = answer(state, input);
          state = keyModel.step(state, input, output) ?? state;
          return op(at - early, answered ? at + late : never, input, answered ? output : undefined);
        });
        return verdict(...history) === "linearizable";
      }),
      { numRuns: 300, seed: 1 },
    );
  });

  it("that no copy can have produced is found impossible: a value that nobody wrote", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(inputs, fc.nat(3)), { maxLength: 20 }), (drawn) => {
        let state = keyModel.initial;
        const history = drawn.map(([input, late], at): KeyOperation => {
          const output = answer(state, input);
          state = keyModel.step(state, input, output) ?? state;
          return op(at, at + late, input, output);
        });
        return verdict(...history, op(5, 6, get, saw("nobody's"))) === "impossible";
      }),
      { numRuns: 100, seed: 2 },
    );
  });
});

function answer(state: typeof keyModel.initial, input: KeyInput): KeyOutput {
  if (input.kind === "get") return saw(state.value, state.holder);
  return input.kind === "cas" && input.expected !== state.value ? tookNot : took;
}
