import { assert, describe } from "../support/harness.ts";
import { claim, type Subject } from "./subject.ts";

export function logFollowContract(subject: Subject<"logFollow">): void {
  const { logger, logFollow } = subject.runtime;
  const followed = (options: Parameters<typeof logFollow.follow>[0]) => {
    const lines: string[] = [];
    return { lines, unfollow: logFollow.follow(options, (line) => lines.push(line)) };
  };

  describe(`log follow of ${subject.name}`, () => {
    claim(
      subject,
      "a follower gets lines at its level and above, also those below the log's own, until it unfollows",
      async () => {
        logger.log("debug", "before");
        const { lines, unfollow } = followed({ level: "debug", json: false });
        logger.child("a").log("debug", "first", { key: "a b" });
        logger.log("trace", "too low");
        logger.log("error", "second");
        unfollow();
        unfollow();
        logger.log("error", "after");
        assert.deepEqual(
          lines.map((line) => line.slice(line.indexOf("["))),
          ['[DEBUG] a: first: key="a b"', "[ERROR] second"],
        );
      },
    );

    claim(subject, "followers do not disturb one another, and each has its own form", async () => {
      const plain = followed({ level: "warn", json: false });
      const json = followed({ level: "info", json: true });
      logger.log("info", "one");
      plain.unfollow();
      logger.log("warn", "two");
      json.unfollow();
      assert.deepEqual(plain.lines, []);
      assert.deepEqual(
        json.lines.map((line) => (JSON.parse(line) as Record<string, unknown>)["@message"]),
        ["one", "two"],
      );
    });

    claim(subject, "a level that somebody follows is enabled, so that nobody skips its lines", async () => {
      assert.equal(logger.enabled("trace"), false);
      const { unfollow } = followed({ level: "trace", json: false });
      assert.equal(logger.enabled("trace"), true);
      unfollow();
      assert.equal(logger.enabled("trace"), false);
    });
  });
}
