/**
 * An HttpServer that also answers inside the process: `fetch` goes straight to the handler that was served, without a
 * socket. With no server behind it nothing listens at all.
 */
import type { HttpListener, HttpServeOptions, HttpServer } from "../../core/ports/http.ts";
import { AgentError } from "../../core/types/errors.ts";

export interface CapturedHttp extends HttpServer {
  fetch(request: Request): Promise<Response>;
}

const nowhere = { host: "127.0.0.1", port: 0 } as const;

export function captureHttp(behind: HttpServer | undefined): CapturedHttp {
  let handler: HttpServeOptions["fetch"] | undefined;
  return {
    async serve(options) {
      handler ??= options.fetch;
      if (behind !== undefined) return behind.serve(options);
      const listener: HttpListener = {
        local: options.at,
        close: async () => {
          handler = undefined;
        },
      };
      return listener;
    },
    async fetch(request) {
      if (handler === undefined) throw new AgentError("closed", { message: "The agent's HTTP API is not running" });
      return (await handler(request, nowhere)) as Response;
    },
  };
}
