/** Internal.KeyringOperation: what a server of another datacenter asks, on behalf of an operator there. */
import type { KeyringApi } from "../plugin/agent-api.ts";
import { decodeKeyringRequest, encodeKeyringAnswers } from "../rpc/endpoints/keyring.ts";
import type { RpcHandler } from "../rpc/server.ts";
import { requestDatacenter } from "./rpc-request.ts";

export function keyringHandlers(keyring: KeyringApi): readonly (readonly [method: string, handler: RpcHandler])[] {
  return [
    [
      "Internal.KeyringOperation",
      async (args) => {
        requestDatacenter(args);
        return encodeKeyringAnswers(await keyring.run(decodeKeyringRequest(args)));
      },
    ],
  ];
}
