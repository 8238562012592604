/** A process of a test that has a container running, tells where, and waits to be killed. */
import { createContainer, startContainer } from '../../../agent/native/container.ts';
import { Fixture } from './fixture.ts';

const fixture = new Fixture('victim');
const request = fixture.request(['sleep', '1000']);
await createContainer(request);
await startContainer(request.runDir);
// Without a listener the channel keeps no process alive.
process.on('message', () => undefined);
process.send?.({ directory: fixture.directory, runRoot: fixture.runRoot, cgroup: fixture.cgroup });
