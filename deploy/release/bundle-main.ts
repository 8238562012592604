/** `npm run build:bundle`: see bundle.ts. */
import { PROJECT_ROOT } from '../local/project.ts';
import { bundle } from './bundle.ts';

await bundle(PROJECT_ROOT);
