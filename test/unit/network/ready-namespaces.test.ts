import { existsSync, fstatSync, openSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { ReadyNamespaces, type ReadyNamespace } from '../../../agent/network/ready-namespaces.ts';

const PATIENCE_MS = 20_000;

/** Descriptors of a directory, in place of those of namespaces. */
function counted() {
  const made: number[] = [];
  const make = (): Promise<number> => {
    made.push(openSync(tmpdir(), 'r'));
    return Promise.resolve(made.at(-1) ?? -1);
  };
  return { made, make };
}

async function until(condition: () => boolean): Promise<void> {
  for (const end = performance.now() + PATIENCE_MS; !condition(); await delay(1))
    if (performance.now() > end) throw new Error(`never: ${String(condition)}`);
}

function isOpen(fd: number): boolean {
  try {
    return fstatSync(fd).isDirectory();
  } catch {
    return false;
  }
}

async function taken(ready: ReadyNamespaces): Promise<ReadyNamespace> {
  let one: ReadyNamespace | undefined;
  await until(() => (one = ready.take()) !== undefined);
  if (one === undefined) throw new Error('none');
  return one;
}

test.serial(
  'none before the first is asked for, then a few; each is given once, and ends when it is closed',
  async (t) => {
    const { made, make } = counted();
    const ready = new ReadyNamespaces(make);
    t.is(ready.take(), undefined);
    await until(() => made.length === 4);
    const four = [await taken(ready), await taken(ready), await taken(ready), await taken(ready)];
    t.deepEqual(
      four.map(({ path }) => path),
      made.map((fd) => `/proc/${process.pid}/fd/${fd}`),
    );
    t.is(ready.take(), undefined, 'while something is started none is made');
    t.true(made.every(isOpen) && four.every(({ path }) => existsSync(path)));
    for (const one of four) one.close();
    t.false(made.slice(0, 4).some(isOpen));
    await until(() => made.length === 8);
    ready.close();
    t.false(made.some(isOpen));
  },
);

test.serial(
  'one that is made while all are closed is closed, too; what can not be made is not insisted on',
  async (t) => {
    let finish: (fd: number) => void = () => undefined;
    let asked = 0;
    const ready = new ReadyNamespaces(() => {
      asked += 1;
      return new Promise((resolve) => (finish = resolve));
    });
    ready.take();
    await until(() => asked === 1);
    ready.close();
    const fd = openSync(tmpdir(), 'r');
    finish(fd);
    await until(() => !isOpen(fd));
    let refused = 0;
    const poor = new ReadyNamespaces(() => {
      refused += 1;
      return Promise.reject(new Error('no memory'));
    });
    poor.take();
    await until(() => refused === 1);
    t.is(poor.take(), undefined, 'the next start asks again');
    await until(() => refused === 2);
    poor.close();
  },
);
