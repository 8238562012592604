export {
  convertStack,
  placeOf,
  type StackConversion,
  type StackInput,
  type StackService,
} from './convert.ts';
export type { Variables } from './interpolate.ts';
export type { Problem } from './problem.ts';
export type { StackContents, StackFile } from './stack-files.ts';
export type { StackNetwork } from './top-level.ts';
