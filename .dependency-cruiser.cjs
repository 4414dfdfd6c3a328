/** Folder rules; CONTRIBUTING.md explains them. */
module.exports = {
  forbidden: [
    // Circles of types are circles too. One is left: the store's contract in one file, and that of its feed beside it.
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    { name: 'plugin-imports-only-plugin-api', severity: 'error', from: { path: '^plugins/' }, to: { path: '^(broker|config)/', pathNot: '^broker/plugin-api\\.ts$' } },
    { name: 'codec-knows-nobody', severity: 'error', from: { path: '^broker/mqtt/' }, to: { path: '^broker/', pathNot: '^broker/mqtt/' } },
    { name: 'gateway-does-not-know-store', severity: 'error', from: { path: '^broker/(gateway|ordinary)/' }, to: { path: '^broker/store/' } },
    { name: 'gateway-does-not-know-ordinary-topics', severity: 'error', from: { pathNot: '^(broker/ordinary/|broker/server\\.ts$|test/|bench/)' }, to: { path: '^broker/ordinary/' } },
    { name: 'delivery-does-not-know-mqtt', severity: 'error', from: { path: '^broker/gateway/delivery/' }, to: { path: '^broker/(mqtt|ordinary)/|^broker/gateway/(?!delivery/)' } },
    { name: 'gateway-knows-only-the-link', severity: 'error', from: { path: '^broker/(gateway|ordinary)/' }, to: { path: '^broker/engine/' } },
    { name: 'link-knows-no-side', severity: 'error', from: { path: '^broker/link/' }, to: { path: '^broker/(gateway|ordinary|engine|store)/', pathNot: '^broker/store/(errors|feed|rows|store)\\.ts$' } },
    { name: 'engine-knows-only-the-store-contract', severity: 'error', from: { path: '^broker/engine/' }, to: { path: '^broker/(store/(level|mongodb)|gateway|ordinary|mqtt|cli|http)/' } },
    { name: 'operations-describe', comment: 'what runs is the engine\'s; whoever reads the table needs none of it', severity: 'error', from: { path: '^broker/operations(/|\\.ts$)' }, to: { path: '^broker/', pathNot: '^broker/(operations(/|\\.ts$)|topics\\.ts$|errors\\.ts$)' } },
    { name: 'operations-are-found-in-the-table', severity: 'error', from: { path: '^(broker|plugins)/', pathNot: '^broker/operations(/|\\.ts$)' }, to: { path: '^broker/operations/', pathNot: '^broker/operations/(operation|results|rules)\\.ts$' } },
    { name: 'subjects-do-not-reach-into-each-other', severity: 'error', from: { path: '^broker/engine/(messages|groups|people|reading|sessions|feed)/' }, to: { path: '^broker/engine/(messages|groups|people|reading|sessions|feed|intake|commit|plugins)/', pathNot: '^broker/engine/$1/' } },
    { name: 'store-knows-nobody', severity: 'error', from: { path: '^broker/store/' }, to: { path: '^broker/(gateway|ordinary|link|engine|cli|http|config)/' } },
    { name: 'backends-do-not-know-each-other', severity: 'error', from: { path: '^broker/store/(level|mongodb)/' }, to: { path: '^broker/store/(level|mongodb)/', pathNot: '^broker/store/$1/' } },
    { name: 'only-level-imports-classic-level', severity: 'error', from: { pathNot: '^(broker/store/level|test|bench)/' }, to: { path: 'node_modules/classic-level/' } },
    { name: 'only-mongodb-imports-mongodb', severity: 'error', from: { pathNot: '^(broker/store/mongodb|test)/' }, to: { path: 'node_modules/mongodb/' } },
    { name: 'only-cluster-and-ordinary-topics-import-ioredis', severity: 'error', from: { pathNot: '^(broker/cluster|broker/ordinary/cluster|test)/' }, to: { path: 'node_modules/ioredis/' } },
    { name: 'only-http-imports-fastify', severity: 'error', from: { pathNot: '^(broker/http|test)/' }, to: { path: 'node_modules/fastify/' } },
    { name: 'only-tokens-import-jose', severity: 'error', from: { pathNot: '^(broker/engine/people/jwt|test)/' }, to: { path: 'node_modules/jose/' } },
    { name: 'only-ordinary-imports-aedes', severity: 'error', from: { pathNot: '^(broker/ordinary|test|bench)/' }, to: { path: 'node_modules/(aedes|aedes-packet|aedes-persistence|aedes-persistence-redis|mqemitter-redis|qlobber|mqtt-packet)/' } },
    { name: 'product-does-not-import-tests', severity: 'error', from: { path: '^(broker|plugins)/' }, to: { path: '^(test|bench|examples)/' } }
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(dist|\\.build-)' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'require', 'node', 'default', 'types'] }
  }
}
