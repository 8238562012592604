/**
 * The last assignments, kept on tmpfs (they may hold credentials): an agent that restarts while no manager can be
 * reached goes on with them. A reboot loses the file together with the containers it speaks of.
 */
import { readFile } from 'node:fs/promises';
import { ASSIGNMENT_TABLES, type AssignmentSet } from '../../shared/model/index.ts';
import type { Logger } from '../../shared/model/options.ts';
import { replaceFile } from '../files/replace-file.ts';

const SETTLE_MS = 200;

/** Saves the newest set: the first of a burst of changes at once, the others together a little later. */
export class AssignmentFile {
  readonly #path: string;
  readonly #inMemory: boolean;
  readonly #logger: Logger;
  #newest: AssignmentSet | undefined;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  /** `inMemory`: the path is on a tmpfs. Else the contents of secrets and configs are left out. */
  constructor(path: string, inMemory: boolean, logger: Logger) {
    this.#path = path;
    this.#inMemory = inMemory;
    this.#logger = logger;
  }

  save(set: AssignmentSet): void {
    this.#newest = set;
    if (this.#timer === undefined) this.#flush();
  }

  async close(): Promise<void> {
    this.#write();
    clearTimeout(this.#timer);
    await this.#writing;
  }

  /** Writes what is new, and looks again after a while; ends when nothing came meanwhile. */
  #flush(): void {
    this.#timer = undefined;
    if (this.#newest === undefined) return;
    this.#write();
    this.#timer = setTimeout(() => this.#flush(), SETTLE_MS);
  }

  #write(): void {
    const set = this.#newest;
    if (set === undefined) return;
    this.#newest = undefined;
    this.#writing = this.#writing
      .then(() => writeAssignments(this.#path, this.#inMemory ? set : withoutContents(set)))
      .catch((error: unknown) => this.#logger.warn({ err: error }, 'could not save the assignments'));
  }
}

function withoutContents(set: AssignmentSet): AssignmentSet {
  return { ...set, secrets: new Map(), configs: new Map() };
}

async function writeAssignments(path: string, set: AssignmentSet): Promise<void> {
  const tables = Object.fromEntries(ASSIGNMENT_TABLES.map((table) => [table, [...set[table]]]));
  await replaceFile(path, JSON.stringify(tables));
}

/** Undefined when there is none. A file that can not be read counts as none: the manager will send a full set. */
export async function loadAssignments(path: string, logger: Logger): Promise<AssignmentSet | undefined> {
  try {
    const tables = JSON.parse(await readFile(path, 'utf8')) as Record<string, [string, never][]>;
    const maps = ASSIGNMENT_TABLES.map((table) => [table, new Map(tables[table])]);
    return Object.fromEntries(maps) as AssignmentSet;
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) {
      logger.warn({ err: error }, 'the saved assignments can not be read');
    }
    return undefined;
  }
}
