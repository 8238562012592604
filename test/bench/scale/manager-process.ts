/** The manager as the product runs it, in a process that also says what it uses. */
import { writeFile } from 'node:fs/promises';
import { Session } from 'node:inspector/promises';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { pino } from 'pino';
import { runManager } from '../../../manager/main.ts';
import { answerParent } from './child.ts';

export interface ManagerProcessOptions {
  readonly directory: string;
  readonly port: number;
  readonly etcd: readonly string[];
}

export interface Usage {
  readonly rssBytes: number;
  readonly heapBytes: number;
  /** Of both kinds, since it started. */
  readonly cpuMs: number;
  /** The longest that the event loop was held since the last question. */
  readonly heldMs: number;
}

export type ManagerMethods = {
  /** `collect`: garbage first. */
  usage(params: { readonly collect: boolean }): Usage;
  startProfile(params: null): Promise<void>;
  /** Writes it to the file. */
  stopProfile(params: { readonly file: string }): Promise<void>;
};

const held = monitorEventLoopDelay({ resolution: 10 });
held.enable();
let profiler: Session | undefined;

const methods: ManagerMethods = {
  usage: ({ collect }) => {
    if (collect) globalThis.gc?.();
    const { rss, heapUsed } = process.memoryUsage();
    const { user, system } = process.cpuUsage();
    const heldMs = held.max / 1e6;
    held.reset();
    return { rssBytes: rss, heapBytes: heapUsed, cpuMs: (user + system) / 1000, heldMs };
  },
  startProfile: async () => {
    profiler = new Session();
    profiler.connect();
    await profiler.post('Profiler.enable');
    await profiler.post('Profiler.start');
  },
  stopProfile: async ({ file }) => {
    const stopped = await profiler?.post('Profiler.stop');
    await writeFile(file, JSON.stringify(stopped?.profile));
  },
};

const { directory, port, etcd } = answerParent<ManagerProcessOptions>(
  methods,
  (options) => options.directory,
);
await runManager(
  {
    name: 'scale',
    stateDir: join(directory, 'state'),
    runDir: join(directory, 'run'),
    apiSocket: join(directory, 'api.sock'),
    listen: { host: '127.0.0.1', port },
    advertise: `127.0.0.1:${port}`,
    etcd: { kind: 'external', endpoints: etcd },
    logger: pino({ level: 'info' }, pino.destination(join(directory, 'manager.log'))),
  },
  new AbortController().signal,
);
