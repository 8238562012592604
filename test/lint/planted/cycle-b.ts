import { a } from './cycle-a.ts'; // no-cycle

export const b = (): number => a();
