/**
 * A program to move bytes between network namespaces: `server PORT`, or a client that prints one figure:
 * `stream HOST PORT SECONDS STREAMS` Gbit/s received, `connect HOST PORT SECONDS` new connections a second,
 * `echo HOST PORT SECONDS` microseconds there and back (median).
 */
import { once } from 'node:events';
import net from 'node:net';
import { quantile } from '../report.ts';

/** The first byte of a client says what it wants. */
const WANTS = { stream: 's', connect: 'c', echo: 'e' } as const;
const CHUNK = Buffer.alloc(512 * 1024);
const ROOM = Buffer.alloc(64 * 1024);
const CONNECTING = 8;
/** Before anything is counted. */
const WARM_MS = 250;

function serve(socket: net.Socket): void {
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  socket.once('data', (first) => {
    const want = first.subarray(0, 1).toString();
    if (want === WANTS.connect) socket.end('.');
    else if (want === WANTS.echo) {
      socket.write(first);
      socket.pipe(socket);
    } else pour(socket);
  });
}

function pour(socket: net.Socket): void {
  while (!socket.destroyed && socket.write(CHUNK));
  socket.once('drain', () => pour(socket));
}

/** `onRead` is told how many bytes came, which are in nobody's hands: all sockets read into the same buffer. */
async function open(
  host: string,
  port: number,
  want: string,
  onRead?: (bytes: number) => void,
): Promise<net.Socket> {
  const callback = (bytes: number): boolean => {
    onRead?.(bytes);
    return true;
  };
  const onread = onRead === undefined ? {} : { onread: { buffer: ROOM, callback } };
  const socket = net.connect({ host, port, noDelay: true, ...onread });
  await once(socket, 'connect');
  socket.write(want);
  return socket;
}

async function stream(host: string, port: number, seconds: number, streams: number): Promise<number> {
  let bytes = 0;
  // as little work a byte as possible: what is measured is the way, not the reader
  const count = (length: number): void => void (bytes += length);
  const sockets = await Promise.all(
    Array.from({ length: streams }, () => open(host, port, WANTS.stream, count)),
  );
  await after(WARM_MS);
  bytes = 0;
  const startedMs = performance.now();
  await after(seconds * 1000);
  const gigabits = (bytes * 8) / 1e6 / (performance.now() - startedMs);
  for (const socket of sockets) socket.destroy();
  return gigabits;
}

async function connect(host: string, port: number, seconds: number): Promise<number> {
  let startedMs = performance.now();
  const endMs = startedMs + seconds * 1000 + WARM_MS;
  let count = 0;
  const worker = async (): Promise<void> => {
    while (performance.now() < endMs) {
      const socket = await open(host, port, WANTS.connect);
      socket.resume();
      await once(socket, 'close');
      count += 1;
    }
  };
  const workers = Array.from({ length: CONNECTING }, worker);
  await after(WARM_MS);
  count = 0;
  startedMs = performance.now();
  await Promise.all(workers);
  return (count * 1000) / (performance.now() - startedMs);
}

async function echo(host: string, port: number, seconds: number): Promise<number> {
  const socket = await open(host, port, WANTS.echo);
  await once(socket, 'data');
  const times: number[] = [];
  const endMs = performance.now() + seconds * 1000;
  while (performance.now() < endMs) {
    const sentMs = performance.now();
    socket.write('x');
    await once(socket, 'data');
    times.push((performance.now() - sentMs) * 1000);
  }
  socket.destroy();
  return quantile(times, 0.5);
}

function after(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const [what = '', host = '', port = '0', seconds = '1', streams = '1'] = process.argv.slice(2);
switch (what) {
  case 'server':
    net.createServer(serve).listen(Number(host), '0.0.0.0', 1024, () => process.stdout.write('ready\n'));
    break;
  case 'stream':
    process.stdout.write(`${await stream(host, Number(port), Number(seconds), Number(streams))}\n`);
    break;
  case 'connect':
    process.stdout.write(`${await connect(host, Number(port), Number(seconds))}\n`);
    break;
  case 'echo':
    process.stdout.write(`${await echo(host, Number(port), Number(seconds))}\n`);
    break;
  default:
    throw new Error(`unknown: ${what}`);
}
