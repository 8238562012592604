/** shoal-oci as an engine calls it, with bundles of busybox alone. Needs root. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { OciConfig } from '../../../agent/native/container.ts';
import { checkoutDir } from '../../harness/peers.ts';
import { DEADLINE_MS, Fixture } from './fixture.ts';

export const PROGRAM = join(checkoutDir(), 'native', 'build', 'shoal-oci');

export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export type Adjust = (config: OciConfig & Record<string, unknown>) => void;

export interface Bundle {
  readonly id: string;
  readonly directory: string;
  /** Of its cgroups, for the fixture. */
  readonly group: string;
}

export class OciLab {
  readonly fixture: Fixture;
  readonly root: string;
  readonly #made = new Set<string>();

  constructor(name: string) {
    this.fixture = new Fixture(name);
    this.root = join(this.fixture.runRoot, 'oci');
  }

  oci = (...args: string[]): Promise<Result> => this.spawn([PROGRAM, '--root', this.root, ...args]);

  /** Output goes through files: a container would hold a pipe open. `more`: descriptors from 3 on. */
  async spawn([program = '', ...args]: readonly string[], more: readonly number[] = []): Promise<Result> {
    const name = join(this.fixture.directory, `out-${randomBytes(6).toString('hex')}`);
    const [out, err] = [openSync(name, 'w'), openSync(`${name}.err`, 'w')];
    const child = spawn(program, args, { stdio: ['ignore', out, err, ...more], timeout: DEADLINE_MS });
    const code = await new Promise<number>((resolve) =>
      child.once('exit', (status) => resolve(status ?? -1)),
    );
    closeSync(out);
    closeSync(err);
    return { code, stdout: readFileSync(name, 'utf8'), stderr: readFileSync(`${name}.err`, 'utf8') };
  }

  bundle = (args: string[], adjust: Adjust = () => undefined): Bundle => {
    const { id, config } = this.fixture.request(args);
    const directory = join(this.fixture.directory, id);
    mkdirSync(directory, { recursive: true });
    config.root = { path: this.fixture.layer };
    adjust(config as OciConfig & Record<string, unknown>);
    writeFileSync(join(directory, 'config.json'), JSON.stringify(config));
    this.#made.add(id);
    return { id, directory, group: `/${id}` };
  };

  run = async (args: string[], adjust?: Adjust): Promise<Result> => {
    const { id, directory } = this.bundle(args, adjust);
    return this.oci('run', '--bundle', directory, id);
  };

  started = async (args: string[], adjust?: Adjust): Promise<Bundle> => {
    const one = this.bundle(args, adjust);
    const created = await this.oci('create', '--bundle', one.directory, one.id);
    if (created.code !== 0) throw new Error(created.stderr);
    const begun = await this.oci('start', one.id);
    if (begun.code !== 0) throw new Error(begun.stderr);
    return one;
  };

  async close(): Promise<void> {
    for (const id of this.#made) await this.oci('delete', '--force', id);
    await this.fixture.close();
  }
}
