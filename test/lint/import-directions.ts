/**
 * Checks who imports whom (design: neither wing imports the other; what decides is pure; only agent/native has the FFI).
 * Usage: node dist/test/lint/import-directions.js [ROOT]; prints `file:line: what`, exit code 1 when there is any.
 */
import { readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Finding {
  readonly file: string;
  readonly line: number;
  readonly message: string;
}

interface Direction {
  /** The files that it is about. */
  readonly of: RegExp;
  /** What they may not import: a path from the root, `node:...`, or a package. `type`: only types are. */
  readonly forbids: (target: string, type: boolean) => boolean;
  readonly because: string;
}

const inFolder = (...folders: string[]) => {
  return (target: string): boolean => folders.some((folder) => target.startsWith(`${folder}/`));
};

const isFile = (target: string): boolean => /^(manager|agent|shared|deploy|test)\//.test(target);

/** Packages that compute and do nothing else. */
const PURE_PACKAGES = new Set(['yaml', 'zod', 'ip-address', 'dns-packet', 'croner']);

/**
 * Nothing but shared/model, shared/lib, shared/errors, packages that only compute, and files that `siblings` knows. A
 * type does nothing, so it may come from anywhere in the own wing.
 */
function impure(siblings: RegExp): (target: string, type: boolean) => boolean {
  return (target, type) => {
    if (type && isFile(target)) return false;
    if (!isFile(target)) return !PURE_PACKAGES.has(target);
    return !inFolder('shared/model', 'shared/lib', 'shared/errors')(target) && !siblings.test(target);
  };
}

const PURE = 'is pure: it imports shared/model, shared/lib, shared/errors and pure siblings only';
const NETWORK_PURE =
  /^agent\/network\/(allow|desired|diff|local|plan|attach|balance|container-scope|endpoint-index|family|fast-path|groups|hash|host-addresses|host-ports|scope-count|seen-flows|withdrawn|uplink-slots|dns-answer|dns-cache|dns-limit|dns-names|dns-srv|kernel-object|key-rotation|names|observe|outside-links|sandbox-sysctls|nft-diff|wire)[^/]*\.ts$/;

export const DIRECTIONS: readonly Direction[] = [
  {
    of: /^manager\//,
    forbids: inFolder('agent', 'deploy', 'test'),
    because: 'a manager imports manager and shared only',
  },
  {
    of: /^agent\//,
    forbids: inFolder('manager', 'deploy', 'test'),
    because: 'an agent imports agent and shared only',
  },
  {
    of: /^shared\//,
    forbids: inFolder('manager', 'agent', 'deploy', 'test'),
    because: 'shared is the ground floor',
  },
  { of: /^deploy\//, forbids: inFolder('test'), because: 'what is shipped does not import tests' },
  {
    of: /^(?!agent\/native\/)/,
    forbids: (target) => target === 'koffi' || target.startsWith('koffi/'),
    because: 'agent/native is the only importer of the FFI library',
  },
  {
    of: /^shared\/(model|lib)\//,
    forbids: (target) => target.startsWith('node:'),
    because: 'shared/model and shared/lib are used by pure files: no node:*',
  },
  {
    of: /^(?!manager\/metrics\/)/,
    forbids: (target) => target === 'prom-client',
    because: 'manager/metrics is the only importer of prom-client: others are told of by observers',
  },
  {
    of: /^manager\/(?!metrics\/|main\.ts)/,
    forbids: inFolder('manager/metrics'),
    because: 'metrics are wired in manager/main.ts: nothing that works depends on what is counted of it',
  },
  { of: /^manager\/plan\//, forbids: impure(/^manager\/plan\//), because: `manager/plan ${PURE}` },
  { of: /^manager\/stack\//, forbids: impure(/^manager\/stack\//), because: `manager/stack ${PURE}` },
  { of: /^agent\/worker\/next-step\.ts$/, forbids: impure(/^$/), because: `next-step.ts ${PURE}` },
  { of: NETWORK_PURE, forbids: impure(NETWORK_PURE), because: `this file ${PURE}` },
];

const IMPORT =
  /(?:\b(import|export)\s+(type\s)?[^'";]*?)\bfrom\s*['"]([^'"]+)['"]|\bimport\s*\(\s*['"]([^'"]+)['"]|^\s*import\s*['"]([^'"]+)['"]/gm;

/** Comments become spaces, so that lines keep their numbers. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, (comment) => comment.replace(/[^\n]/g, ' '));
}

/** `file` is its path from the root, with forward slashes. */
export function checkFile(file: string, text: string): Finding[] {
  const findings: Finding[] = [];
  const code = withoutComments(text);
  for (const match of code.matchAll(IMPORT)) {
    const specifier = match[3] ?? match[4] ?? match[5] ?? '';
    const target = specifier.startsWith('.')
      ? path.posix.join(path.posix.dirname(file), specifier)
      : specifier;
    const isType = match[2] !== undefined;
    const line = code.slice(0, match.index).split('\n').length;
    for (const { of, forbids, because } of DIRECTIONS) {
      if (of.test(file) && forbids(target, isType))
        findings.push({ file, line, message: `imports ${target}: ${because}` });
    }
  }
  return findings;
}

const FOLDERS = ['manager', 'agent', 'shared', 'deploy', 'test'];

async function* sources(root: string): AsyncGenerator<string> {
  for (const folder of FOLDERS) {
    const entries = await readdir(path.join(root, folder), { recursive: true }).catch(() => []);
    for (const entry of entries) {
      const file = `${folder}/${entry}`;
      // the tests of this one hold forbidden imports as texts
      if (file.endsWith('.ts') && !file.startsWith('test/lint/')) yield file;
    }
  }
}

/** All findings below a root, and how many files were read. */
export async function checkTree(root: string): Promise<{ findings: Finding[]; files: number }> {
  const findings: Finding[] = [];
  let files = 0;
  for await (const file of sources(root)) {
    findings.push(...checkFile(file, await readFile(path.join(root, file), 'utf8')));
    files += 1;
  }
  return { findings, files };
}

async function main(root: string): Promise<void> {
  const { findings, files } = await checkTree(root);
  for (const { file, line, message } of findings) process.stderr.write(`${file}:${line}: ${message}\n`);
  process.stdout.write(`import directions: ${files} files, ${findings.length} findings\n`);
  if (findings.length > 0 || files === 0) process.exitCode = 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(path.resolve(process.argv[2] ?? '.'));
