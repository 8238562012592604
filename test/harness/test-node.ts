/** A node of a test's cluster: its agent, its cable, its network namespace. */
import { readFile } from 'node:fs/promises';
import { run } from '../../deploy/local/command.ts';
import type { LocalCluster, LocalMember } from '../../deploy/local/local-cluster.ts';
import { poll, readAgentFile } from '../../deploy/local/run-files.ts';

/** Run by a node process of its own, because a network namespace is a process's. */
const FETCH = `
  const { text, error } = await fetch(process.argv[1], { signal: AbortSignal.timeout(5000) })
    .then(async (response) => ({ text: await response.text() }), (error) => ({ error }));
  if (error !== undefined) console.error(String(error.cause ?? error));
  process.stdout.write(text ?? '', () => process.exit(error === undefined ? 0 : 1));
`;

/** An agent that finds no manager asks again after a while that doubles. */
const SESSION_MS = 60_000;

export class TestNode {
  readonly #local: LocalCluster;
  readonly #member: LocalMember;
  readonly #signal = new AbortController().signal;

  constructor(local: LocalCluster, member: LocalMember) {
    this.#local = local;
    this.#member = member;
  }

  get hostname(): string {
    return this.#member.node.hostname;
  }

  get index(): number {
    return this.#member.node.index;
  }

  /** On the underlay. */
  get address(): string {
    return this.#member.node.address;
  }

  /** Pid of the agent. */
  get pid(): number | undefined {
    return this.#member.process.pid;
  }

  get stateDir(): string {
    return this.#member.node.stateDir;
  }

  get runDir(): string {
    return this.#member.node.runDir;
  }

  /** True while an agent process is up that has read what an earlier one left. */
  async isUp(): Promise<boolean> {
    const file = await readAgentFile(this.#member.node.runDir);
    return file !== undefined && file.pid === this.pid;
  }

  /** SIGKILL of the agent alone; it stays dead until `restart`. Containers go on. */
  kill(): Promise<void> {
    return this.#member.process.kill({ hold: true });
  }

  /** SIGKILL of the agent; its supervisor starts it again, as systemd would. */
  crash(): Promise<void> {
    return this.#member.process.kill({ hold: false });
  }

  /** Starts an agent again that `kill` holds; does not wait for it. */
  start(): void {
    this.#member.process.release();
  }

  /** Kills the agent if it lives, starts it, waits until all nodes are ready and this one has a session again. */
  async restart(): Promise<void> {
    await this.kill();
    const before = await this.#sessions();
    this.#member.process.release();
    await this.#local.waitForNodes(this.#signal);
    // A node is called ready for a while after its session was lost: what is asked of it until then would fail.
    await poll(
      async () => ((await this.#sessions()) > before ? true : undefined),
      AbortSignal.timeout(SESSION_MS),
    );
  }

  /** How often its agents have said that they have a session. */
  async #sessions(): Promise<number> {
    const log = await readFile(this.#member.process.spec.logFile, 'utf8');
    return log.split('"msg":"session opened"').length - 1;
  }

  /** Pulls the cable: nothing reaches the node, and it reaches nobody. */
  partition(): Promise<void> {
    return this.#local.setCable(this.#member.node, 'down', this.#signal);
  }

  heal(): Promise<void> {
    return this.#local.setCable(this.#member.node, 'up', this.#signal);
  }

  /** Fetches a URL from inside the node, on a connection of its own; rejects when there is no answer within 5 s. */
  curl(url: string): Promise<string> {
    return this.run(process.execPath, '--input-type=module', '-e', FETCH, url);
  }

  /** Runs a program of the system in the node's network namespace. */
  run(program: string, ...args: readonly string[]): Promise<string> {
    return run(program, args, this.#signal, { netns: this.#member.node.netns?.path });
  }
}
