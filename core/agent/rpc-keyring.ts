/** Internal.KeyringOperation: what a server of another datacenter asks, on behalf of an operator there. */
import type { KeyringApi } from "../plugin/agent-api.ts";
import { decodeKeyringRequest, encodeKeyringAnswers } from "../rpc/endpoints/keyring.ts";
import type { RpcHandler } from "../rpc/server.ts";

export function keyringHandlers(keyring: KeyringApi): readonly (readonly [method: string, handler: RpcHandler])[] {
  return [
    // Consul's servers name no datacenter here: whom they ask is whom they mean.
    ["Internal.KeyringOperation", async (args) => encodeKeyringAnswers(await keyring.run(decodeKeyringRequest(args)))],
  ];
}
