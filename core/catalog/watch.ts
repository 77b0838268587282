/**
 * Who waits for which rows: the catalog touches topics while it applies, and `flush` wakes each watcher once per batch.
 *
 *   apply ──touch──► topic ──marks──► watchers ──flush──► fire, once each
 *                      └── stamp: readers that only want to know "changed since?" compare it and cost a write nothing
 *
 * A topic exists only while somebody watches or follows it, so a write to rows that nobody waits for is one failed
 * Map look-up, whatever the number of watchers elsewhere. Key-value prefixes: a write of key `a/b` looks up `a/b` cut to
 * each length at which any prefix is watched.
 *
 * Invariants: a watcher fires in the flush after a touch of one of its topics, and in no other; after unwatch it never
 * fires and nothing remembers it.
 */
import type { Topic } from "./queries.ts";

export type Unwatch = () => void;
/** `abandoned`: the whole state was replaced by a snapshot, so indexes may have gone back. */
export type Fire = (abandoned: boolean) => void;

/** The names of topics. Names of nodes and services are compared without case, so they are folded. */
export const topics = {
  /** Tables as a whole. */
  nodes: "nodes",
  services: "services",
  checks: "checks",
  sessions: "sessions",
  coordinates: "coordinates",
  kv: "kv",
  /** Some were reaped. */
  tombstones: "tombstones",
  /** The last time that a service lost its last instance. */
  extinctions: "extinctions",
  /** The last time that a node went. */
  nodeExtinctions: "node-extinctions",
  node: (name: string): Topic => `node:${name.toLowerCase()}`,
  nodeServices: (name: string): Topic => `node-services:${name.toLowerCase()}`,
  nodeChecks: (name: string): Topic => `node-checks:${name.toLowerCase()}`,
  nodeSessions: (name: string): Topic => `node-sessions:${name.toLowerCase()}`,
  /** Anything about the instances of a service: the service, its nodes, all checks that count for it. */
  service: (name: string): Topic => `service:${name.toLowerCase()}`,
  /** The instances themselves and their nodes, without checks. */
  instances: (name: string): Topic => `instances:${name.toLowerCase()}`,
  /** Proxies and native instances that speak for a service. */
  connect: (name: string): Topic => `connect:${name.toLowerCase()}`,
  serviceChecks: (name: string): Topic => `service-checks:${name.toLowerCase()}`,
  checksInState: (status: string): Topic => `check-state:${status}`,
  session: (key: string): Topic => `session:${key}`,
  coordinate: (node: string): Topic => `coordinate:${node.toLowerCase()}`,
  kvKey: (key: string): Topic => `${keyMark}${key}`,
  kvPrefix: (prefix: string): Topic => `${prefixMark}${prefix}`,
} as const;

const keyMark = "kv:";
const prefixMark = "kv-prefix:";

interface TopicState {
  readonly name: string;
  readonly home: Map<string, TopicState>;
  /** When it was last touched, on the watches' own counter. */
  stamp: number;
  /** How many watchers and followers name it. */
  holders: number;
  /** One watcher is the common case and costs no Set. */
  watchers: Watcher | Set<Watcher> | undefined;
}

interface Watcher {
  readonly fire: Fire;
  readonly watched: readonly TopicState[];
  due: boolean;
  active: boolean;
}

export class Watches {
  readonly #named = new Map<string, TopicState>();
  readonly #keys = new Map<string, TopicState>();
  readonly #prefixes = new Map<string, TopicState>();
  /** How many watched prefixes have a length; the lengths, ascending. */
  readonly #prefixLengths = new Map<number, number>();
  #lengths: readonly number[] = [];
  readonly #watchers = new Set<Watcher>();
  #due: Watcher[] = [];
  #stamp = 0;
  #abandoned = false;

  /** How many watchers there are. */
  get size(): number {
    return this.#watchers.size;
  }

  /** How many topics are held, for finding leaks. */
  get topicCount(): number {
    return this.#named.size + this.#keys.size + this.#prefixes.size;
  }

