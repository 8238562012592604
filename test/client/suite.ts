/** A file's tests of the docker command: one cluster for all of them, each test once with every client there is. */
import test, { type ExecutionContext } from 'ava';
import { cluster, type TestCluster } from '../harness/cluster.ts';
import { Docker, dockerPrograms } from './docker.ts';

/** What the harness makes on every node. It is in no registry. */
export const IMAGE = 'shoal/example:latest';
/** Asks no registry for the image's digest. */
export const LOCAL = ['--no-resolve-image', '--quiet'];
/** The foreground command watches tasks for as long as the update monitor says. */
export const SWIFT = [
  '--stop-grace-period',
  '1s',
  '--update-monitor',
  '300ms',
  '--rollback-monitor',
  '300ms',
];

export interface Scene {
  readonly docker: Docker;
  readonly swarm: TestCluster;
  /** Ends the names of what a test makes: clients share the cluster. */
  readonly tag: string;
}

export type SceneTest = (t: ExecutionContext, scene: Scene) => Promise<void>;

export interface Suite {
  readonly test: (title: string, body: SceneTest) => void;
}

/** To be called once in a file. `describe` says what the cluster is made of. */
export async function suite(
  describe: (builder: ReturnType<typeof cluster>) => ReturnType<typeof cluster>,
): Promise<Suite> {
  const programs = await dockerPrograms();
  if (programs.length < 2)
    test.skip('a newer docker client: `newer/missing` in the directory of the peers says why there is none', (t) =>
      t.pass());
  let shared: TestCluster | undefined;
  test.before(async () => {
    shared = await describe(cluster().manager()).up();
  });
  test.after.always(async () => {
    await shared?.[Symbol.asyncDispose]();
  });
  return {
    test: (title, body) => {
      for (const program of programs) {
        test.serial(`${title} (docker ${program.version})`, async (t) => {
          if (shared === undefined) throw new Error('there is no cluster');
          const docker = new Docker(program, shared.layout);
          const tag = `v${program.version.split('.')[0]}`;
          try {
            await body(t, { docker, swarm: shared, tag });
          } catch (error) {
            t.log((await shared.state()).toString());
            throw error;
          }
        });
      }
    },
  };
}
