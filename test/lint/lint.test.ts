/** The linter still reads the files: every rule that we rely on finds its planted violation, and nothing else. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import { z } from 'zod';
import { PROJECT_ROOT } from '../../deploy/local/project.ts';
import { checkTree } from './import-directions.ts';

const outputSchema = z.object({
  diagnostics: z.array(
    z.object({
      code: z.string(),
      filename: z.string(),
      labels: z.array(z.object({ span: z.object({ line: z.number() }) })),
    }),
  ),
});

/** Findings as `file:line rule`, sorted. */
async function lint(target: string): Promise<string[]> {
  const args = ['--type-aware', '-c', path.join(PROJECT_ROOT, '.oxlintrc.json'), '-f', 'json', target];
  const output = await new Promise<string>((resolve) => {
    const options = { cwd: PROJECT_ROOT, maxBuffer: 16 * 1024 * 1024 };
    execFile(path.join(PROJECT_ROOT, 'node_modules/.bin/oxlint'), args, options, (_, stdout) =>
      resolve(stdout),
    );
  });
  return outputSchema
    .parse(JSON.parse(output))
    .diagnostics.map(({ code, filename, labels }) => {
      const rule = /\(([^)]+)\)/.exec(code)?.[1] ?? code;
      return `${path.basename(filename)}:${labels[0]?.span.line ?? 0} ${rule}`;
    })
    .toSorted();
}

async function planted(directory: string): Promise<string[]> {
  const expected: string[] = [];
  for (const file of await readdir(directory)) {
    const lines = (await readFile(path.join(directory, file), 'utf8')).split('\n');
    lines.forEach((line, index) => {
      const rule = /\S.*\/\/ ([a-z-]+)$/.exec(line)?.[1];
      if (rule !== undefined) expected.push(`${file}:${index + 1} ${rule}`);
    });
  }
  return expected.toSorted();
}

test('every planted violation is found where it was planted, and nothing else', async (t) => {
  const directory = path.join(PROJECT_ROOT, 'test/lint/planted');
  const expected = await planted(directory);
  t.true(expected.length >= 12);
  t.deepEqual(await lint('test/lint/planted'), expected);
});

test('a file and a function that are too long are found', async (t) => {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-lint-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const body = (lines: number): string => Array.from({ length: lines }, (_, i) => `  log(${i});`).join('\n');
  const head = 'const log = (n: number): void => void n;\n';
  await writeFile(
    path.join(directory, 'long-function.ts'),
    `${head}export function f(): void {\n${body(71)}\n}\n`,
  );
  await writeFile(path.join(directory, 'long-file.ts'), 'export {};\n'.repeat(1) + '// x\n'.repeat(401));
  const found = (await lint(directory)).map((finding) => finding.replace(/:\d+/, ''));
  t.deepEqual(
    found.filter((finding) => finding.includes('max-lines')),
    ['long-file.ts max-lines', 'long-function.ts max-lines-per-function'],
  );
});

/** A file and what it imports that its place forbids. */
const FORBIDDEN: readonly (readonly [file: string, source: string])[] = [
  ['manager/api/a.ts', "import { x } from '../../agent/main.ts';"],
  ['manager/api/b.ts', "import type { X } from '../../agent/main.ts';"],
  ['agent/worker/a.ts', "export { x } from '../../manager/main.ts';"],
  ['agent/worker/b.ts', "const x = await import('../../deploy/cli/main.ts');"],
  ['agent/worker/c.ts', "import koffi from 'koffi';"],
  ['agent/worker/next-step.ts', "import { now } from './runner.ts';"],
  ['agent/network/desired.ts', "import { readFile } from 'node:fs';"],
  ['agent/network/diff.ts', "import { apply } from './driver.ts';"],
  ['shared/model/a.ts', "import os from 'node:os';"],
  ['shared/wire/a.ts', "import { x } from '../../manager/main.ts';"],
  ['manager/plan/schedule/a.ts', "import 'node:crypto';"],
  ['manager/plan/schedule/b.ts', "import {\n  open,\n} from '../../store/store.ts';"],
  ['manager/stack/a.ts', "import express from 'express';"],
  ['manager/store/a.ts', "import { Counter } from 'prom-client';"],
  ['manager/api/c.ts', "import { createMetrics } from '../metrics/metrics.ts';"],
  ['deploy/local/a.ts', "import { x } from '../../test/harness/cluster.ts';"],
];

const ALLOWED: readonly (readonly [file: string, source: string])[] = [
  ['agent/native/a.ts', "import koffi from 'koffi';"],
  ['manager/metrics/a.ts', "import { Gauge } from 'prom-client';"],
  ['manager/main.ts', "import { createMetrics } from './metrics/metrics.ts';"],
  ['manager/plan/c.ts', "import type { Tables } from '../store/store.ts';\nimport { x } from './view.ts';"],
  ['manager/stack/c.ts', "import { parse } from 'yaml';\n// from '../../agent/main.ts' is not imported"],
  ['deploy/local/c.ts', "import { x } from '../../agent/main.ts';"],
];

test('every forbidden import is found, and the allowed ones are not', async (t) => {
  const root = await mkdtemp(path.join(os.tmpdir(), 'shoal-imports-'));
  t.teardown(() => rm(root, { recursive: true }));
  for (const [file, source] of [...FORBIDDEN, ...ALLOWED]) {
    await mkdir(path.dirname(path.join(root, file)), { recursive: true });
    await writeFile(path.join(root, file), `${source}\n`);
  }
  const { findings, files } = await checkTree(root);
  t.is(files, FORBIDDEN.length + ALLOWED.length);
  t.deepEqual(
    [...new Set(findings.map((finding) => finding.file))].toSorted(),
    FORBIDDEN.map(([file]) => file).toSorted(),
  );
});
