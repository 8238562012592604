/** Clients of the API, each with all managers to choose from: they make, change and remove, and write down what they were told. */
import { z } from 'zod';
import { ApiError, type ApiClient } from '../../deploy/cli/client.ts';
import { EXAMPLE_IMAGE } from '../../deploy/local/example-image.ts';
import { delay } from '../../shared/lib/abort.ts';
import type { Prng } from '../../shared/lib/prng.ts';
import type { Entry, Kind, Ledger, Seen } from './ledger.ts';

const ANSWER_MS = 5_000;
const MOST = { service: 4, secret: 12, network: 6 } as const satisfies Record<Kind, number>;
const MOST_REPLICAS = 3;
/** On everything that is made here. */
const MARK = 'chaos';

const serviceSchema = z.object({
  ID: z.string(),
  Version: z.object({ Index: z.number() }),
  Spec: z.looseObject({
    Name: z.string(),
    Labels: z.record(z.string(), z.string()).optional(),
    Mode: z.object({ Replicated: z.object({ Replicas: z.number() }) }),
  }),
});
const secretSchema = z.object({ Spec: z.object({ Name: z.string() }) });
const networkSchema = z.object({ Name: z.string(), Driver: z.string() });
const createdSchema = z.union([z.object({ ID: z.string() }), z.object({ Id: z.string() })]);

export interface LoadOptions {
  readonly clients: () => readonly ApiClient[];
  readonly ledger: Ledger;
  readonly random: Prng;
  /** Every secret begins with it: what is searched for later. */
  readonly needle: string;
}

/** One client; several of them work on the same ledger, each on objects of its own. */
export class LoadClient {
  readonly #options: LoadOptions;
  readonly #name: string;
  readonly #own: Entry[] = [];
  #made = 0;

  constructor(name: string, options: LoadOptions) {
    this.#name = name;
    this.#options = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { random } = this.#options;
    while (!signal.aborted) {
      await this.#step();
      await delay(20 + random.below(200), signal).catch(() => undefined);
    }
  }

  async #step(): Promise<void> {
    const { random } = this.#options;
    const kind = (['service', 'service', 'secret', 'network'] as const)[random.below(4)] ?? 'service';
    const own = this.#own.filter((entry) => entry.kind === kind && entry.state === 'present');
    const one = own[random.below(own.length)];
    const goes = random.below(100);
    if (one === undefined || (own.length < MOST[kind] && goes < 40)) await this.#create(kind);
    else if (kind === 'service' && goes < 85) await this.#scale(one);
    else if (own.length > 1) await this.#remove(one);
  }

  async #create(kind: Kind): Promise<void> {
    const { ledger, random } = this.#options;
    this.#made += 1;
    const name = `${MARK}-${this.#name}-${this.#made}`;
    const replicas = 1 + random.below(MOST_REPLICAS);
    const entry = ledger.begin(kind, name, kind === 'service' ? `${replicas} first` : 'first');
    const [path, body] = this.#creation(kind, name, replicas);
    await this.#tried(async () => {
      const answer = createdSchema.parse(await this.#send('POST', path, body));
      ledger.created(entry, 'ID' in answer ? answer.ID : answer.Id);
      this.#own.push(entry);
    });
  }

  #creation(kind: Kind, name: string, replicas: number): [string, object] {
    if (kind === 'network') return ['/networks/create', { Name: name, Driver: 'overlay' }];
    if (kind === 'service') return ['/services/create', serviceBody(name, replicas)];
    const text = `${this.#options.needle}-${name}`;
    return ['/secrets/create', { Name: name, Data: Buffer.from(text).toString('base64') }];
  }

  async #scale(entry: Entry): Promise<void> {
    const { ledger, random } = this.#options;
    const replicas = 1 + random.below(MOST_REPLICAS);
    this.#made += 1;
    const label = `change-${this.#made}`;
    let found: z.output<typeof serviceSchema> | undefined;
    await this.#tried(async () => {
      found = serviceSchema.parse(await this.#send('GET', `/services/${entry.id}`));
    }, true);
    if (found === undefined) return;
    const spec = {
      ...found.Spec,
      Labels: { change: label },
      Mode: { Replicated: { Replicas: replicas } },
    };
    ledger.changing(entry, `${replicas} ${label}`);
    const path = `/services/${entry.id}/update?version=${found.Version.Index}`;
    await this.#tried(async () => {
      try {
        await this.#send('POST', path, spec);
      } catch (error) {
        if (!isStale(error)) throw error;
        return ledger.unchanged(entry);
      }
      ledger.changed(entry);
    });
  }

  /** By its id: a removal that is late removes nothing else. */
  async #remove(entry: Entry): Promise<void> {
    const { ledger } = this.#options;
    entry.removing = true;
    await this.#tried(async () => {
      await this.#send('DELETE', `/${entry.kind}s/${entry.id}`);
      ledger.removed(entry);
    });
    // Whatever it was answered, nobody works on it any more.
    this.#own.splice(this.#own.indexOf(entry), 1);
  }

  /** No answer, or one of a manager that could not: it may have been done or not. */
  async #tried(work: () => Promise<void>, readOnly = false): Promise<void> {
    try {
      await work();
    } catch {
      if (!readOnly) this.#options.ledger.counts.unknown += 1;
    }
  }

  #send(method: string, path: string, body?: object): Promise<unknown> {
    const { clients, random } = this.#options;
    const all = clients();
    const client = all[random.below(all.length)];
    if (client === undefined) throw new Error('there is no manager');
    const json = body === undefined ? undefined : jsonOf(body);
    return client.call(method, path, json, AbortSignal.timeout(ANSWER_MS));
  }
}

function jsonOf(body: object) {
  return { type: 'application/json', text: JSON.stringify(body) } as const;
}

/** Another has changed it, or this manager is behind: for sure not done. */
function isStale(error: unknown): boolean {
  return error instanceof ApiError && /out of sequence/.test(error.message);
}

export function serviceBody(name: string, replicas: number, more: object = {}): object {
  return {
    Name: name,
    Labels: { change: 'first' },
    Mode: { Replicated: { Replicas: replicas } },
    TaskTemplate: {
      ContainerSpec: { Image: EXAMPLE_IMAGE, StopGracePeriod: 1e9, ...more },
      RestartPolicy: { Condition: 'any', Delay: 1e8 },
    },
  };
}

/** What one manager says is there, of what the clients make. */
export async function readAll(client: ApiClient, signal: AbortSignal): Promise<Seen[]> {
  const services = z.array(serviceSchema).parse(await client.get('/services', signal));
  const secrets = z.array(secretSchema).parse(await client.get('/secrets', signal));
  const networks = z.array(networkSchema).parse(await client.get('/networks', signal));
  const all: Seen[] = [
    ...services.map(({ Spec }) => ({
      kind: 'service' as const,
      name: Spec.Name,
      value: `${Spec.Mode.Replicated.Replicas} ${Spec.Labels?.['change'] ?? ''}`,
    })),
    ...secrets.map(({ Spec }) => ({ kind: 'secret' as const, name: Spec.Name, value: 'first' })),
    ...networks.map(({ Name }) => ({ kind: 'network' as const, name: Name, value: 'first' })),
  ];
  return all.filter(({ name }) => name.startsWith(`${MARK}-`)).toSorted((a, b) => (a.name < b.name ? -1 : 1));
}
