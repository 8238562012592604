/** The etcd client as Shoal uses it: message limits raised, every call with a deadline, no silent repeats. */
import { Etcd3, GRPCDeadlineExceededError, GRPCInvalidArgumentError, GRPCUnavailableError } from 'etcd3';
import type { IOptions } from 'etcd3';
import { AppError, describeError, InvalidError, UnavailableError } from '../../shared/errors/index.ts';
import { isAbort } from '../../shared/lib/abort.ts';

/** PEM texts. `cert` and `key` go together: the client's own certificate. */
export interface EtcdTls {
  readonly ca: string;
  readonly cert?: string;
  readonly key?: string;
  /** The name that the server's certificate must have, if not that of the endpoint. */
  readonly serverName?: string;
}

export interface EtcdClientOptions {
  /** http:// or https:// URLs; all of the same kind. */
  readonly endpoints: readonly string[];
  readonly tls?: EtcdTls;
  /** Deadline of one call. */
  readonly callTimeoutMs?: number;
}

const CALL_TIMEOUT_MS = 5_000;
/** How long an endpoint that failed is passed over, when there are others. */
const REST_AFTER_FAILURE_MS = 1_000;

/** etcd's words once its database has reached --quota-backend-bytes. */
const NO_SPACE = 'database space exceeded';

type Fault = NonNullable<IOptions['faultHandling']>;
type Policy = NonNullable<Fault['global']>;

/**
 * Makes a client; connects on first use. Close it with `close()`.
 * Throws InvalidError for an endpoint that is no URL, a mix of http and https, or TLS that is not in PEM.
 */
export function createEtcdClient(options: EtcdClientOptions): Etcd3 {
  const { endpoints, callTimeoutMs = CALL_TIMEOUT_MS } = options;
  checkEndpoints(endpoints);
  const credentials = options.tls === undefined ? undefined : credentialsOf(options.tls);
  return new Etcd3({
    hosts: [...endpoints],
    ...(credentials === undefined ? {} : { credentials }),
    defaultCallOptions: (context) => (context.isStream ? {} : { deadline: Date.now() + callTimeoutMs }),
    grpcOptions: {
      // The default of 4 MiB is less than what one page or one watch response may hold.
      'grpc.max_receive_message_length': -1,
      'grpc.max_send_message_length': -1,
      'grpc.initial_reconnect_backoff_ms': 50,
      'grpc.min_reconnect_backoff_ms': 50,
      'grpc.max_reconnect_backoff_ms': 1_000,
      // etcd refuses pings that come more often than every 5 s (--grpc-keepalive-min-time).
      'grpc.keepalive_time_ms': 10_000,
      'grpc.keepalive_timeout_ms': 3_000,
      ...(options.tls?.serverName === undefined
        ? {}
        : { 'grpc.ssl_target_name_override': options.tls.serverName }),
    },
    // The library's own policy repeats a call that failed, transactions too: a guarded one that did get through would
    // then fail on its own write. Whoever calls decides what may be repeated.
    faultHandling: { global: callThrough(), host: (host) => restAfterFailure(host, endpoints.length > 1) },
  });
}

/** What a failed call to etcd means to the rest of the manager: InvalidError or UnavailableError, with the cause. */
export function mapEtcdError(error: unknown, doing: string): unknown {
  if (error instanceof AppError || isAbort(error)) return error;
  if (error instanceof GRPCInvalidArgumentError) {
    return new InvalidError(`etcd refuses to ${doing}: ${error.message}`, { cause: error });
  }
  const said = describeError(error);
  if (said.includes(NO_SPACE)) {
    return new UnavailableError(
      `etcd has no space left and refuses to ${doing}; what runs goes on. The manager makes room in an etcd of its ` +
        'own within seconds; if this stays, see docs/troubleshooting.md, "etcd is out of space"',
      { cause: error },
    );
  }
  return new UnavailableError(`etcd can not ${doing} just now`, { cause: error });
}

function checkEndpoints(endpoints: readonly string[]): void {
  if (endpoints.length === 0) throw new InvalidError('etcd: no endpoint is given');
  const bad = endpoints.find((endpoint) => !/^https?:\/\/[^/\s]+:\d+$/.test(endpoint));
  if (bad !== undefined) throw new InvalidError(`etcd endpoint "${bad}": expected http(s)://host:port`);
  const secure = endpoints.filter((endpoint) => endpoint.startsWith('https:')).length;
  if (secure !== 0 && secure !== endpoints.length) {
    throw new InvalidError('etcd endpoints: http and https can not be mixed');
  }
}

function credentialsOf(tls: EtcdTls): NonNullable<IOptions['credentials']> {
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    throw new InvalidError('etcd TLS: a certificate and its key must be given together');
  }
  // The library would only fail to connect, again and again.
  const checked = (text: string, what: string): Buffer => {
    if (/-----BEGIN [A-Z0-9 ]+-----/.test(text)) return Buffer.from(text);
    throw new InvalidError(`etcd TLS: the ${what} is not in PEM`);
  };
  return {
    rootCertificate: checked(tls.ca, 'CA certificate'),
    ...(tls.cert === undefined ? {} : { certChain: checked(tls.cert, 'client certificate') }),
    ...(tls.key === undefined ? {} : { privateKey: checked(tls.key, 'key of the client certificate') }),
  };
}

/** The library wants cockatiel policies; these two are all that is needed of them. */
function policyOf(execute: (work: () => unknown) => Promise<unknown>): Policy {
  const unheard = () => ({ dispose: () => undefined });
  return { onSuccess: unheard, onFailure: unheard, execute } as unknown as Policy;
}

function callThrough(): Policy {
  return policyOf(async (work) => work());
}

class EndpointRestsError extends Error {
  override readonly name = 'EndpointRestsError';
}

/** With several endpoints, one that failed is passed over for a moment, so that the next call goes to another. */
function restAfterFailure(host: string, hasOthers: boolean): Policy {
  let restsUntilMs = 0;
  let failure: unknown;
  return policyOf(async (work) => {
    if (hasOthers && Date.now() < restsUntilMs) {
      throw new EndpointRestsError(`${host} failed a moment ago`, { cause: failure });
    }
    try {
      return await work();
    } catch (error) {
      if (error instanceof GRPCUnavailableError || error instanceof GRPCDeadlineExceededError) {
        restsUntilMs = Date.now() + REST_AFTER_FAILURE_MS;
        failure = error;
      }
      throw error;
    }
  });
}
