/** The authority between the managers' etcds is replaced in a real cluster; that old certificates are refused then: membership/etcd-root-members. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';
import { CLI_PATH } from '../../deploy/local/project.ts';
import { cluster } from '../harness/cluster.ts';
import { lifeLines } from '../harness/containers.ts';

test('the root of the etcds is replaced while three managers work: what is asked meanwhile is done, no container notices', async (t) => {
  await using swarm = await cluster().managers(3).agents(2).up();
  await swarm.deploy('web', { replicas: 2 });
  await swarm.eventually((s) => s.running('web').count === 2);
  const before = await lifeLines(swarm.layout);
  const ca = async (...args: string[]): Promise<string> => {
    const command = [CLI_PATH, 'ca', ...args, '--socket', swarm.layout.socket];
    return (await promisify(execFile)(process.execPath, command, { timeout: 240_000 })).stdout;
  };
  const rootOf = (text: string): string | undefined =>
    /managers' etcds.*(sha256:[0-9a-f]{64})/.exec(text)?.[1];
  const old = rootOf(await ca());
  const turned = new AbortController();
  const asked = (async (): Promise<number> => {
    let writes = 0;
    for (; !turned.signal.aborted; writes += 1)
      await swarm.eventually(async () => {
        await swarm.docker('service', 'update', '--detach', '--label-add', `turn=${writes}`, 'web');
        return true;
      });
    return writes;
  })();
  const said = await ca('rotate-etcd').finally(() => turned.abort());
  const writes = await asked;
  t.log(`${writes} writes meanwhile`);
  t.true(writes > 0);
  t.truthy(old);
  t.not(rootOf(said), old);
  t.is(rootOf(await ca()), rootOf(said));
  t.deepEqual(await lifeLines(swarm.layout), before);
  await swarm.docker('service', 'scale', '--detach', 'web=4');
  await swarm.eventually((s) => s.running('web').count === 4);
});
