/** What every version knows that says what it knows: see spec-keys.ts. Not to be added to. */
const KEYS = `
  autoscale autoscale.coolDownMs autoscale.cpuPercent autoscale.max autoscale.memoryPercent autoscale.min balance balance=random
  balance=source-hash canary canary.of canary.share container container.args container.capAdd container.capDrop
  container.command container.configs container.configs.id container.configs.name container.configs.target
  container.configs.target.gid container.configs.target.mode container.configs.target.name container.configs.target.uid
  container.consoleSize container.consoleSize.columns container.consoleSize.rows container.dns container.dns.nameservers
  container.dns.options container.dns.search container.env container.extraHosts container.groups container.healthCheck
  container.healthCheck.intervalNs container.healthCheck.retries container.healthCheck.startIntervalNs
  container.healthCheck.startPeriodNs container.healthCheck.test container.healthCheck.timeoutNs container.hostname
  container.image container.init container.labels container.mounts container.mounts.createSource container.mounts.dev
  container.mounts.driver container.mounts.exec container.mounts.gid container.mounts.kind container.mounts.kind=bind
  container.mounts.kind=tmpfs container.mounts.kind=volume container.mounts.labels container.mounts.mode container.mounts.noCopy
  container.mounts.options container.mounts.propagation container.mounts.propagation=private
  container.mounts.propagation=rprivate container.mounts.propagation=rshared container.mounts.propagation=rslave
  container.mounts.propagation=shared container.mounts.propagation=slave container.mounts.readOnly container.mounts.recursive
  container.mounts.recursive=false container.mounts.sizeBytes container.mounts.source container.mounts.subpath
  container.mounts.suid container.mounts.target container.mounts.uid container.noNewPrivileges container.oomScoreAdj
  container.openStdin container.readOnlyRoot container.runtime container.runtime.blockIo container.runtime.blockIo.readBps
  container.runtime.blockIo.readBps.amount container.runtime.blockIo.readBps.path container.runtime.blockIo.readIops
  container.runtime.blockIo.readIops.amount container.runtime.blockIo.readIops.path container.runtime.blockIo.weight
  container.runtime.blockIo.weights container.runtime.blockIo.weights.amount container.runtime.blockIo.weights.path
  container.runtime.blockIo.writeBps container.runtime.blockIo.writeBps.amount container.runtime.blockIo.writeBps.path
  container.runtime.blockIo.writeIops container.runtime.blockIo.writeIops.amount container.runtime.blockIo.writeIops.path
  container.runtime.cpuPeriodUs container.runtime.cpuShares container.runtime.cpuset container.runtime.deviceRules
  container.runtime.devices container.runtime.devices.access container.runtime.devices.source container.runtime.devices.target
  container.runtime.domainname container.runtime.hostCgroup container.runtime.hostIpc container.runtime.hostPid
  container.runtime.hostUts container.runtime.memorySwapBytes container.runtime.memorySwappiness container.runtime.network
  container.runtime.network=host container.runtime.network=none container.runtime.privileged container.runtime.pullPolicy
  container.runtime.pullPolicy=missing container.runtime.pullPolicy=never container.runtime.shmBytes
  container.runtime.userNamespace container.runtime.userNamespace=host container.runtime.userNamespace=private
  container.seccompProfile container.seccompUnconfined container.secrets container.secrets.id container.secrets.name
  container.secrets.target container.secrets.target.gid container.secrets.target.mode container.secrets.target.name
  container.secrets.target.uid container.stdinOnce container.stopGraceNs container.stopSignal container.sysctls container.tty
  container.ulimits container.ulimits.hard container.ulimits.name container.ulimits.soft container.user container.workingDir
  dependsOn dependsOn.condition dependsOn.condition=completed dependsOn.condition=healthy dependsOn.condition=started
  dependsOn.required dependsOn.service drain drain=at-once drain=start-first drain=stop-first endpointMode endpointMode=dnsrr
  endpointMode=vip forceUpdate labels limits limits.memoryBytes limits.nanoCpus limits.pids logDriver logDriver.name
  logDriver.options mode mode.autoRemove mode.catchUpMs mode.concurrency mode.concurrency=allow mode.concurrency=forbid
  mode.concurrency=replace mode.containerId mode.history mode.kind mode.kind=container mode.kind=cron mode.kind=global
  mode.kind=global-job mode.kind=replicated mode.kind=replicated-job mode.maxConcurrent mode.nodes mode.replicas mode.schedule
  mode.timeZone mode.totalCompletions name networks networks.address networks.aliases networks.network networks.wayOutPriority
  placement placement.affinities placement.affinities.hard placement.affinities.kind placement.affinities.kind=apart
  placement.affinities.kind=with placement.affinities.service placement.constraints placement.maxReplicasPerNode
  placement.platforms placement.platforms.arch placement.platforms.os placement.spread placement.strategy
  placement.strategy=binpack placement.strategy=spread ports ports.hostIp ports.mode ports.mode=host ports.mode=ingress
  ports.name ports.protocol ports.protocol=sctp ports.protocol=tcp ports.protocol=udp ports.publishedPort ports.targetPort
  priority rebalanceEveryMs registryAuth reservations reservations.genericResources reservations.genericResources.count
  reservations.genericResources.kind reservations.memoryBytes reservations.nanoCpus reservations.pids restart restart.condition
  restart.condition=any restart.condition=none restart.condition=on-failure restart.delayNs restart.maxAttempts restart.windowNs
  rollback rollback.delayNs rollback.failureAction rollback.failureAction=continue rollback.failureAction=pause
  rollback.failureAction=rollback rollback.maxFailureRatio rollback.monitorNs rollback.order rollback.order=start-first
  rollback.order=stop-first rollback.parallelism serveUnready serveUnready=true update update.delayNs update.failureAction
  update.failureAction=continue update.failureAction=pause update.failureAction=rollback update.maxFailureRatio update.monitorNs
  update.order update.order=start-first update.order=stop-first update.parallelism updateDeadlineMs withdrawWaitMs
`;

/** The same of networks. */
const NETWORK_KEYS = `
  network.gateway network.ingress network.internal network.name network.networkId network.subnet network.vni
`;

export const BASE_KEYS: ReadonlySet<string> = new Set(`${KEYS} ${NETWORK_KEYS}`.trim().split(/\s+/));
