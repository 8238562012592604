/**
 * JSON text of the API's larger objects, of which most is a spec that does not change: its text is made once for each spec
 * and goes with it. Records in the store are immutable, so a text holds as long as its record.
 */
import type { Network, Service, ServiceSpec, Task, TaskStatus } from '../../../shared/model/index.ts';
import { whyStillThere } from '../../plan/reconcile/drain-note.ts';
import { viewOf } from '../../plan/view.ts';
import type { Store } from '../../store/store.ts';
import { encodeService, type ServiceSources, serviceStatus } from './service-codec.ts';
import { encodeServiceSpec, encodeTaskTemplate } from './service-spec-codec.ts';
import { encodeTask } from './task-codec.ts';

/** Stands for a spec while the rest is written. Nothing that users choose comes before the specs in an object. */
const PLACE = '\u0000spec';
const PLACE_TEXT = JSON.stringify(PLACE);

const specText = kept(encodeServiceSpec);
const templateText = kept(encodeTaskTemplate);

/** The encoder's JSON text, remembered for each spec. */
function kept(encode: (spec: ServiceSpec) => object): (spec: ServiceSpec) => string {
  const texts = new WeakMap<ServiceSpec, string>();
  return (spec) => {
    const known = texts.get(spec);
    if (known !== undefined) return known;
    const text = JSON.stringify(encode(spec));
    texts.set(spec, text);
    return text;
  };
}

/** encodeService as JSON text, with ServiceStatus when it is asked for. */
export function serviceText(
  api: ServiceSources,
  service: Service,
  spec: ServiceSpec,
  withStatus: boolean,
): string {
  const specs: ServiceSpec[] = [];
  const encoded = encodeService(api, service, spec, (one) => {
    specs.push(one);
    return PLACE;
  });
  const shown = withStatus ? { ...encoded, ServiceStatus: serviceStatus(api.store, service, spec) } : encoded;
  const pieces = split(JSON.stringify(shown), specs.length);
  return pieces.map((piece, i) => (i === 0 ? piece : specText(specs[i - 1] ?? spec) + piece)).join('');
}

/** What of a task's text is no spec, and what it was made from. */
interface TaskPieces {
  readonly status: TaskStatus | undefined;
  readonly version: number;
  readonly networks: readonly (Network | undefined)[];
  readonly before: string;
  readonly after: string;
}

const taskPieces = new WeakMap<Task, TaskPieces>();

/** encodeTask as JSON text. It depends on the task, its status, its spec and the networks of its addresses. */
export function taskText(store: Store, task: Task, spec: ServiceSpec | undefined): string {
  if (spec === undefined) return JSON.stringify(encodeTask(store, task, spec));
  const note = drainNote(store, task);
  // It follows from other tasks, too.
  if (note !== undefined) {
    const [before = '', after = ''] = split(JSON.stringify(encodeTask(store, task, spec, PLACE, note)), 1);
    return before + templateText(spec) + after;
  }
  const status = store.get('statuses', task.id);
  const version = Math.max(store.version('tasks', task.id), store.version('statuses', task.id));
  const known = taskPieces.get(task);
  if (known !== undefined && known.status === status && known.version === version) {
    if (task.addresses.every(({ network }, i) => store.get('networks', network) === known.networks[i]))
      return known.before + templateText(spec) + known.after;
  }
  const [before = '', after = ''] = split(JSON.stringify(encodeTask(store, task, spec, PLACE)), 1);
  const networks = task.addresses.map(({ network }) => store.get('networks', network));
  taskPieces.set(task, { status, version, networks, before, after });
  return before + templateText(spec) + after;
}

function drainNote(store: Store, task: Task): string | undefined {
  if (store.get('nodes', task.nodeId ?? '')?.spec.availability !== 'drain') return undefined;
  const view = viewOf(store);
  return view === undefined ? undefined : whyStillThere(view, task);
}

/** The text of an object with one field more, at its end. */
export function withField(text: string, name: string, value: unknown): string {
  return `${text.slice(0, -1)},${JSON.stringify(name)}:${JSON.stringify(value)}}`;
}

/** The text around its first `count` places. */
function split(text: string, count: number): string[] {
  const pieces: string[] = [];
  let from = 0;
  for (let i = 0; i < count; i += 1) {
    const at = text.indexOf(PLACE_TEXT, from);
    pieces.push(text.slice(from, at));
    from = at + PLACE_TEXT.length;
  }
  return [...pieces, text.slice(from)];
}
