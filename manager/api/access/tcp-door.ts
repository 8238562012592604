/** The API, or a part of it, on TCP: with the manager's certificate, for users only. */
import type { IncomingMessage, RequestListener } from 'node:http';
import { hostname, networkInterfaces } from 'node:os';
import type { Clock } from '../../../shared/lib/clock.ts';
import type { Logger } from '../../../shared/model/options.ts';
import type { AuditLog } from '../../audit/audit-log.ts';
import type { Authority } from '../../ca/authority.ts';
import { GuardedPort } from '../../dispatcher/guarded-port.ts';
import { ManagerCertificate } from '../../dispatcher/manager-certificate.ts';
import type { Refusals } from '../../dispatcher/refusals.ts';
import { Strangers } from '../../dispatcher/strangers.ts';
import type { Store } from '../../store/store.ts';
import { listenTls, type TlsApiServer } from '../listen.ts';
import { UserDirectory } from './directory.ts';
import { Entry } from './entry.ts';
import { RefusalLog } from './refusal-log.ts';
import type { Access } from './routes.ts';

export interface TcpDoorOptions {
  readonly store: Store;
  readonly authority: () => Promise<Authority>;
  readonly managerId: string;
  /** Names and addresses that clients call this manager by, besides its host name and the addresses of its interfaces. */
  readonly names: readonly string[];
  readonly clock: Clock;
  readonly audit?: AuditLog | undefined;
  /** What is refused is counted there. */
  readonly refusals: Refusals;
  readonly logger: Logger;
}

/** What listens shares the table of users and the certificate. */
export class TcpDoor {
  readonly #certificate: ManagerCertificate;
  readonly #directory: UserDirectory;
  readonly #refusals: RefusalLog;
  readonly #port: GuardedPort;
  readonly #servers: TlsApiServer[] = [];
  readonly #entries: Entry[] = [];
  readonly #stopKeeping: () => void;

  private constructor(certificate: ManagerCertificate, { store, clock, audit, refusals }: TcpDoorOptions) {
    this.#certificate = certificate;
    this.#directory = new UserDirectory(store, clock);
    this.#refusals = new RefusalLog(refusals, clock, audit);
    this.#port = new GuardedPort(new Strangers(), refusals);
    this.#stopKeeping = certificate.keep((tls) => {
      for (const server of this.#servers) server.use(tls);
    });
  }

  static async open(options: TcpDoorOptions): Promise<TcpDoor> {
    const hosts = [...new Set([...options.names, ...ownNames()])];
    return new TcpDoor(await ManagerCertificate.make({ ...options, hosts }), options);
  }

  /** `api`: what those see who may this. Rejects when it can not listen. */
  async listen(
    at: { readonly host: string; readonly port: number },
    api: (access: Access) => RequestListener,
  ): Promise<TlsApiServer['address']> {
    const refused = (req: IncomingMessage, why: string): void => this.#refusals.note(req, why);
    const entry = new Entry({ directory: this.#directory, api, refused, port: this.#port });
    this.#entries.push(entry);
    const server = await listenTls(at, entry.handle, this.#certificate.tls, this.#port);
    this.#servers.push(server);
    return server.address;
  }

  /** Resolves when the requests that are under way are answered, but soon in any case. */
  async drain(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.drain()));
  }

  async close(): Promise<void> {
    this.#stopKeeping();
    for (const entry of this.#entries) entry.close();
    this.#directory.close();
    await Promise.all(this.#servers.map((server) => server.close()));
  }
}

function ownNames(): string[] {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const global = addresses.filter(({ scopeid, internal }) => !internal && (scopeid ?? 0) === 0);
  return ['localhost', '127.0.0.1', '::1', hostname(), ...global.map(({ address }) => address)];
}
