/** /metrics, and nothing else, on a TCP port: for a Prometheus that is to see the cluster without being able to command it. */
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import { describeError } from '../../shared/errors/index.ts';
import type { Logger } from '../../shared/model/options.ts';
import type { ApiMetrics } from '../api/context.ts';

/** Of all Prometheus servers that look; more are closed at once. */
const MAX_CONNECTIONS = 64;
const SILENCE_TIMEOUT_MS = 30_000;

export interface MetricsServer {
  readonly address: { readonly host: string; readonly port: number };
  close(): Promise<void>;
}

/** Others than those on this machine do not get there. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host);
}

/** GET /metrics of the API, which looks whether the user may. */
export function scrapesOnly(api: RequestListener): RequestListener {
  return (req, res) => {
    if (isScrape(req)) api(req, res);
    else answerNoScrape(res);
  };
}

function isScrape({ url, method }: IncomingMessage): boolean {
  return url?.replace(/\?.*$/s, '') === '/metrics' && (method === 'GET' || method === 'HEAD');
}

function answerNoScrape(res: ServerResponse): void {
  res.writeHead(404, { 'Content-Type': 'text/plain' }).end('only GET /metrics is here\n');
}

/** Plain HTTP, for a loopback address. Port 0: any that is free. Rejects when it can not listen. */
export async function listenForScrapes(
  metrics: Pick<ApiMetrics, 'contentType' | 'scrape'>,
  { host, port }: { readonly host: string; readonly port: number },
  logger: Logger,
): Promise<MetricsServer> {
  const server = createServer(
    { headersTimeout: 10_000, requestTimeout: 10_000, connectionsCheckingInterval: 2_000 },
    (req, res) => {
      if (!isScrape(req)) return answerNoScrape(res);
      metrics.scrape().then(
        (text) => res.writeHead(200, { 'Content-Type': metrics.contentType }).end(text),
        (error: unknown) => {
          logger.error({ error: describeError(error) }, 'the metrics could not be read');
          res.writeHead(500, { 'Content-Type': 'text/plain' }).end('the metrics could not be read\n');
        },
      );
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.timeout = SILENCE_TIMEOUT_MS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const bound = server.address();
  const boundPort = typeof bound === 'object' && bound !== null ? bound.port : port;
  return { address: { host, port: boundPort }, close: () => closeServer(server) };
}

async function closeServer(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeAllConnections();
  await closed;
}
