import { fc } from "../../support/property.ts";
import { GossipQueue } from "../../../core/swim/gossip-queue.ts";
import { ipBytes, ipText } from "../../../core/swim/ip.ts";
import { Keyring } from "../../../core/swim/keyring.ts";
import { pushPullInterval } from "../../../core/swim/push-pull.ts";
import { Suspicion, suspicionMin } from "../../../core/swim/suspicion.ts";
import { text, utf8 } from "../../../core/types/bytes.ts";
import { assert, describe, it } from "../../support/harness.ts";

const lan = { suspicionMult: 4, suspicionMaxMult: 6, probeInterval: 1000 };

describe("suspicion", () => {
  it("the minimum grows with the logarithm of the pool", () => {
    assert.deepEqual(
      [1, 2, 10, 11, 100, 1000, 5000].map((count) => suspicionMin(lan, count)),
      [4000, 4000, 4000, 4164, 8000, 12000, 14792],
    );
  });

  it("confirmations by others shorten it, by the same one twice they do not", () => {
    const suspicion = new Suspicion(lan, 10, "a", 0);
    assert.equal(suspicion.deadline, 24_000);
    assert.equal(suspicion.confirm("a"), false);
    assert.equal(suspicion.confirm("b"), true);
    assert.equal(suspicion.deadline, 11_381);
    assert.equal(suspicion.confirm("b"), false);
    assert.equal(suspicion.confirm("c"), true);
    assert.equal(suspicion.deadline, 4000);
    assert.equal(suspicion.confirm("d"), false);
  });

  it("where too few could confirm, the minimum counts at once", () => assert.equal(new Suspicion(lan, 3, "a", 0).deadline, 4000));
});

describe("the interval of push-pull", () => {
  it("grows with the pool beyond 32 members", () => {
    assert.deepEqual(
      [1, 32, 33, 64, 65, 1024].map((count) => pushPullInterval(30, count)),
      [30, 30, 60, 60, 90, 180],
    );
  });
});

describe("the gossip queue", () => {
  const queue = (memberCount: number, entriesMax = 100) =>
    new GossipQueue({ retransmitMult: 2, memberCount: () => memberCount, entriesMax: () => entriesMax });
  const texts = (taken: readonly Uint8Array[]) => taken.map(text);

  it("gives the least sent first, then the largest that fits, then the newest", () => {
    const gossip = queue(100);
    for (const content of ["aa", "bbbb", "cc"]) gossip.add({ content: utf8(content) });
    assert.deepEqual(texts(gossip.take(2, 10)), ["bbbb", "cc"]);
    assert.deepEqual(texts(gossip.take(2, 100)), ["aa", "bbbb", "cc"]);
  });

  it("drops a message after its sends, and one that is replaced at once; each is told once", () => {
    const finished: string[] = [];
    const gossip = queue(9);
    gossip.add({ content: utf8("old"), key: "n", finished: () => finished.push("old") });
    gossip.add({ content: utf8("new"), key: "n", finished: () => finished.push("new") });
    assert.deepEqual(finished, ["old"]);
    assert.deepEqual(
      [texts(gossip.take(2, 100)), texts(gossip.take(2, 100)), texts(gossip.take(2, 100))],
      [["new"], ["new"], []],
    );
    assert.deepEqual([finished, gossip.length], [["old", "new"], 0]);
  });

  it("beyond its limit the messages sent most often go first", () => {
    const gossip = queue(100, 2);
    gossip.add({ content: utf8("1") });
    gossip.take(2, 100);
    gossip.add({ content: utf8("2") });
    gossip.add({ content: utf8("3") });
    assert.deepEqual(texts(gossip.take(2, 100)), ["3", "2"]);
  });

  it("never gives more than fits, whatever is queued", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(300), { maxLength: 60 }), fc.nat(1400), (lengths, bytesMax) => {
        const gossip = queue(1000);
        for (const length of lengths) gossip.add({ content: new Uint8Array(length) });
        let used = 0;
        for (const content of gossip.take(2, bytesMax)) used += 2 + content.length;
        assert.ok(used <= bytesMax);
        assert.equal(gossip.length, lengths.length);
      }),
    );
  });
});

describe("IP addresses", () => {
  it("are printed as Go prints them", () => {
    const forms: [string, string][] = [
      ["10.0.0.1", "10.0.0.1"],
      ["::1", "::1"],
      ["::", "::"],
      ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
      ["fe80:0:0:0:0:0:0:a", "fe80::a"],
      ["::ffff:10.0.0.1", "10.0.0.1"],
      ["1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"],
    ];
    for (const [written, printed] of forms) assert.equal(ipText(ipBytes(written) as Uint8Array), printed);
  });

  it("what is no address is none", () => {
    for (const host of ["", "10.0.0", "10.0.0.256", "01.0.0.1", "1:2:3", "::1::", "g::", "10.0.0.1:80", "localhost"]) {
      assert.equal(ipBytes(host), undefined, host);
    }
    assert.equal(ipText(new Uint8Array(5)), undefined);
  });

  it("any 16 bytes go there and back, unless they hold IPv4", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const printed = ipText(bytes) as string;
        if (printed.includes(":")) assert.deepEqual(ipBytes(printed), new Uint8Array(bytes));
      }),
    );
  });
});

describe("the keyring", () => {
  const key = (fill: number) => new Uint8Array(16).fill(fill);

  it("rotates: install, use, remove, each in memberlist's words when it cannot", () => {
    const ring = new Keyring([key(1)]);
    assert.equal(ring.use(key(2)), "Requested key is not in the keyring");
    assert.equal(ring.install(key(2)), undefined);
    assert.equal(ring.install(key(2)), undefined);
    assert.equal(ring.use(key(2)), undefined);
    assert.deepEqual(ring.keys, [key(2), key(1)]);
    assert.equal(ring.remove(key(2)), "Removing the primary key is not allowed");
    assert.equal(ring.remove(key(1)), undefined);
    assert.equal(ring.remove(key(9)), undefined);
    assert.deepEqual(ring.keys, [key(2)]);
    assert.equal(ring.install(new Uint8Array(15)), "key size must be 16, 24 or 32 bytes");
  });
});
