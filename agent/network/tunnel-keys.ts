/**
 * This node's keys for encrypted networks. They are made here, are kept in the state directory and never leave it; what
 * others get is the public halves. A key is replaced after a day: the next one is published, used when it has been known
 * everywhere for a while, and the old one is dropped when nobody has sent to it for as long. See network/wire.ts.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { describeError } from '../../shared/errors/index.ts';
import { delay, isAbort } from '../../shared/lib/abort.ts';
import type { Clock } from '../../shared/lib/clock.ts';
import type { TunnelKeys as PublicKeys } from '../../shared/model/index.ts';
import type { Logger } from '../../shared/model/options.ts';
import { parseValue } from '../../shared/wire/frames.ts';
import { replaceFile } from '../files/replace-file.ts';
import { type Key, type KeyState, type KeyStep, nextStep, otherSlot, stateAfter } from './key-rotation.ts';
import type { Wire } from './local.ts';

const LOOK_MS = 30_000;
/** RFC 8410: what comes before the 32 bytes of an X25519 private key. */
const PKCS8_START = Buffer.from('302e020100300506032b656e04220420', 'hex');

const key = z.strictObject({ slot: z.union([z.literal(0), z.literal(1)]), madeAtMs: z.number() });
const stateSchema = z.strictObject({ active: key, next: key.exactOptional(), old: key.exactOptional() });
const fileSchema = z.strictObject({ nodeId: z.string(), state: stateSchema });

export interface TunnelKeysOptions {
  /** Made if it is not there; readable by nobody else. */
  readonly dir: string;
  /** Whose they are: another node's that were left there are not used. */
  readonly nodeId: string;
  /** UDP port of slot 0. */
  readonly port: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class TunnelKeys {
  readonly #options: TunnelKeysOptions;
  #state: KeyState;
  /** By slot. */
  readonly #publicKeys: Map<number, string>;
  #wire: Wire;
  /** Since when managers have told of these keys and no others, by performance.now(). */
  #heardAtMs: number | undefined;

  private constructor(options: TunnelKeysOptions, state: KeyState, publicKeys: Map<number, string>) {
    this.#options = options;
    this.#state = state;
    this.#publicKeys = publicKeys;
    this.#wire = this.#wireNow();
  }

  /** The keys on disk, or a new one. */
  static async open(options: TunnelKeysOptions): Promise<TunnelKeys> {
    await mkdir(options.dir, { recursive: true, mode: 0o700 });
    const known = await load(options).catch((error: unknown) => {
      options.logger.warn({ error: describeError(error) }, 'keys of encrypted networks are made anew');
      return undefined;
    });
    if (known !== undefined) return new TunnelKeys(options, known.state, known.publicKeys);
    const active: Key = { slot: 0, madeAtMs: options.clock.now() };
    const publicKeys = new Map([[0, await makeKey(options.dir, 0)]]);
    await saveState(options, { active });
    return new TunnelKeys(options, { active }, publicKeys);
  }

  /** The same object until something changes. */
  get wire(): Wire {
    return this.#wire;
  }

  /** What others may know. */
  get published(): PublicKeys {
    const keys = keysOf(this.#state).map(({ slot }) => ({ slot, publicKey: this.#publicOf(slot) }));
    return { active: this.#state.active.slot, keys };
  }

  /** That, as a part of the machine's description. */
  get description(): { readonly tunnelKeys: PublicKeys } {
    return { tunnelKeys: this.published };
  }

  /** What managers tell of this node. */
  heard(keys: PublicKeys | undefined): void {
    const isKnown = JSON.stringify(keys) === JSON.stringify(this.published);
    if (!isKnown) this.#heardAtMs = undefined;
    else this.#heardAtMs ??= performance.now();
  }

  /** Replaces keys in time, until the signal aborts. `changed` is called after each step. */
  async run(changed: () => Promise<void>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await delay(LOOK_MS, signal);
        if (await this.step()) await changed();
      } catch (error) {
        if (!isAbort(error))
          this.#options.logger.error({ error: describeError(error) }, 'a key was not replaced');
      }
    }
  }

  /** Takes the step that is due; false when none is. */
  async step(steadyMs = performance.now()): Promise<boolean> {
    const heardForMs = this.#heardAtMs === undefined ? undefined : steadyMs - this.#heardAtMs;
    const nowMs = this.#options.clock.now();
    const step = nextStep(this.#state, nowMs, heardForMs);
    if (step === undefined) return false;
    await this.#take(step, nowMs);
    this.#options.logger.info({ step, active: this.#state.active.slot }, 'key of encrypted networks');
    return true;
  }

  async #take(step: KeyStep, nowMs: number): Promise<void> {
    const { dir } = this.#options;
    const slot = otherSlot(this.#state.active);
    if (step === 'make') this.#publicKeys.set(slot, await makeKey(dir, slot));
    const state = stateAfter(this.#state, step, nowMs);
    await saveState(this.#options, state);
    this.#state = state;
    this.#heardAtMs = undefined;
    this.#wire = this.#wireNow();
    if (step === 'drop') await rm(keyFile(dir, slot), { force: true });
  }

  #wireNow(): Wire {
    const { dir, port } = this.#options;
    return {
      port,
      active: this.#state.active.slot,
      keys: keysOf(this.#state).map(({ slot }) => ({
        slot,
        publicKey: this.#publicOf(slot),
        keyFile: keyFile(dir, slot),
      })),
    };
  }

  #publicOf(slot: number): string {
    const publicKey = this.#publicKeys.get(slot);
    if (publicKey === undefined) throw new Error(`no key in slot ${slot}`);
    return publicKey;
  }
}

function keysOf({ active, next, old }: KeyState): Key[] {
  return [active, next, old].filter((one) => one !== undefined).toSorted((a, b) => a.slot - b.slot);
}

function keyFile(dir: string, slot: number): string {
  return join(dir, `slot-${slot}.key`);
}

/** Undefined when there are none yet. Rejects when they are damaged. */
async function load({
  dir,
  nodeId,
}: TunnelKeysOptions): Promise<{ state: KeyState; publicKeys: Map<number, string> } | undefined> {
  const path = join(dir, 'keys.json');
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  const { nodeId: owner, state } = parseValue(fileSchema, JSON.parse(text), path);
  if (owner !== nodeId) return undefined;
  const publicKeys = new Map<number, string>();
  for (const { slot } of keysOf(state))
    publicKeys.set(slot, publicOf(await readFile(keyFile(dir, slot), 'utf8')));
  return { state, publicKeys };
}

function saveState({ dir, nodeId }: TunnelKeysOptions, state: KeyState): Promise<void> {
  return replaceFile(join(dir, 'keys.json'), JSON.stringify({ nodeId, state }), { durable: true });
}

/** As wg-genkey(8) writes them. Resolves with the public key. */
async function makeKey(dir: string, slot: number): Promise<string> {
  const { d = '', x = '' } = generateKeyPairSync('x25519').privateKey.export({ format: 'jwk' });
  const text = Buffer.from(d, 'base64url').toString('base64');
  await replaceFile(keyFile(dir, slot), `${text}\n`, { durable: true });
  return Buffer.from(x, 'base64url').toString('base64');
}

function publicOf(text: string): string {
  const raw = Buffer.from(text.trim(), 'base64');
  const privateKey = createPrivateKey({
    key: Buffer.concat([PKCS8_START, raw]),
    format: 'der',
    type: 'pkcs8',
  });
  const { x = '' } = createPublicKey(privateKey).export({ format: 'jwk' });
  return Buffer.from(x, 'base64url').toString('base64');
}
