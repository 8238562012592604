/** PURE apart from the platform's table. Signal names as images and services write them: SIGTERM, term, 15, SIGRTMIN+3. */
import { constants } from 'node:os';

const SIGRTMIN = 34;
const SIGRTMAX = 64;

/** Throws TypeError for what is no signal. */
export function parseSignal(text: string): number {
  const name = text.trim().toUpperCase().replace(/^SIG/, '');
  if (/^\d+$/.test(name) && Number(name) >= 1 && Number(name) <= SIGRTMAX) return Number(name);
  const realTime = /^RT(MIN|MAX)(?:([+-])(\d+))?$/.exec(name);
  if (realTime !== null) {
    const base = realTime[1] === 'MIN' ? SIGRTMIN : SIGRTMAX;
    const value = base + Number(`${realTime[2] ?? '+'}${realTime[3] ?? '0'}`);
    if (value >= SIGRTMIN && value <= SIGRTMAX) return value;
  }
  const known = (constants.signals as Record<string, number>)[`SIG${name}`];
  if (known === undefined) throw new TypeError(`not a signal: "${text}"`);
  return known;
}
