/** `shoal deploy` and `shoal rm`: stacks from compose files. */
import type { Command } from 'commander';
import { AppError, NotFoundError } from '../../shared/errors/index.ts';
import { delay } from '../../shared/lib/abort.ts';
import { type ApiClient, ApiError } from './client.ts';
import { readComposeFile } from './compose-file.ts';
import { signalOfInterrupts } from './fail.ts';
import { parseCount } from './options.ts';
import { addSocketOptions, clientOf, type SocketFlags } from './socket.ts';
import { findingsOf, formatFinding, putStack, removeStack, stackServices, waitForStack } from './stack.ts';

interface DeployFlags extends SocketFlags {
  composeFile: string;
  prune?: boolean;
  wait: boolean;
  timeout: number;
}

/** The compose file has mistakes; each with its place. */
class ComposeError extends AppError {
  override readonly name = 'ComposeError';
  readonly code = 'invalid';
}

const say = (line: string): void => void process.stdout.write(`${line}\n`);

export function addDeploy(program: Command): void {
  const command = program
    .command('deploy')
    .description('deploy a compose file as a stack, and wait until its services run')
    .argument('<stack>', 'name of the stack')
    .requiredOption('-c, --compose-file <file>', 'the compose file; - for standard input')
    .option('--prune', 'remove services of the stack that the file no longer has')
    .option('--no-wait', 'return as soon as the cluster has accepted it')
    .option('--timeout <seconds>', 'how long to wait', parseCount(1, 86_400), 300);
  addSocketOptions(command).action(runDeploy);
}

async function runDeploy(name: string, flags: DeployFlags): Promise<void> {
  const signal = signalOfInterrupts();
  const api = clientOf(flags);
  const { text, title, variables, contents } = await readComposeFile(flags.composeFile);
  const options = { prune: flags.prune === true, variables, contents };
  const warnings = await putStack(api, name, text, options, signal).catch((error: unknown) => {
    throw error instanceof ApiError ? explain(title, error) : error;
  });
  for (const warning of warnings) process.stderr.write(`warning: ${formatFinding(title, warning)}\n`);
  if (!flags.wait) return say(`stack ${name} accepted`);
  const onChange = (service: string, status: string): void => say(`${service}: ${status}`);
  await waitForStack(api, name, { timeoutMs: flags.timeout * 1000, onChange }, signal);
  say(`stack ${name} runs`);
}

/** Mistakes of a file as `file:line:column: message`, one a line. */
function explain(title: string, error: ApiError): AppError {
  const findings = findingsOf(error.body);
  if (findings.length === 0) return error;
  const lines = findings.map((finding) => formatFinding(title, finding));
  return new ComposeError(`the file was refused, nothing was changed\n${lines.join('\n')}`);
}

export function addRemove(program: Command): void {
  const command = program
    .command('rm')
    .description('remove a stack: its services and networks (volumes stay)')
    .argument('<stack>', 'name of the stack');
  addSocketOptions(command).action(runRemove);
}

async function runRemove(name: string, flags: SocketFlags): Promise<void> {
  const signal = signalOfInterrupts();
  const api = clientOf(flags);
  await requireStack(api, name, signal);
  await removeStack(api, name, signal);
  while ((await stackServices(api, name, signal)).length > 0) await delay(200, signal);
  say(`stack ${name} removed`);
}

async function requireStack(api: ApiClient, name: string, signal: AbortSignal): Promise<void> {
  if ((await stackServices(api, name, signal)).length > 0) return;
  throw new NotFoundError(
    `there is no stack ${name}: shoal status lists the services, STACK_SERVICE by name`,
  );
}
