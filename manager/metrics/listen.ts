/** /metrics, and nothing else, on a TCP port: for a Prometheus that is to see the cluster without being able to command it. */
import { createServer, type Server } from 'node:http';
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

/** Port 0: any that is free. Rejects when it can not listen. */
export async function listenForScrapes(
  metrics: Pick<ApiMetrics, 'contentType' | 'scrape'>,
  { host, port }: { readonly host: string; readonly port: number },
  logger: Logger,
): Promise<MetricsServer> {
  const server = createServer(
    { headersTimeout: 10_000, requestTimeout: 10_000, connectionsCheckingInterval: 2_000 },
    (req, res) => {
      const known = req.url?.replace(/\?.*$/s, '') === '/metrics';
      if (!known || (req.method !== 'GET' && req.method !== 'HEAD')) {
        res.writeHead(404, { 'Content-Type': 'text/plain' }).end('only GET /metrics is here\n');
        return;
      }
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
