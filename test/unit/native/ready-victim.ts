/** A process of a test that has monitors ready, says so, and waits to be killed. */
import { makeReadyMonitor } from '../../../agent/native/start-word.ts';

await makeReadyMonitor();
const wanted = await makeReadyMonitor();
// Without a listener the channel keeps no process alive.
process.on('message', () => undefined);
process.send?.({ wanted });
