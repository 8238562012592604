/** npm run chaos: a real cluster in real trouble, for as long as it is told. */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { runChaos } from './chaos.ts';

const USAGE = `usage: npm run chaos -- [--minutes M] [--seed S]

Three managers with their etcds and three nodes, on this machine, as root. Clients make, change and remove services, secrets
and networks, while managers, etcds, agents, monitors, cables, disks and clocks fail. In the end what was acknowledged must be
there, exactly what should run must run, and no secret may be on a disk or in the clear on a link.

  --minutes M  how long (default 2)
  --seed S     chooses what fails and when; real time does the rest (default: any)

The last line is a summary as JSON; the exit code is 1 when anything was found.`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '2' },
      seed: { type: 'string', default: String(randomInt(1_000_000)) },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const minutes = Number(values.minutes);
  if (!(minutes > 0)) throw new Error('--minutes: a number above 0 is expected');
  console.log(`seed ${values.seed}, ${minutes} minutes`);
  const report = await runChaos({ seed: values.seed, minutes, print: (line) => console.log(line) });
  console.log(JSON.stringify(report));
  process.exitCode = report.findings.length === 0 ? 0 : 1;
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
