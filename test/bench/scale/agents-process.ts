/** All agents of a simulated cluster, in one process. */
import { setMaxListeners } from 'node:events';
import { readFile } from 'node:fs/promises';
import { answerParent } from './child.ts';
import { Door } from './door.ts';
import {
  type AgentCounts,
  type AgentIdentity,
  type AgentSurroundings,
  SimulatedAgent,
} from './simulated-agent.ts';

export interface AgentsProcessOptions {
  readonly directory: string;
  /** Holds AgentsFile. */
  readonly file: string;
  /** Nodes that make a connection at the same time; after a restart of the manager the others wait for their turn. */
  readonly connecting: number;
}

export interface AgentsFile extends AgentSurroundings {
  readonly agents: readonly AgentIdentity[];
}

export type AgentsMethods = {
  counts(params: null): AgentCounts & { readonly cpuMs: number };
};

const counts: AgentCounts = { sessions: 0, running: 0 };
const methods: AgentsMethods = {
  counts: () => {
    const { user, system } = process.cpuUsage();
    return { ...counts, cpuMs: (user + system) / 1000 };
  },
};
const options = answerParent<AgentsProcessOptions>(methods, ({ directory }) => directory);
const { agents, ...around } = JSON.parse(await readFile(options.file, 'utf8')) as AgentsFile;
const { signal } = new AbortController();
setMaxListeners(0, signal);
const door = new Door(options.connecting);
const waiting = agents.map((identity) => new SimulatedAgent(identity, around, counts, door));

/** Starts one after the other, each once the one before has its session. */
async function connectSome(): Promise<void> {
  for (let agent = waiting.pop(); agent !== undefined; agent = waiting.pop()) {
    const next = agent;
    await new Promise<void>((resolve) => void next.run(resolve, signal));
  }
}

await Promise.all(Array.from({ length: options.connecting }, connectSome));
