/** An event as the Docker Engine API shows it, and the way from what somebody did to one. */

export type EventType =
  | 'builder'
  | 'config'
  | 'container'
  | 'daemon'
  | 'image'
  | 'network'
  | 'node'
  | 'plugin'
  | 'secret'
  | 'service'
  | 'volume';

export interface ApiEvent {
  readonly Type: EventType;
  readonly Action: string;
  readonly Actor: { readonly ID: string; readonly Attributes: Readonly<Record<string, string>> };
  readonly scope: 'swarm' | 'local';
  /** Seconds. */
  readonly time: number;
  readonly timeNano: number;
}

/** What happened, without the time. */
export type EventDraft = Omit<ApiEvent, 'time' | 'timeNano'>;

export function draft(
  type: EventType,
  action: string,
  id: string,
  attributes: Readonly<Record<string, string>>,
  scope: ApiEvent['scope'] = 'local',
): EventDraft {
  return { Type: type, Action: action, Actor: { ID: id, Attributes: attributes }, scope };
}

/** What is done to an image: `pull`, `push`, `tag`, `untag`, `delete`, `load`, `save`, `import`. The id is the reference or the image's. */
export function imageEvent(action: string, id: string, name: string): EventDraft {
  return draft('image', action, id, { name });
}

/** What is done to a volume: `create`, `destroy`, `prune`. */
export function volumeEvent(
  action: string,
  name: string,
  attributes: Readonly<Record<string, string>> = {},
): EventDraft {
  return draft('volume', action, name, { driver: 'local', ...attributes });
}
