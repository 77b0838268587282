/** The flags that many commands share: how to reach an agent, and how it shall answer. */
import type { Flags } from "./flags.ts";

/** For commands that speak to an agent. */
export const clientFlags = {
  "http-addr": {
    kind: "string",
    initial: "127.0.0.1:8500",
    placeholder: "address",
    env: "CONSUL_HTTP_ADDR",
    group: "connection",
    help: "Address and port of the agent's HTTP API. May begin with http:// or https://, or be a Unix socket: unix:///path/to/socket.",
  },
  token: {
    kind: "string",
    initial: "",
    placeholder: "secret",
    env: "CONSUL_HTTP_TOKEN",
    group: "connection",
    help: "ACL token. Without one the agent uses its own default token. Visible to other users of this machine: prefer -token-file.",
  },
  "token-file": {
    kind: "string",
    initial: "",
    placeholder: "path",
    env: "CONSUL_HTTP_TOKEN_FILE",
    group: "connection",
    help: "File that holds the ACL token. Wins over -token.",
  },
  "ca-file": {
    kind: "string",
    initial: "",
    placeholder: "path",
    env: "CONSUL_CACERT",
    group: "connection",
    help: "File of CA certificates (PEM) to check the agent's certificate against.",
  },
  "ca-path": {
    kind: "string",
    initial: "",
    placeholder: "path",
    env: "CONSUL_CAPATH",
    group: "connection",
    help: "Directory of CA certificates (PEM). -ca-file wins.",
  },
  "client-cert": {
    kind: "string",
    initial: "",
    placeholder: "path",
    env: "CONSUL_CLIENT_CERT",
    group: "connection",
    help: "Certificate (PEM) to show to an agent that verifies its clients. Needs -client-key.",
  },
  "client-key": {
    kind: "string",
    initial: "",
    placeholder: "path",
    env: "CONSUL_CLIENT_KEY",
    group: "connection",
    help: "Private key (PEM) of -client-cert.",
  },
  "tls-server-name": {
    kind: "string",
    initial: "",
    placeholder: "name",
    env: "CONSUL_TLS_SERVER_NAME",
    group: "connection",
    help: "Name to expect in the agent's certificate, when it differs from the address.",
  },
} as const satisfies Flags;

/** For commands that read or write what the servers hold. */
export const serverFlags = {
  datacenter: {
    kind: "string",
    initial: "",
    placeholder: "name",
    group: "request",
    help: "Datacenter to ask. Default: that of the agent.",
  },
  stale: {
    kind: "bool",
    initial: false,
    group: "request",
    errorStyle: "strconv",
    help: "Let any server answer, not just the leader: scales better, and works without a leader, but may lag behind.",
  },
} as const satisfies Flags;

/** For commands whose objects live in a namespace in Consul Enterprise. */
export const namespaceFlags = {
  namespace: {
    kind: "string",
    initial: "",
    placeholder: "name",
    env: "CONSUL_NAMESPACE",
    group: "request",
    help: "Consul Enterprise only: agents of the open-source edition refuse it.",
  },
} as const satisfies Flags;

export const clientAndServerFlags = { ...clientFlags, ...serverFlags } as const;
export const allSharedFlags = { ...clientFlags, ...serverFlags, ...namespaceFlags } as const;