  /** Calls `fire` in each flush that follows a touch of one of `names`, until the returned function is called. */
  watch(names: readonly Topic[], fire: Fire): Unwatch {
    const watched = names.map((name) => this.#hold(name));
    const watcher: Watcher = { fire, watched, due: false, active: true };
    for (const topic of watched) addWatcher(topic, watcher);
    this.#watchers.add(watcher);
    return () => {
      if (!watcher.active) return;
      watcher.active = false;
      this.#watchers.delete(watcher);
      for (const topic of watcher.watched) {
        removeWatcher(topic, watcher);
        this.#release(topic);
      }
    };
  }

  /** To learn later whether one of `names` was touched since now. Costs a touch nothing. Must be closed. */
  follow(names: readonly Topic[]): Follower {
    return new Follower(
      names.map((name) => this.#hold(name)),
      this.#stamp,
      (topic) => this.#release(topic),
    );
  }

  /** Rows of this topic changed. */
  touch(name: Topic): void {
    if (name.startsWith(keyMark)) this.touchKey(name.slice(keyMark.length));
    else this.#touch(this.#named.get(name));
  }

  /** A key was set or deleted: wakes its own watchers and those of the prefixes above it. */
  touchKey(key: string): void {
    this.#touch(this.#named.get(topics.kv));
    if (this.#keys.size > 0) this.#touch(this.#keys.get(key));
    for (const length of this.#lengths) {
      if (length > key.length) break;
      this.#touch(this.#prefixes.get(length === key.length ? key : key.slice(0, length)));
    }
  }

  /** The state was replaced as a whole: everyone is woken and told so. */
  abandon(): void {
    this.#stamp++;
    this.#abandoned = true;
    for (const home of [this.#named, this.#keys, this.#prefixes]) for (const topic of home.values()) topic.stamp = this.#stamp;
    for (const watcher of this.#watchers) this.#makeDue(watcher);
  }

  /** Fires every watcher that a touch since the last flush concerns, once. Called after a batch was applied. */
  flush(): void {
    if (this.#due.length === 0 && !this.#abandoned) return;
    const due = this.#due;
    const abandoned = this.#abandoned;
    this.#due = [];
    this.#abandoned = false;
    for (const watcher of due) {
      watcher.due = false;
      if (watcher.active) watcher.fire(abandoned);
    }
  }

  #touch(topic: TopicState | undefined): void {
    if (topic === undefined) return;
    topic.stamp = ++this.#stamp;
    const { watchers } = topic;
    if (watchers === undefined) return;
    if (watchers instanceof Set) for (const watcher of watchers) this.#makeDue(watcher);
    else this.#makeDue(watchers);
  }

  #makeDue(watcher: Watcher): void {
    if (watcher.due) return;
    watcher.due = true;
    this.#due.push(watcher);
  }

  #hold(topic: Topic): TopicState {
    const isKey = topic.startsWith(keyMark);
    const isPrefix = !isKey && topic.startsWith(prefixMark);
    const home = isKey ? this.#keys : isPrefix ? this.#prefixes : this.#named;
    const name = isKey ? topic.slice(keyMark.length) : isPrefix ? topic.slice(prefixMark.length) : topic;
    let state = home.get(name);
    if (state === undefined) {
      // Stamp 0 is right also for a topic that was touched unheard: a follower compares with its own start.
      state = { name, home, stamp: 0, holders: 0, watchers: undefined };
      home.set(name, state);
      if (isPrefix) this.#countLength(name.length, 1);
    }
    state.holders++;
    return state;
  }

  #release(topic: TopicState): void {
    if (--topic.holders > 0) return;
    topic.home.delete(topic.name);
    if (topic.home === this.#prefixes) this.#countLength(topic.name.length, -1);
  }

  #countLength(length: number, change: 1 | -1): void {
    const count = (this.#prefixLengths.get(length) ?? 0) + change;
    if (count === 0) this.#prefixLengths.delete(length);
    else this.#prefixLengths.set(length, count);
    if (count === 0 || (count === 1 && change === 1))
      this.#lengths = [...this.#prefixLengths.keys()].sort((left, right) => left - right);
  }
}

/** See {@link Watches.follow}. */
export class Follower {
  readonly #followed: readonly TopicState[];
  readonly #since: number;
  readonly #release: (topic: TopicState) => void;
  #open = true;

  constructor(followed: readonly TopicState[], since: number, release: (topic: TopicState) => void) {
    this.#followed = followed;
    this.#since = since;
    this.#release = release;
  }

  /** True when a topic was touched since the follower was made. */
  get changed(): boolean {
    for (const topic of this.#followed) if (topic.stamp > this.#since) return true;
    return false;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    for (const topic of this.#followed) this.#release(topic);
  }
}

function addWatcher(topic: TopicState, watcher: Watcher): void {
  const { watchers } = topic;
  if (watchers === undefined) topic.watchers = watcher;
  else if (watchers instanceof Set) watchers.add(watcher);
  else topic.watchers = new Set([watchers, watcher]);
}

function removeWatcher(topic: TopicState, watcher: Watcher): void {
  const { watchers } = topic;
  if (watchers === watcher) topic.watchers = undefined;
  else if (watchers instanceof Set) {
    watchers.delete(watcher);
    if (watchers.size === 0) topic.watchers = undefined;
  }
}
