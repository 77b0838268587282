import { fc } from "../../support/property.ts";
import { OutputTail } from "../../../adapters/node-api/output-tail.ts";
import { concat } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";

describe("the tail of a command's output", () => {
  it("is the last bytes of everything added, however it was cut", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 30 })), fc.nat(40), (chunks, bytesMax) => {
        const tail = new OutputTail(bytesMax);
        for (const chunk of chunks) tail.add(chunk);
        const whole = concat(chunks);
        assert.deepEqual(tail.bytes(), whole.slice(Math.max(0, whole.length - bytesMax)));
        assert.equal(tail.bytesTotal, whole.length);
      }),
    );
  });
});
