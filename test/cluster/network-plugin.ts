/**
 * A network plugin of Docker's protocol, small but real: a bridge for each network, a veth for each endpoint. What is
 * wrong with it is asked for by the network's option `wrong`. Arguments: its socket, and the file in which it notes its calls.
 */
import { execFile } from 'node:child_process';
import { appendFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { promisify } from 'node:util';

const run = promisify(execFile);
const [socketPath = '', notes = ''] = process.argv.slice(2);

interface Network {
  readonly bridge: string;
  readonly gateway: string;
  readonly wrong: string;
}

interface Call {
  readonly NetworkID?: string;
  readonly EndpointID?: string;
  readonly Options?: { readonly 'com.docker.network.generic'?: { readonly wrong?: string } };
  readonly IPv4Data?: readonly { readonly Gateway: string }[];
}

/** In memory alone: one that is started anew knows none. */
const networks = new Map<string, Network>();

const ip = (...args: string[]): Promise<unknown> => run('ip', args);
const gone = (device: string): Promise<unknown> => ip('link', 'del', device).catch(() => undefined);
const hostEnd = (endpoint: string): string => `pv${endpoint.slice(0, 8)}`;
const farEnd = (endpoint: string): string => `pc${endpoint.slice(0, 8)}`;

function bridgeOf({ NetworkID = '' }: Call): string {
  return `pb${NetworkID.slice(0, 8)}`;
}

async function createNetwork({ NetworkID = '', Options, IPv4Data = [] }: Call): Promise<object> {
  const bridge = bridgeOf({ NetworkID });
  const gateway = IPv4Data[0]?.Gateway ?? '';
  networks.set(NetworkID, { bridge, gateway, wrong: Options?.['com.docker.network.generic']?.wrong ?? '' });
  await ip('link', 'add', bridge, 'type', 'bridge').catch(() => undefined);
  await ip('addr', 'replace', gateway, 'dev', bridge);
  await ip('link', 'set', bridge, 'up');
  return {};
}

function networkOf({ NetworkID = '' }: Call): Network {
  const network = networks.get(NetworkID);
  if (network === undefined) throw new Error(`network ${NetworkID} is not known`);
  return network;
}

async function createEndpoint(call: Call): Promise<object> {
  const { bridge, wrong } = networkOf(call);
  const { EndpointID = '' } = call;
  if (wrong === 'address') return { Interface: { Address: '203.0.113.9/24' } };
  const [near, far] = [hostEnd(EndpointID), farEnd(EndpointID)];
  await ip('link', 'add', near, 'type', 'veth', 'peer', 'name', far);
  await ip('link', 'set', near, 'master', bridge, 'up');
  return { Interface: { MacAddress: `02:77:${EndpointID.slice(0, 8).match(/../g)?.join(':')}` } };
}

function join(call: Call): object {
  const { gateway, wrong, bridge } = networkOf(call);
  const { EndpointID = '' } = call;
  const names: Readonly<Record<string, string>> = {
    host: 'eth0',
    bridge,
    none: 'nothing0',
    name: '../../etc',
  };
  const router = gateway.replace(/\/.*/, '');
  const routes = [{ Destination: '198.18.0.0/16', RouteType: 0, NextHop: router }];
  if (wrong === 'route') routes.push({ Destination: '127.0.0.0/8', RouteType: 0, NextHop: router });
  return {
    InterfaceName: { SrcName: names[wrong] ?? farEnd(EndpointID), DstPrefix: 'eth' },
    Gateway: wrong === 'gateway' ? '203.0.113.1' : router,
    StaticRoutes: routes,
  };
}

async function answer(method: string, call: Call): Promise<object> {
  switch (method) {
    case 'Plugin.Activate':
      return { Implements: ['NetworkDriver'] };
    case 'NetworkDriver.GetCapabilities':
      return { Scope: 'local', ConnectivityScope: 'local' };
    case 'NetworkDriver.CreateNetwork':
      return createNetwork(call);
    case 'NetworkDriver.DeleteNetwork':
      await gone(bridgeOf(call));
      networks.delete(call.NetworkID ?? '');
      return {};
    case 'NetworkDriver.CreateEndpoint':
      return createEndpoint(call);
    case 'NetworkDriver.DeleteEndpoint':
      await gone(hostEnd(call.EndpointID ?? ''));
      return {};
    case 'NetworkDriver.Join':
      return join(call);
    case 'NetworkDriver.Leave':
      return {};
    default:
      throw new Error(`404 ${method}`);
  }
}

/** Answers of the kinds that no JSON is. */
function misanswer(method: string, call: Call, response: ServerResponse): boolean {
  const wrong = networks.get(call.NetworkID ?? '')?.wrong;
  if (method !== 'NetworkDriver.Join' || wrong === undefined) return false;
  if (wrong === 'hang') return true;
  if (wrong === 'garbage') response.end('}{');
  if (wrong === 'huge') {
    const more = (): void => {
      while (response.writable && response.write(' '.repeat(65_536)));
    };
    response.on('drain', more);
    more();
  }
  return wrong === 'garbage' || wrong === 'huge';
}

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  const call = JSON.parse(Buffer.concat(parts).toString() || '{}') as Call;
  const method = (request.url ?? '').slice(1);
  appendFileSync(
    notes,
    `${method} ${call.NetworkID?.slice(0, 8) ?? ''} ${call.EndpointID?.slice(0, 8) ?? ''}\n`,
  );
  if (misanswer(method, call, response)) return;
  try {
    response.end(JSON.stringify(await answer(method, call)));
  } catch (error) {
    const text = String(error);
    response.statusCode = text.includes('404') ? 404 : 500;
    response.end(JSON.stringify({ Err: text }));
  }
}

rmSync(socketPath, { force: true });
createServer((request, response) => void serve(request, response).catch(() => response.destroy())).listen(
  socketPath,
);
