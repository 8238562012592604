/** `shoal data-key`: the key that secrets and configs are sealed with, and its rotation. */
import type { Command } from 'commander';
import { z } from 'zod';
import { delay } from '../../shared/lib/abort.ts';
import type { ApiClient } from './client.ts';
import { signalOfInterrupts } from './fail.ts';
import { addSocketOptions, clientOf, type SocketFlags } from './socket.ts';

const LOOK_MS = 500;

const dataKeySchema = z.object({
  KeyID: z.string(),
  RotatedAt: z.string().optional(),
  Rotation: z
    .object({
      KeyID: z.string(),
      StartedAt: z.string(),
      Waiting: z.array(z.object({ ID: z.string(), Hostname: z.string() })),
      Left: z.number(),
    })
    .optional(),
});
type DataKeyJson = z.output<typeof dataKeySchema>;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

export function addDataKey(program: Command): void {
  const command = program
    .command('data-key')
    .description('show which key secrets and configs are sealed with, and how far its rotation is');
  addSocketOptions(command).action(async (flags: SocketFlags) => {
    say(textOf(await dataKeyOf(clientOf(flags), signalOfInterrupts())));
  });
  const rotate = command
    .command('rotate')
    .description('make a new key, and seal anew what the old one has sealed')
    .option('--no-wait', 'return once it has begun: the managers go on by themselves')
    .exitOverride();
  addSocketOptions(rotate).action(async (_flags: SocketFlags, self: Command) => {
    const flags = self.optsWithGlobals<SocketFlags & { wait: boolean }>();
    const [api, signal] = [clientOf(flags), signalOfInterrupts()];
    await api.call('POST', '/data-key/rotate', undefined, signal);
    if (flags.wait) await untilDone(api, signal);
    say(textOf(await dataKeyOf(api, signal)));
  });
}

async function dataKeyOf(api: ApiClient, signal: AbortSignal): Promise<DataKeyJson> {
  return dataKeySchema.parse(await api.get('/data-key', signal));
}

async function untilDone(api: ApiClient, signal: AbortSignal): Promise<void> {
  for (let said = ''; ; await delay(LOOK_MS, signal)) {
    const { Rotation: rotation } = await dataKeyOf(api, signal);
    if (rotation === undefined) return;
    const text = progressText(rotation);
    if (text !== said) process.stderr.write(`${text}\n`);
    said = text;
  }
}

function progressText({ Waiting, Left }: NonNullable<DataKeyJson['Rotation']>): string {
  const names = Waiting.map(({ Hostname, ID }) => `${Hostname} (${ID})`).join(', ');
  if (names !== '') return `waiting for managers that have not the next key: ${names}`;
  return `${Left} secrets and configs are left to be sealed anew`;
}

function textOf({ KeyID, RotatedAt, Rotation: rotation }: DataKeyJson): string {
  const since = RotatedAt === undefined ? '' : `, since ${RotatedAt}`;
  if (rotation === undefined) return `data key ${KeyID}${since}`;
  return `data key ${KeyID}${since}; a rotation to ${rotation.KeyID} goes on: ${progressText(rotation)}`;
}
