/** The API of a fixture on TCP, and users of it: with certificates as `shoal user add` gets them, and tokens. */
import { type IncomingMessage } from 'node:http';
import { request, type RequestOptions } from 'node:https';
import { TcpDoor } from '../../../manager/api/access/tcp-door.ts';
import { type ApiOptions, createApi } from '../../../manager/api/index.ts';
import { Refusals } from '../../../manager/dispatcher/refusals.ts';
import { authorityOf } from '../../../manager/ca/cluster.ts';
import { certificateRequest, generateKeys, privateKeyPem } from '../../../shared/wire/keys.ts';
import { silentLogger } from '../../harness/silent-logger.ts';
import { testVault } from '../../harness/vault.ts';
import { ApiFixture, type Json } from './fixture.ts';

export interface Credentials {
  readonly cert?: string;
  readonly key?: string;
  readonly token?: string;
}

export interface Told {
  readonly status: number;
  readonly json: Json;
  readonly text: string;
}

export class AccessDoor implements AsyncDisposable {
  readonly api: ApiFixture;
  readonly port: number;
  ca = '';
  readonly #door: TcpDoor;

  private constructor(api: ApiFixture, door: TcpDoor, port: number) {
    this.api = api;
    this.#door = door;
    this.port = port;
  }

  static async open(more: Partial<ApiOptions> = {}): Promise<AccessDoor> {
    const api = await ApiFixture.up(2, more);
    const clock = { now: () => Date.now() };
    const authority = () => {
      const cluster = api.store.get('cluster', 'self');
      if (cluster === undefined) throw new Error('the fixture has no cluster');
      return authorityOf(cluster, testVault);
    };
    const refusals = new Refusals(silentLogger);
    const options = {
      ...{ store: api.store, authority, managerId: 'm1', names: [], clock },
      ...{ refusals, logger: silentLogger, audit: more.audit },
    };
    const door = await TcpDoor.open(options);
    const at = { host: '127.0.0.1', port: 0 };
    const { port } = await door.listen(at, (access) => createApi({ ...api.options(), ...more, access }));
    const made = new AccessDoor(api, door, port);
    made.ca = (await authority()).trustPem;
    return made;
  }

  /** Made over the unix socket, as root does. */
  async user(name: string, role: string, stacks?: readonly string[]): Promise<Credentials> {
    const made = await this.api.send('POST', '/users', { Name: name, Role: role, Stacks: stacks ?? null });
    if (made.status !== 201) throw new Error(`${made.status} ${made.json?.message}`);
    return this.certificate(name);
  }

  async certificate(name: string, more: object = {}): Promise<Required<Omit<Credentials, 'token'>>> {
    const keys = await generateKeys();
    const body = { Request: await certificateRequest(keys), Keep: true, ...more };
    const issued = await this.api.send('POST', `/users/${name}/certificate`, body);
    if (issued.status !== 201) throw new Error(`${issued.status} ${issued.json?.message}`);
    return { cert: issued.json.Certificate, key: await privateKeyPem(keys.privateKey) };
  }

  async token(name: string): Promise<Credentials> {
    return { token: (await this.api.send('POST', `/users/${name}/tokens`, {})).json.Token };
  }

  /** The answer when its head is there; the rest can be read. */
  open(who: Credentials, method: string, path: string, body?: unknown): Promise<IncomingMessage> {
    const { token, ...certificate } = who;
    const proof = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const headers = body === undefined ? proof : { ...proof, 'content-type': 'application/json' };
    const options: RequestOptions = { host: '127.0.0.1', port: this.port, ca: this.ca, agent: false };
    return new Promise((resolve, reject) => {
      const req = request({ ...options, ...certificate, method, path, headers }, resolve);
      req.on('error', reject);
      req.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  async send(who: Credentials, method: string, path: string, body?: unknown): Promise<Told> {
    const response = await this.open(who, method, path, body);
    const parts: Buffer[] = [];
    for await (const part of response) parts.push(part as Buffer);
    const text = Buffer.concat(parts).toString('utf8');
    return { status: response.statusCode ?? 0, text, json: parsed(text) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#door.close();
    await this.api[Symbol.asyncDispose]();
  }
}

function parsed(text: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
