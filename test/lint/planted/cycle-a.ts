import { b } from './cycle-b.ts'; // no-cycle

export const a = (): number => b();
