/** `shoal recover`: a cluster whose managers have lost their quorum goes on from one that survived. */
import path from 'node:path';
import type { Command } from 'commander';
import { systemClock } from '../../shared/lib/clock.ts';
import { signalOfInterrupts } from './fail.ts';
import { makeLogger } from './logger.ts';

export function addRecover(program: Command): void {
  program
    .command('recover')
    .description(
      'most managers are lost for good: make this one the only one, on its machine, with it stopped',
    )
    .option('--state-dir <dir>', "the manager's", '/var/lib/shoal/manager')
    .action(async (flags: { stateDir: string }) => {
      const { recover } = await import('../../manager/membership/recover.ts');
      const stateDir = path.resolve(flags.stateDir);
      const logger = makeLogger('error', 'recover');
      const now = (): number => systemClock.now();
      const { lost, aside } = await recover({ stateDir, logger, now }, signalOfInterrupts());
      const lines = [
        `this manager is the only one now; ${lost.length} others are managers no more: ${lost.join(', ') || 'none'}`,
        `etcd's data of before is in ${aside}`,
        'start the manager now: agents come back by themselves. On the others: shoal manager --join (see docs/operate.md)',
      ];
      process.stdout.write(`${lines.join('\n')}\n`);
    });
}
