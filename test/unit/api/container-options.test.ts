/** The table of docs/containers.md, made from what is done with each option. SHOAL_WRITE_DOCS=1 writes it. */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { decodeContainer } from '../../../manager/api/codec/container-create-codec.ts';
import { zCreate, zHostConfig } from '../../../manager/api/codec/container-create-schema.ts';
import { AppError } from '../../../shared/errors/index.ts';
import { checkoutDir } from '../../harness/peers.ts';
import { CONFIG_OPTIONS, HOST_OPTIONS, type OptionSample } from './container-options.ts';

const DOCUMENT = path.join(checkoutDir(), 'docs', 'containers.md');

type Body = Record<string, unknown>;

function bodyOf(group: 'config' | 'host', { field, sample, with: besides = {} }: OptionSample): Body {
  return group === 'config'
    ? { Image: 'a', [field]: sample }
    : { Image: 'a', HostConfig: { ...besides, [field]: sample } };
}

/** All that a request comes to but what is kept of it for `docker inspect`. */
function meaning(body: Body): string {
  const { asked: _, warnings: _warnings, ...rest } = decodeContainer(body);
  return JSON.stringify(rest);
}

function outcome(group: 'config' | 'host', sample: OptionSample): readonly [support: string, note: string] {
  const { note = '', isSo } = sample;
  try {
    const body = bodyOf(group, sample);
    const [warning] = decodeContainer(body).warnings;
    if (warning !== undefined) return ['warned about', note || warning];
    if (meaning(body) !== meaning({ Image: 'a', HostConfig: sample.with })) return ['honoured', note];
    if (isSo !== true) throw new Error(`${sample.field} is accepted and changes nothing: nobody is told`);
    return ['accepted', note];
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return ['refused', note || reasonOf(error.message)];
  }
}

/** What the message says beyond that the field is not supported. */
function reasonOf(message: string): string {
  const reason = message.replace(/^(?:invalid )?container: (?:not supported by Shoal: )?[\w.]*:? ?/, '');
  return reason.replace(/^\((.*)\)$/, '$1').replaceAll('|', '\\|');
}

function table(group: 'config' | 'host', samples: readonly OptionSample[]): string {
  const rows = samples.map((sample) => {
    const flag = sample.flag === '' || sample.flag === undefined ? '' : `\`${sample.flag}\``;
    const [support, note] = outcome(group, sample);
    return `| \`${sample.field}\` | ${flag} | ${support} | ${note} |`;
  });
  return ['| field | docker run | | |', '|---|---|---|---|', ...rows].join('\n');
}

test('the table of container options says what the code does', async (t) => {
  const text = await readFile(DOCUMENT, 'utf8');
  let expected = text;
  for (const [title, made] of [
    ['config', table('config', CONFIG_OPTIONS)],
    ['host', table('host', HOST_OPTIONS)],
  ] as const) {
    const marked = new RegExp(`(<!-- table: ${title} -->\n)[^]*?(\n<!-- end -->)`);
    t.regex(text, marked);
    expected = expected.replace(marked, (_all, begin: string, end: string) => begin + made + end);
  }
  if (process.env['SHOAL_WRITE_DOCS'] === '1') await writeFile(DOCUMENT, expected);
  else t.is(text, expected);
});

test('every field that the code knows is in the table', (t) => {
  const known = (shape: object, besides: readonly string[]): string[] =>
    Object.keys(shape)
      .filter((field) => !besides.includes(field))
      .toSorted();
  const listed = (samples: readonly OptionSample[]) => new Set(samples.map(({ field }) => field));
  const [config, host] = [listed(CONFIG_OPTIONS), listed(HOST_OPTIONS)];
  // Not Docker's: what dockerode sends along.
  t.deepEqual(known(zCreate.shape, ['HostConfig', 'name', 'platform', ...config]), []);
  t.deepEqual(known(zHostConfig.shape, [...host]), []);
  t.is(config.size, CONFIG_OPTIONS.length);
  t.is(host.size, HOST_OPTIONS.length);
});
