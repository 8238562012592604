/** `shoal deploy` and `shoal rm`: stacks from compose files. */
import type { Command } from 'commander';
import { AppError } from '../../shared/errors/index.ts';
import { ApiError } from './client.ts';
import { type Project, readProject } from './compose-file.ts';
import { signalOfInterrupts } from './fail.ts';
import { parseCount } from './options.ts';
import { addSocketOptions, clientOf, type SocketFlags } from './socket.ts';
import { type Finding, findingsOf, formatFinding, putStack, removeStack, waitForStack } from './stack.ts';

export interface FileFlags {
  composeFile: string[];
  profile?: string[];
  envFile?: string[];
}

interface DeployFlags extends SocketFlags, FileFlags {
  prune?: boolean;
  wait: boolean;
  detach?: boolean;
  timeout: number;
}

/** The compose file has mistakes; each with its place. */
class ComposeError extends AppError {
  override readonly name = 'ComposeError';
  readonly code = 'invalid';
}

export const say = (line: string): void => void process.stdout.write(`${line}\n`);

export function addDeploy(program: Command): void {
  const command = program
    .command('deploy')
    .description('deploy a compose file as a stack, and wait until its services run')
    .argument('<stack>', 'name of the stack')
    .option('--prune', 'remove what the files no longer have: services, networks, secrets, configs')
    .option('--no-wait', 'return as soon as the cluster has accepted it')
    .option('-d, --detach', 'the same as --no-wait')
    .option('--timeout <seconds>', 'how long to wait', parseCount(1, 86_400), 300);
  addSocketOptions(addFileOptions(command)).action(runDeploy);
}

/** What names a stack's files: the same for deploy and diff. */
export function addFileOptions(command: Command): Command {
  const collect = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];
  return command
    .requiredOption(
      '-c, --compose-file <file>',
      'a compose file, - for standard input; several are merged',
      collect,
    )
    .option('--profile <name>', "also the services of this profile; '*' for all", collect)
    .option('--env-file <file>', 'variables, in place of the .env beside the first file', collect);
}

async function runDeploy(name: string, flags: DeployFlags): Promise<void> {
  const signal = signalOfInterrupts();
  const api = clientOf(flags);
  const project = await readProject(flags.composeFile, { profiles: flags.profile, envFiles: flags.envFile });
  const options = { prune: flags.prune === true, contents: project.contents };
  const warnings = await putStack(api, name, project.source, options, signal).catch((error: unknown) =>
    explainRefusal(project, error),
  );
  warn(project, warnings);
  if (!flags.wait || flags.detach === true) return say(`stack ${name} accepted`);
  const onChange = (service: string, status: string): void => say(`${service}: ${status}`);
  await waitForStack(api, name, { timeoutMs: flags.timeout * 1000, onChange }, signal);
  say(`stack ${name} runs`);
}

export function warn(project: Project, warnings: readonly Finding[]): void {
  for (const warning of warnings) {
    process.stderr.write(`warning: ${formatFinding(project.title(warning.file), warning)}\n`);
  }
}

/** Throws the mistakes of the files as `file:line:column: message`, one a line. */
export function explainRefusal(project: Project, error: unknown): never {
  const findings = error instanceof ApiError ? findingsOf(error.body) : [];
  if (findings.length === 0) throw error;
  const lines = findings.map((finding) => formatFinding(project.title(finding.file), finding));
  throw new ComposeError(`the file was refused, nothing was changed\n${lines.join('\n')}`);
}

export function addRemove(program: Command): void {
  const command = program
    .command('rm')
    .description('remove a stack: its services and networks (volumes stay)')
    .argument('<stack>', 'name of the stack');
  addSocketOptions(command).action(runRemove);
}

async function runRemove(name: string, flags: SocketFlags): Promise<void> {
  await removeStack(clientOf(flags), name, signalOfInterrupts());
  say(`stack ${name} removed`);
}
