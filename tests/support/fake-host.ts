/** A terminal, a file system and an HTTP peer in memory, for what the command line does to the world. */
import type { Host } from "../../core/ports/host.ts";
import type { HttpClient, HttpClientRequest, HttpClientResponse } from "../../core/ports/http.ts";
import { type Bytes, concat, text, utf8 } from "../../core/types/bytes.ts";
import { AgentError } from "../../core/types/errors.ts";

export interface FakeHostOptions {
  readonly argv?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  /** Path to content. A directory is there when something is below it. */
  readonly files?: Readonly<Record<string, string>>;
}

/** A host whose output can be read back. Signals never come; `exit` throws. */
export class FakeHost implements Host {
  readonly platform = "linux";
  readonly pid = 4242;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly #stdin: Bytes;
  readonly #files: Map<string, Bytes>;
  #stdout: Bytes[] = [];
  #stderr = "";

  constructor(options: FakeHostOptions = {}) {
    this.argv = options.argv ?? [];
    this.env = options.env ?? {};
    this.#stdin = utf8(options.stdin ?? "");
    this.#files = new Map(Object.entries(options.files ?? {}).map(([path, content]) => [path, utf8(content)]));
  }

  get written(): { readonly stdout: string; readonly stderr: string; readonly stdoutBytes: Bytes } {
    const stdoutBytes = concat(this.#stdout);
    return { stdout: text(stdoutBytes), stderr: this.#stderr, stdoutBytes };
  }

  hostname(): string {
    return "fake";
  }
  interfaces(): ReturnType<Host["interfaces"]> {
    return [{ name: "lo", address: "127.0.0.1", family: 4, internal: true }];
  }
  fileDescriptorsMax(): number | undefined {
    return undefined;
  }
  memory(): ReturnType<Host["memory"]> {
    return { residentBytes: 0, heapUsedBytes: 0, heapTotalBytes: 0 };
  }

  async readFile(path: string): Promise<Bytes> {
    const content = this.#files.get(path);
    if (content !== undefined) return content;
    const reason = (await this.stat(path)) === undefined ? "no such file or directory" : "is a directory";
    throw new AgentError("not-found", { message: `open ${path}: ${reason}` });
  }
  async writeFile(path: string, content: Bytes): Promise<void> {
    this.#files.set(path, content);
  }
  async appendFile(path: string, content: Bytes): Promise<void> {
    this.#files.set(path, concat([this.#files.get(path) ?? utf8(""), content]));
  }
  async removeFile(path: string): Promise<void> {
    this.#files.delete(path);
  }
  async renameFile(from: string, to: string): Promise<void> {
    this.#files.set(to, await this.readFile(from));
    this.#files.delete(from);
  }
  async stat(path: string): ReturnType<Host["stat"]> {
    const content = this.#files.get(path);
    if (content !== undefined) return { kind: "file", size: content.length };
    return (await this.readDirectory(path)).length > 0 ? { kind: "directory", size: 0 } : undefined;
  }
  async readDirectory(path: string): Promise<readonly string[]> {
    const prefix = path.endsWith("/") ? path : `${path}/`;
    const names = [...this.#files.keys()]
      .filter((name) => name.startsWith(prefix))
      .map((name) => name.slice(prefix.length).split("/")[0] as string);
    return [...new Set(names)].sort();
  }
  async makeDirectory(): Promise<void> {}

  stdout(output: string | Bytes): void {
    this.#stdout.push(typeof output === "string" ? utf8(output) : output.slice());
  }
  stderr(output: string): void {
    this.#stderr += output;
  }
  async stdin(bytesMax: number): Promise<Bytes> {
    if (this.#stdin.length > bytesMax)
      throw new AgentError("too-large", { message: `Cannot read standard input: more than ${bytesMax} bytes` });
    return this.#stdin;
  }
  onSignal(): void {}
  exit(code: number): never {
    throw new Error(`exit ${code}`);
  }
}

/** What the peer answers: a status and body, or no answer at all. */
export type Scripted =
  | { readonly status: number; readonly body: string; readonly headers?: Readonly<Record<string, string>> }
  | { readonly error: string };

/** Answers requests in the order of the script and remembers them. One more than the script holds is refused. */
export class ScriptedHttpClient implements HttpClient {
  readonly requests: HttpClientRequest[] = [];
  readonly #answers: readonly Scripted[];

  constructor(answers: readonly Scripted[]) {
    this.#answers = answers;
  }

  async request(request: HttpClientRequest): Promise<HttpClientResponse> {
    const answer = this.#answers[this.requests.length];
    this.requests.push(request);
    if (answer === undefined) throw new Error(`request ${request.method} ${request.url} is not in the script`);
    if ("error" in answer) throw new AgentError("connection-refused", { message: answer.error });
    const body = utf8(answer.body);
    const streamed = request.receive !== undefined && answer.status < 300;
    if (streamed) for (let at = 0; at < body.length; at += 7) request.receive?.(body.slice(at, at + 7));
    return {
      status: answer.status,
      statusText: "",
      headers: answer.headers ?? {},
      body: streamed ? new Uint8Array(0) : body,
      truncated: false,
    };
  }
}
