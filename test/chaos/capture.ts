/** Listens on the network between the hosts for bytes that must not be there in the clear. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { findProgram } from '../../deploy/local/command.ts';

export class Capture {
  readonly #process: ChildProcess;
  readonly #needles: readonly Buffer[];
  readonly #found = new Set<number>();
  readonly #longest: number;
  #rest: Buffer = Buffer.alloc(0);
  #said = '';
  bytes = 0;

  private constructor(device: string, needles: readonly Buffer[]) {
    this.#needles = needles;
    this.#longest = Math.max(...needles.map(({ length }) => length));
    const program = findProgram('tcpdump');
    if (program === undefined) throw new Error('tcpdump is not installed: deploy/prerequisites.sh --dev');
    // All of each packet, as it comes, to its standard output.
    const args = ['-i', device, '-s', '0', '-U', '-B', '65536', '-w', '-'];
    this.#process = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process.stdout?.on('data', (chunk: Buffer) => this.#search(chunk));
    this.#process.stderr?.on('data', (chunk: Buffer) => (this.#said += chunk.toString()));
  }

  /** Resolves once it listens. */
  static async start(device: string, needles: readonly Buffer[]): Promise<Capture> {
    const capture = new Capture(device, needles);
    while (!/listening on/.test(capture.#said)) {
      if (capture.#process.exitCode !== null) throw new Error(`tcpdump: ${capture.#said}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return capture;
  }

  /** Numbers of the needles that were seen so far. */
  get found(): ReadonlySet<number> {
    return this.#found;
  }

  /** Packets that the kernel could not hand over: they were not searched. */
  async stop(): Promise<number> {
    if (this.#process.exitCode === null) {
      this.#process.kill('SIGINT');
      await once(this.#process, 'exit');
    }
    return Number(/(\d+) packets? dropped by kernel/.exec(this.#said)?.[1] ?? 0);
  }

  #search(chunk: Buffer): void {
    this.bytes += chunk.length;
    const all = Buffer.concat([this.#rest, chunk]);
    for (const [number, needle] of this.#needles.entries()) if (all.includes(needle)) this.#found.add(number);
    this.#rest = all.subarray(Math.max(0, all.length - this.#longest));
  }
}
