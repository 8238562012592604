/** One driver, in namespaces of its own, with very many services: what a change of one endpoint takes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** Its devices, tables and mounts are nobody's else, and go with it. */
export async function benchChanges(): Promise<void> {
  const script = fileURLToPath(new URL('./changes-host.js', import.meta.url));
  const child = spawn('unshare', ['--net', '--mount', process.execPath, script], { stdio: 'inherit' });
  const [code] = (await once(child, 'close')) as [number];
  if (code !== 0) throw new Error(`changes-host ended with ${code}`);
}
