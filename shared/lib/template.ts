/**
 * Templates as Swarm has them: a documented part of Go's text/template (https://pkg.go.dev/text/template) for a
 * service's environment, host name and mounts, and for the contents of secrets and configs with the driver "golang".
 * Pure. What is beyond that part is refused by name when it is parsed.
 */

/** What a template may look at. */
export interface TemplateContext {
  readonly node: {
    readonly id: string;
    readonly hostname: string;
    readonly os: string;
    readonly arch: string;
  };
  readonly service: {
    readonly id: string;
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
  };
  /** `slot` is the node's id for a global service's task, as in Swarm. */
  readonly task: { readonly id: string; readonly name: string; readonly slot: string };
}

/** The context of a task on its node: names as Swarm makes them (swarmkit, api/naming). */
export function taskContext(
  task: { readonly id: string; readonly serviceId: string; readonly slot: number; readonly nodeId: string },
  service: { readonly name: string; readonly labels: Readonly<Record<string, string>> },
  node: { readonly hostname: string; readonly os: string; readonly arch: string },
): TemplateContext {
  const slot = task.slot > 0 ? String(task.slot) : task.nodeId;
  return {
    node: { id: task.nodeId, hostname: node.hostname, os: node.os, arch: node.arch },
    service: { id: task.serviceId, name: service.name, labels: service.labels },
    task: { id: task.id, name: `${service.name}.${slot}.${task.id}`, slot },
  };
}

/** The functions that only contents have. Each throws TypeError for a name that it does not know. */
export interface TemplateFunctions {
  readonly secret: (target: string) => string;
  readonly config: (target: string) => string;
  readonly env: (name: string) => string;
}

const FUNCTIONS = ['secret', 'config', 'env'] as const;
type FunctionName = (typeof FUNCTIONS)[number];

type Part =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'field'; readonly field: Field }
  | { readonly kind: 'label'; readonly name: string }
  | { readonly kind: 'call'; readonly name: FunctionName; readonly argument: string };

const FIELDS = {
  '.Node.ID': (c) => c.node.id,
  '.Node.Hostname': (c) => c.node.hostname,
  '.Node.Platform.OS': (c) => c.node.os,
  '.Node.Platform.Architecture': (c) => c.node.arch,
  '.Service.ID': (c) => c.service.id,
  '.Service.Name': (c) => c.service.name,
  '.Service.Labels': (c) => printMap(c.service.labels),
  '.Task.ID': (c) => c.task.id,
  '.Task.Name': (c) => c.task.name,
  '.Task.Slot': (c) => c.task.slot,
} as const satisfies Record<string, (context: TemplateContext) => string>;
type Field = keyof typeof FIELDS;

