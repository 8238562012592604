/** Random requests to every endpoint: a documented status, Docker's error body, an end; never a failure without cause. */
import test from 'ava';
import fc from 'fast-check';
import { JSON_TYPE, type Operation } from '../../../manager/api/openapi/operation.ts';
import { OPERATIONS } from '../../../manager/api/openapi/operations.ts';
import type { Logger } from '../../../shared/model/options.ts';
import { silentLogger } from '../../harness/silent-logger.ts';
import {
  filterNames,
  flaw,
  knownPath,
  ODD_FILTER_VALUES,
  pathFor,
  probe,
  type Sent,
  target,
  type Known,
} from './hostile.ts';

/** SHOAL_TEST_RUNS makes it look longer. */
const RUNS = Number(process.env['SHOAL_TEST_RUNS'] ?? 15);

/** Names that mean something to JavaScript, and values at the edges of what numbers and texts can be. */
const oddKey = fc.constantFrom('__proto__', 'constructor', 'toString', 'length', '', '\u0000', 'a.b', '$ref');
const oddValue = fc.oneof(
  fc.constantFrom(
    -1,
    0,
    1,
    2 ** 31,
    2 ** 53,
    1e308,
    -0.5,
    '',
    '0',
    'null',
    '/',
    '..',
    '{{',
    '{{.Node.ID}}',
    '$A',
  ),
  fc.constantFrom('\u0000', '\ud800', 'é', '💥', 'a'.repeat(300), '1.2.3.4/99', '::1', '-1', '9'.repeat(30)),
  fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<unknown>,
);

/** The example with one of its parts replaced, removed, or something put beside it. */
function mutated(example: unknown): fc.Arbitrary<unknown> {
  return fc
    .array(fc.tuple(fc.nat(), fc.constantFrom('replace', 'remove', 'add'), oddKey, oddValue), {
      minLength: 0,
      maxLength: 4,
    })
    .map((changes) =>
      changes.reduce<unknown>(
        (value, [at, how, key, odd]) => change(value, at, how, key, odd),
        structuredClone(example),
      ),
    );
}

interface Place {
  readonly holder: Record<string, unknown>;
  readonly key: string;
}

function places(value: unknown): Place[] {
  if (typeof value !== 'object' || value === null) return [];
  const holder = value as Record<string, unknown>;
  return Object.keys(holder).flatMap((key) => [{ holder, key }, ...places(holder[key])]);
}

function change(value: unknown, at: number, how: string, key: string, odd: unknown): unknown {
  const all = places(value);
  const place = all[at % Math.max(1, all.length)];
  if (place === undefined) return odd;
  const { holder } = place;
  if (how === 'remove') delete holder[place.key];
  else if (Array.isArray(holder)) holder.push(odd);
  else {
    const name = how === 'add' ? key : place.key;
    Object.defineProperty(holder, name, { value: odd, enumerable: true, configurable: true, writable: true });
  }
  return value;
}

function bodies({ body }: Operation): fc.Arbitrary<string | undefined> {
  const json = fc.json({ maxDepth: 4 });
  if (body === undefined) return fc.option(json, { nil: undefined, freq: 3 });
  return fc.oneof(
    { weight: 6, arbitrary: mutated(body.example).map((value) => JSON.stringify(value)) },
    { weight: 2, arbitrary: json },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 60 }) },
  );
}

const texts = fc.oneof(
  fc.string({ unit: 'binary', minLength: 1, maxLength: 30 }),
  oddValue
    .map((value) => (typeof value === 'object' ? JSON.stringify(value) : String(value)))
    .filter((text) => text.length > 0),
  oddKey.filter((text) => text.length > 0),
);

/** Not half of a surrogate pair: encodeURIComponent does not take it. */
const encoded = (text: string): string => encodeURIComponent(text.replaceAll(/\p{Surrogate}/gu, '\ufffd'));

