/** The docker command as a user has it: every call ends, and a call that does not says what it printed. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { promisify } from 'node:util';
import { findProgram } from '../../deploy/local/command.ts';
import { ensurePeers } from '../harness/peers.ts';

export interface DockerProgram {
  readonly path: string;
  /** 20.10.24 */
  readonly version: string;
}

export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Of what `docker inspect` prints of a container. */
export interface ContainerJson {
  readonly Id: string;
  readonly State: { readonly Status: string; readonly Running: boolean; readonly ExitCode: number };
  readonly Config: {
    readonly Image: string;
    readonly Entrypoint: readonly string[];
    readonly Cmd: readonly string[];
    readonly Tty: boolean;
    readonly Labels: Readonly<Record<string, string>>;
  };
  readonly HostConfig: { readonly Memory: number; readonly NanoCpus: number };
  readonly Mounts: readonly { readonly Type: string; readonly Destination: string; readonly RW: boolean }[];
  readonly NetworkSettings: { readonly Networks: Readonly<Record<string, object>> };
}

/** Of what `docker network inspect --verbose` prints of a service. */
export interface NetworkServiceJson {
  readonly VIP: string;
  readonly Tasks: readonly { readonly EndpointIP: string }[];
}

/** Of what `docker network inspect` prints. */
export interface NetworkJson {
  readonly Id: string;
  readonly IPAM: { readonly Config: readonly object[] };
  readonly Labels: object;
  readonly Services?: Readonly<Record<string, NetworkServiceJson>>;
}

const CALL_TIMEOUT_MS = 60_000;

/** The distribution's client, and a newer one: Debian's newest, else the machine's own where it has another version. */
export async function dockerPrograms(): Promise<DockerProgram[]> {
  const { docker, newerDocker } = await ensurePeers();
  const paths = [docker, newerDocker ?? findProgram('docker')];
  const found = new Map<string, DockerProgram>();
  for (const path of paths) {
    if (path === undefined) continue;
    const { stdout } = await promisify(execFile)(path, ['--version']);
    const version = /version ([\d.]+)/.exec(stdout)?.[1];
    if (version === undefined) throw new Error(`${path} --version says: ${stdout}`);
    if (!found.has(version)) found.set(version, { path, version });
  }
  return [...found.values()];
}

/** One client on one cluster. */
export class Docker {
  readonly version: string;
  readonly #path: string;
  readonly #globals: readonly string[];

  constructor(program: DockerProgram, at: { readonly socket: string; readonly stateDir: string }) {
    this.version = program.version;
    this.#path = program.path;
    const config = path.join(at.stateDir, `docker-${program.version}`);
    this.#globals = ['--config', config, '-H', `unix://${at.socket}`];
  }

  /** Standard output, without blanks at its ends, of a command that succeeds. */
  async ok(...args: readonly string[]): Promise<string> {
    const output = await this.run(args);
    if (output.code !== 0) throw new Error(describe(args, `failed with ${output.code}`, output));
    return output.stdout.trim();
  }

  /** Lines of what a command that succeeds prints. */
  async lines(...args: readonly string[]): Promise<string[]> {
    const text = await this.ok(...args);
    return text === '' ? [] : text.split('\n').map((line) => line.trimEnd());
  }

  /** The parsed output of a command that prints JSON; the caller knows its shape. */
  async json<T = unknown>(...args: readonly string[]): Promise<T> {
    return JSON.parse(await this.ok(...args)) as T;
  }

  /** What a command that must fail complains of. */
  async fails(...args: readonly string[]): Promise<string> {
    const output = await this.run(args);
    if (output.code === 0) throw new Error(describe(args, 'succeeded', output));
    return output.stderr.trim();
  }

  /** Runs to the end, whatever the exit code. */
  run(args: readonly string[]): Promise<Output> {
    return this.#watch(args, () => false);
  }

  /** Runs to the end with this as its standard input. */
  runWith(input: string | Buffer, args: readonly string[]): Promise<Output> {
    return this.#watch(args, () => false, input);
  }

  /**
   * Runs to the end on a terminal of 33 rows and 101 columns, as a person has it (script(1) of util-linux). `input` is typed
   * at once; `alongside` is a shell command that runs on the same terminal meanwhile.
   */
  async terminal(args: readonly string[], input = '', alongside = 'true'): Promise<Output> {
    const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;
    const command = [this.#path, ...this.#globals, ...args].map(quote).join(' ');
    const line = `stty rows 33 cols 101; (${alongside}) & ${command}`;
    return watch('script', ['-qec', line, '/dev/null'], input);
  }

  /** Runs until its standard output matches, then interrupts it as Ctrl-C does. Resolves with what it printed. */
  async follow(args: readonly string[], until: RegExp): Promise<string> {
    const output = await this.#watch(args, (stdout) => until.test(stdout));
    if (!until.test(output.stdout)) throw new Error(describe(args, `ended before ${until}`, output));
    return output.stdout;
  }

  #watch(args: readonly string[], enough: (stdout: string) => boolean, input?: string | Buffer) {
    return watch(this.#path, [...this.#globals, ...args], input, enough);
  }
}

async function watch(
  program: string,
  args: readonly string[],
  input?: string | Buffer,
  enough: (stdout: string) => boolean = () => false,
): Promise<Output> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  // A child that does not read all of it has its reasons.
  child.stdin.on('error', () => undefined).end(input);
  const said = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said.stdout += text;
    if (enough(said.stdout)) child.kill('SIGINT');
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said.stderr += text));
  const closed = once(child, 'close') as Promise<[number | null]>;
  const state = { late: false };
  const timer = setTimeout(() => {
    state.late = true;
    child.kill('SIGKILL');
  }, CALL_TIMEOUT_MS);
  const [code] = await closed.finally(() => clearTimeout(timer));
  const output = { code: code ?? 128, ...said };
  if (state.late) throw new Error(describe(args, `did not end within ${CALL_TIMEOUT_MS / 1000} s`, output));
  return output;
}

/** Progress bars repeat themselves: the end is what counts. */
function describe(args: readonly string[], what: string, { stdout, stderr }: Output): string {
  return `docker ${args.join(' ')}\n${what}; it printed:\n${stdout.slice(-3000)}\n${stderr.slice(-3000)}`;
}