// A literal is quoted as in Go, with \ before " and \ only, or raw between backticks.
const LITERAL = String.raw`("(?:[^"\\\n]|\\["\\])*"|${'`[^`]*`'})`;
const CALL = new RegExp(String.raw`^(\w+)\s+${LITERAL}$`);
const INDEX = new RegExp(String.raw`^index\s+\.Service\.Labels\s+${LITERAL}$`);
const LABEL = /^\.Service\.Labels\.(\w+)$/;

/** A template that was understood. */
export class Template {
  readonly #parts: readonly Part[];

  /** `contents`: the functions secret, config and env are known too. Throws TypeError that names what is not. */
  constructor(text: string, contents: boolean) {
    this.#parts = parse(text, contents);
  }

  /** Throws TypeError of a function that does not know its name. */
  fill(context: TemplateContext, functions?: TemplateFunctions): string {
    return this.#parts
      .map((part) => {
        switch (part.kind) {
          case 'text':
            return part.text;
          case 'field':
            return FIELDS[part.field](context);
          case 'label':
            return Object.hasOwn(context.service.labels, part.name)
              ? (context.service.labels[part.name] ?? '')
              : '';
          case 'call':
            return functions?.[part.name](part.argument) ?? '';
        }
      })
      .join('');
  }
}

/** What is wrong with a template of this kind; undefined when nothing is. */
export function templateProblem(text: string, contents: boolean): string | undefined {
  try {
    parse(text, contents);
    return undefined;
  } catch (error) {
    if (error instanceof TypeError) return error.message;
    throw error;
  }
}

function parse(text: string, contents: boolean): Part[] {
  const parts: Part[] = [];
  let at = 0;
  let dropped = false;
  const plain = (end: number, dropsBefore: boolean): void => {
    const from = dropped ? skipBlanks(text, at, 1) : at;
    const to = dropsBefore ? skipBlanks(text, end - 1, -1) + 1 : end;
    if (to > from) parts.push({ kind: 'text', text: text.slice(from, to) });
  };
  for (let open = text.indexOf('{{'); open >= 0; open = text.indexOf('{{', at)) {
    const close = actionEnd(text, open + 2);
    const inner = text.slice(open + 2, close);
    // "{{- " and " -}}" drop the white space beside the action.
    const dropsBefore = inner[0] === '-' && isBlank(inner[1]);
    const dropsAfter = inner.at(-1) === '-' && isBlank(inner.at(-2));
    plain(open, dropsBefore);
    dropped = dropsAfter;
    at = close + 2;
    const action = inner.slice(dropsBefore ? 1 : 0, dropsAfter ? -1 : undefined).trim();
    if (!action.startsWith('/*')) parts.push(parseAction(action, contents));
  }
  plain(text.length, false);
  return parts;
}

function isBlank(char: string | undefined): boolean {
  return char === ' ' || char === '\t' || char === '\r' || char === '\n';
}

function skipBlanks(text: string, from: number, step: 1 | -1): number {
  let at = from;
  while (isBlank(text[at])) at += step;
  return at;
}

/** Where the action's "}}" is; those in literals and comments do not count. Throws TypeError when there is none. */
function actionEnd(text: string, from: number): number {
  for (let at = from; at >= 0 && at < text.length; ) {
    if (text.startsWith('}}', at)) return at;
    const char = text[at];
    if (char === '"') at = literalEnd(text, at);
    else if (char === '`') at = after(text, '`', at + 1);
    else if (text.startsWith('/*', at)) at = after(text, '*/', at + 2);
    else at += 1;
  }
  throw new TypeError('an action is not closed: "{{" without "}}"');
}

/** Behind the closing quote, or -1. */
function literalEnd(text: string, from: number): number {
  for (let at = from + 1; at < text.length && text[at] !== '\n'; at += 1) {
    if (text[at] === '\\') at += 1;
    else if (text[at] === '"') return at + 1;
  }
  return -1;
}

function after(text: string, what: string, from: number): number {
  const at = text.indexOf(what, from);
  return at < 0 ? -1 : at + what.length;
}

function parseAction(action: string, contents: boolean): Part {
  if (Object.hasOwn(FIELDS, action)) return { kind: 'field', field: action as Field };
  const label = LABEL.exec(action)?.[1];
  if (label !== undefined) return { kind: 'label', name: label };
  const index = INDEX.exec(action)?.[1];
  if (index !== undefined) return { kind: 'label', name: unquote(index) };
  const [, name, argument] = CALL.exec(action) ?? [];
  const known = FUNCTIONS.find((one) => one === name);
  if (known !== undefined && argument !== undefined) {
    if (contents) return { kind: 'call', name: known, argument: unquote(argument) };
    throw new TypeError(`{{${action}}}: ${known} works in templated secrets and configs only`);
  }
  throw new TypeError(`the template action {{${action.slice(0, 60)}}} is not supported`);
}

function unquote(literal: string): string {
  const inner = literal.slice(1, -1);
  return literal.startsWith('`') ? inner : inner.replaceAll(/\\(["\\])/g, '$1');
}

/** As Go prints a map: map[a:1 b:2], keys in order. */
function printMap(map: Readonly<Record<string, string>>): string {
  const pairs = Object.keys(map)
    .sort()
    .map((key) => `${key}:${map[key]}`);
  return `map[${pairs.join(' ')}]`;
}
