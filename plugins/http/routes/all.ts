/** Every route of the API, and the root. */
import type { ApiContext } from "../context.ts";
import type { Route } from "../extension.ts";
import { agentControlRoutes } from "./agent-control.ts";
import { agentHealthRoutes } from "./agent-health.ts";
import { agentLocalRoutes } from "./agent-local.ts";
import { agentRegisterRoutes } from "./agent-register.ts";
import { autopilotRoutes } from "./autopilot.ts";
import { catalogRoutes } from "./catalog.ts";
import { coordinateRoutes } from "./coordinate.ts";
import { eventRoutes } from "./event.ts";
import { healthRoutes } from "./health.ts";
import { internalUiRoutes } from "./internal-ui.ts";
import { keyringRoutes } from "./keyring.ts";
import { kvRoutes } from "./kv.ts";
import { operatorRoutes } from "./operator.ts";
import { sessionRoutes } from "./session.ts";
import { snapshotRoutes } from "./snapshot.ts";
import { statusRoutes } from "./status.ts";
import { txnRoutes } from "./txn.ts";
import { unbuiltRoutes } from "./unbuilt.ts";

export function apiRoutes(context: ApiContext): readonly Route[] {
  return [
    ...agentControlRoutes(context),
    ...agentHealthRoutes(context),
    ...agentLocalRoutes(context),
    ...agentRegisterRoutes(context),
    ...autopilotRoutes(context),
    ...catalogRoutes(context),
    ...coordinateRoutes(context),
    ...eventRoutes(context),
    ...healthRoutes(context),
    ...internalUiRoutes(context),
    ...keyringRoutes(context),
    ...kvRoutes(context),
    ...operatorRoutes(context),
    ...sessionRoutes(context),
    ...snapshotRoutes(context),
    ...statusRoutes(context),
    ...txnRoutes(context),
    ...unbuiltRoutes(),
  ];
}