function queries(operation: Operation): fc.Arbitrary<string> {
  const { query = {}, required = [] } = operation;
  const names = [...Object.keys(query), 'unknown', '__proto__', 'filters', 'version'];
  const filter = fc
    .dictionary(
      fc.constantFrom('id', 'name', 'label', 'x', ...filterNames(operation)),
      fc.oneof(oddValue, fc.array(fc.oneof(fc.constantFrom(...ODD_FILTER_VALUES), texts), { maxLength: 3 })),
    )
    .map((f) => JSON.stringify(f));
  const value = fc.oneof(texts, filter, fc.constantFrom('1', 'true', '0', 'previous', ''));
  const pairs = fc.array(fc.tuple(fc.constantFrom(...names), value), { maxLength: 4 });
  return fc.tuple(pairs, fc.boolean()).map(([some, complete]) => {
    const must = complete ? required.map((name): [string, string] => [name, '1']) : [];
    const all = [...must, ...some].map(([name, text]) => `${encoded(name)}=${encoded(text)}`);
    return all.length === 0 ? '' : `?${all.join('&')}`;
  });
}

const headers = fc.record(
  {
    'content-type': fc.constantFrom(
      JSON_TYPE,
      'application/yaml',
      'text/plain',
      `${JSON_TYPE}; charset=utf-8`,
      'x',
    ),
    'x-registry-auth': fc.constantFrom('e30=', '', '!!!', 'eyJ1c2VybmFtZSI6InUifQ==', 'a'.repeat(500)),
    'x-request-id': fc.constantFrom('abc', 'a b', '"', 'x'.repeat(200), ''),
    accept: fc.constantFrom('*/*', 'text/html', 'application/x-tar'),
    connection: fc.constantFrom('close', 'keep-alive'),
  },
  { requiredKeys: [] },
);

/** Some of them for what there is, some for what there is not, a few by another method. */
function requests(operation: Operation, known: Known): fc.Arbitrary<Sent> {
  const path = fc.oneof(
    { weight: 3, arbitrary: fc.boolean().map((single) => knownPath(operation, known, single)) },
    { weight: 2, arbitrary: texts.map((text) => pathFor(operation, () => encoded(text))) },
  );
  const own = operation.method.toUpperCase();
  return fc
    .record({
      path,
      prefix: fc.constantFrom('', '', '/v1.47', '/v1.24', '/v1.99'),
      query: queries(operation),
      method: fc.oneof(
        { weight: 12, arbitrary: fc.constant(own) },
        { weight: 1, arbitrary: fc.constantFrom('PATCH', 'HEAD', 'TRACE', 'DELETE', 'PUT') },
      ),
      body: bodies(operation),
      headers,
    })
    .map(({ prefix, query, method, body, headers: given, path: bare }) => ({
      method,
      path: `${prefix}${bare}${query}`,
      // Of a request without a body nobody takes one.
      body: ['HEAD', 'TRACE'].includes(method) || (method === 'GET' && body === undefined) ? undefined : body,
      headers: given,
    }))
    .filter((sent) => sent.path.length < 12_000);
}

/** Whatever was logged as an error: a request that fails without cause is. */
function errorLog(): { logger: Logger; errors: object[] } {
  const errors: object[] = [];
  const logger: Logger = { ...silentLogger, error: (fields) => errors.push(fields), child: () => logger };
  return { logger, errors };
}

for (const operation of OPERATIONS) {
  const { method, path, answers } = operation;
  const runs = Object.keys(answers).length === 0 ? Math.ceil(RUNS / 5) : RUNS;
  test(`${method.toUpperCase()} ${path}`, async (t) => {
    const { logger, errors } = errorLog();
    const { api, known } = await target({ logger });
    await using _ = api;
    await fc.assert(
      fc.asyncProperty(requests(operation, known), async (sent) => {
        const problem = flaw(sent, await probe(api, sent));
        if (problem !== undefined) throw new Error(problem);
        const [logged] = errors.splice(0);
        if (logged !== undefined) throw new Error('a failure was logged', { cause: logged });
      }),
      { numRuns: runs, endOnFailure: true },
    );
    t.is((await probe(api, { method: 'GET', path: '/_ping' })).status, 200);
  });
}
