#!/usr/bin/env node
/** The `shoal` command. */
import { Command, CommanderError } from 'commander';
import { VERSION } from '../../shared/lib/version.ts';
import { addAudit } from './audit.ts';
import { addBackup, addRestore } from './backup.ts';
import { addCa } from './ca.ts';
import { addAgent, addManager } from './daemons.ts';
import { addDataKey } from './data-key.ts';
import { addExplain } from './explain.ts';
import { EXIT, explainFailure } from './fail.ts';
import { addDown, addUp } from './local.ts';
import { addRecover } from './recover.ts';
import { addDiff, addRevisions, addRollback } from './revision-commands.ts';
import { addService } from './service-commands.ts';
import { addDeploy, addRemove } from './stack-commands.ts';
import { addStatus } from './status.ts';
import { addToken } from './token.ts';
import { addUnlock } from './unlock.ts';
import { addUpgrade } from './upgrade.ts';
import { addUser } from './user.ts';

function makeProgram(): Command {
  const program = new Command('shoal')
    .description(
      'Containers on many Linux hosts: managers decide, agents run them, the docker CLI drives it.',
    )
    .version(VERSION)
    .exitOverride()
    // What follows the name of a command is that command's: `shoal manager ls --socket` is not `shoal manager --socket`.
    .enablePositionalOptions()
    .showHelpAfterError('(see --help)')
    .configureHelp({ sortSubcommands: false });
  addUp(program);
  addDown(program);
  addStatus(program);
  addDeploy(program);
  addDiff(program);
  addRevisions(program);
  addRollback(program);
  addRemove(program);
  addService(program);
  addExplain(program);
  addToken(program);
  addUser(program);
  addAudit(program);
  addCa(program);
  addDataKey(program);
  addUnlock(program);
  addBackup(program);
  addRestore(program);
  addRecover(program);
  addUpgrade(program);
  addManager(program);
  addAgent(program);
  for (const command of program.commands) command.exitOverride();
  return program;
}

async function main(): Promise<number> {
  try {
    await makeProgram().parseAsync();
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT.usage; // it has said why
    const { text, code } = explainFailure(error, process.env['SHOAL_DEBUG'] === '1');
    if (text !== '') process.stderr.write(`${text}\n`);
    if (process.connected) process.send?.({ kind: 'failed', text: text.replace(/^shoal: /, '') });
    return code;
  }
}

// what is still open after a command is done (a parent's channel, a connection kept alive) must not keep it alive
const code = await main();
if (process.connected) process.disconnect();
process.exit(code);
