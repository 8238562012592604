/** Machines with their identity on their disk, as agents have it, and what a manager shows. */
import type { X509Certificate } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { connect } from 'node:tls';
import type { ExecutionContext } from 'ava';
import { saveIdentity } from '../../../agent/session/identity.ts';
import type { LinkHandlers } from '../../../agent/session/link.ts';
import { NodeIdentity } from '../../../agent/session/node-identity.ts';
import { Returning } from '../../../agent/session/returning.ts';
import { NotFoundError } from '../../../shared/errors/index.ts';
import type { NodeMethods } from '../../../shared/model/node-methods/index.ts';
import { quiet, type Rig, startAgent, type TestAgent } from './rig.ts';

/** The certificate of whoever answers. */
export function shownBy(address: string): Promise<X509Certificate> {
  const [host, port] = address.split(':');
  return new Promise((resolve, reject) => {
    const socket = connect({ host: host ?? '', port: Number(port), rejectUnauthorized: false }, () => {
      const certificate = socket.getPeerX509Certificate();
      socket.destroy();
      if (certificate === undefined) reject(new Error('no certificate'));
      else resolve(certificate);
    });
    socket.on('error', reject);
  });
}

export interface Machine {
  readonly directory: string;
  readonly identity: NodeIdentity;
  start(token?: string): TestAgent;
}

/** A machine that has joined, with its identity on its disk as an agent has it. */
export async function machine(t: ExecutionContext, r: Rig, hostname: string): Promise<Machine> {
  const directory = await mkdtemp(joinPath(tmpdir(), 'shoal-certificates-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const joined = await r.joined(hostname);
  await saveIdentity(directory, joined);
  const identity = new NodeIdentity(directory, joined);
  const start = (token?: string): TestAgent => {
    const given = token === undefined ? {} : { join: { token, managers: [r.address] } };
    const returning = new Returning({ identity, hostname, logger: quiet, ...given });
    const onRefused = (signal: AbortSignal): Promise<void> => returning.refused(signal);
    const options = { address: r.address, identity, hostname, onRefused, signal: r.signal };
    return startAgent({ ...options, handlers: { call: callsOf(identity) } });
  };
  return { directory, identity, start };
}

function callsOf({ methods }: NodeIdentity): LinkHandlers['call'] {
  return <M extends keyof NodeMethods>(method: M, params: NodeMethods[M]['params'], signal: AbortSignal) => {
    if (!Object.hasOwn(methods, method)) return Promise.reject(new NotFoundError(method));
    const handler = methods[method as keyof typeof methods] as (
      params: NodeMethods[M]['params'],
      signal: AbortSignal,
    ) => Promise<NodeMethods[M]['result']>;
    return handler(params, signal);
  };
}
