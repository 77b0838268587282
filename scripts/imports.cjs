// The direction of imports (ARCHITECTURE.md) as rules for dependency-cruiser.
const rule = (name, from, to) => ({ name, severity: "error", from, to });

module.exports = {
  forbidden: [
    rule("types know nothing", { path: "^core/types/" }, { pathNot: "^core/types/" }),
    rule("ports know only types", { path: "^core/ports/" }, { pathNot: "^core/(ports|types)/" }),
    rule("core knows only core", { path: "^core/(?!codec/cbor\\.ts|structures/ordered-map\\.ts)" }, { pathNot: "^core/" }),
    rule(
      "two doors for two libraries",
      { path: "^core/(codec/cbor|structures/ordered-map)\\.ts" },
      { pathNot: "^core/|node_modules/(cbor-x|sorted-btree)/" },
    ),
    rule("the catalog sees no port", { path: "^core/catalog/" }, { path: "^core/(ports|raft|swim|agent)/" }),
    rule("raft and swim are strangers", { path: "^core/(raft|swim)/" }, { path: "^core/(?!$1/)(raft|swim|serf|agent|catalog)/" }),
    rule("plugins are below the agent", { path: "^core/plugin/" }, { path: "^core/(agent|raft|swim|serf|rpc)/" }),
    rule(
      "runtimes know only ports",
      { path: "^adapters/(?!compose/|sim/)([^/]+)/(?!main\\.ts|embed\\.ts)" },
      { path: "^(core/(?!ports/|types/|codec/)|plugins/|adapters/(?!$1/|shared/|node-api/))" },
    ),
    // It drives the machines of core itself, and is exported for tests.
    rule(
      "the simulator knows no plugin",
      { path: "^adapters/sim/" },
      { path: "^(plugins/|adapters/(?!sim/|shared/|node-api/))" },
    ),
    rule("plugins never see runtimes", { path: "^plugins/" }, { path: "^adapters/" }),
    rule("plugins meet at extensions", { path: "^plugins/([^/]+)/" }, { path: "^plugins/(?!$1/)(?!.*/extension\\.ts$)" }),
    rule("plugins see no internals", { path: "^plugins/" }, { path: "^core/(raft|swim|serf|rpc|agent)/" }),
    rule("one file knows the container", { pathNot: "^adapters/compose/" }, { path: "node_modules/(tsyringe|reflect-metadata)" }),
    rule("no cycles", {}, { circular: true }),
  ],
  options: { tsPreCompilationDeps: true, doNotFollow: { path: "node_modules" }, tsConfig: { fileName: "tsconfig.json" } },
};
