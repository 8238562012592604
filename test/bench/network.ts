/** Networks: what a change of one endpoint costs a node that knows very many of them. Needs root. */
import { benchChanges } from './network/changes.ts';

await benchChanges();
