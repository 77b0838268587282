/** An IP address and a port. `host` is a literal IPv4 or IPv6 address without brackets, except where a port says it resolves names. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** "host:port", with brackets round IPv6. */
export function formatAddress(address: Address): string {
  return address.host.includes(":") ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}
