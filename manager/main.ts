/** Wiring of a manager, nothing else: the one place that makes its clocks, sockets and stores. */
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../shared/lib/clock.ts';
import { VERSION } from '../shared/lib/version.ts';
import type { ManagerOptions, ManagerRunFile } from '../shared/model/options.ts';
import { createApi } from './api/api.ts';
import { listenUnix } from './api/listen.ts';
import { loadOrCreateCluster } from './ca/cluster.ts';
import { startDispatcher } from './dispatcher/dispatcher.ts';
import { lead } from './leader/leader.ts';
import { Election } from './store/election.ts';
import { EmbeddedEtcd } from './store/embedded-etcd.ts';
import { openStore } from './store/open-store.ts';

/** Runs until the signal aborts. Losing etcd or the leadership ends nothing. */
export async function runManager(options: ManagerOptions, signal: AbortSignal): Promise<void> {
  throw new Error('wired once the parts are there');
}
