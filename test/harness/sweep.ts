/** Run by test/run.sh before the tests: removes what a killed run left. */
import { removeLeftovers } from './leftovers.ts';

await removeLeftovers();
