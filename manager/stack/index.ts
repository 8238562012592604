export {
  convertStack,
  placeOf,
  type StackConversion,
  type StackInput,
  type StackService,
} from './convert.ts';
export type { Variables } from './interpolate.ts';
export type { FileTexts } from './files.ts';
export type { ComposeText } from './load.ts';
export type { Problem } from './problem.ts';
export type { StackNetwork } from './top-level.ts';
