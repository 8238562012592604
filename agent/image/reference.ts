import { InvalidError } from '../../shared/errors/index.ts';

/** A parsed image reference. At least one of tag and digest is set by `parseReference`. */
export interface ImageReference {
  /** Host and port; `docker.io` when none is named. */
  readonly registry: string;
  /** Path in the registry, e.g. `library/nginx`. */
  readonly repository: string;
  readonly tag?: string;
  /** `sha256:` and 64 hexadecimal digits. */
  readonly digest?: string;
}

const DEFAULT_REGISTRY = 'docker.io';
const OFFICIAL_PREFIX = 'library/';
const DEFAULT_TAG = 'latest';
/** github.com/distribution/reference: the longest name, registry included. */
const MAX_NAME_LENGTH = 255;

const HOST =
  /^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?$/;
const PATH_COMPONENT = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^sha256:[a-f0-9]{64}$/;

/**
 * Parses a reference as Docker does: `nginx`, `nginx:1.25`, `host:5000/a/b@sha256:...`. What names neither a tag nor
 * a digest means the tag `latest`. Throws InvalidError, which says what is wrong with it.
 */
export function parseReference(text: string): ImageReference {
  const refuse = (why: string): never => {
    throw new InvalidError(`invalid image reference "${text}": ${why}`);
  };
  if (text === '') refuse('it is empty');
  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !DIGEST.test(digest)) {
    refuse(`the digest "${digest}" is not "sha256:" and 64 hexadecimal digits in lower case`);
  }
  const named = at < 0 ? text : text.slice(0, at);
  const colon = named.lastIndexOf(':');
  const hasTag = colon > named.lastIndexOf('/');
  const tag = hasTag ? named.slice(colon + 1) : undefined;
  if (tag !== undefined && !TAG.test(tag)) {
    refuse(
      `the tag "${tag}" may hold 1 to 128 letters, digits, "_", "." and "-", and starts with neither "." nor "-"`,
    );
  }
  const { registry, repository } = splitName(hasTag ? named.slice(0, colon) : named);
  checkName(registry, repository, refuse);
  return {
    registry,
    repository,
    ...(tag === undefined && digest === undefined ? { tag: DEFAULT_TAG } : tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** The first component is a registry if it looks like a host: a dot, a port, an upper case letter, or localhost. */
function splitName(name: string): { registry: string; repository: string } {
  const slash = name.indexOf('/');
  const first = name.slice(0, Math.max(slash, 0));
  const isHost = slash > 0 && (/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase());
  const registry = isHost ? first : DEFAULT_REGISTRY;
  const rest = isHost ? name.slice(slash + 1) : name;
  if (registry !== DEFAULT_REGISTRY && registry !== 'index.docker.io') return { registry, repository: rest };
  return { registry: DEFAULT_REGISTRY, repository: rest.includes('/') ? rest : OFFICIAL_PREFIX + rest };
}

function checkName(registry: string, repository: string, refuse: (why: string) => never): void {
  if (!HOST.test(registry)) refuse(`"${registry}" is not the name of a registry`);
  for (const component of repository.replace(/^library\/(?=$)/, '').split('/')) {
    if (component === '') refuse('a part of the name is empty');
    if (component !== component.toLowerCase()) refuse(`the name must be in lower case ("${component}")`);
    if (!PATH_COMPONENT.test(component)) {
      refuse(`"${component}" may hold lower case letters and digits, separated by ".", "_", "__" or dashes`);
    }
  }
  if (/^library\/[a-f0-9]{64}$/.test(repository) && registry === DEFAULT_REGISTRY) {
    refuse('64 hexadecimal digits are an image id, not a name');
  }
  const length = registry.length + 1 + repository.length;
  if (length > MAX_NAME_LENGTH) refuse(`the name has ${length} characters, more than ${MAX_NAME_LENGTH}`);
}

/** The name without tag and digest, in full: `docker.io/library/nginx`. */
export function repositoryName(ref: ImageReference): string {
  return `${ref.registry}/${ref.repository}`;
}

/** In full: `docker.io/library/nginx:latest`. Two references that mean the same have the same canonical name. */
export function canonicalName(ref: ImageReference): string {
  return repositoryName(ref) + suffix(ref);
}

/** The name to look for: a digest says it all, and the tag beside it is only for people. */
export function nameOf(ref: ImageReference): string {
  return ref.digest === undefined ? canonicalName(ref) : `${repositoryName(ref)}@${ref.digest}`;
}

/** As people write it: `nginx:latest`, `user/app:1`, `host:5000/app:1`. */
export function familiarName(ref: ImageReference): string {
  return familiarRepository(ref) + suffix(ref);
}

/** As people write it, without tag and digest. */
export function familiarRepository(ref: ImageReference): string {
  if (ref.registry !== DEFAULT_REGISTRY) return repositoryName(ref);
  const short = ref.repository.slice(OFFICIAL_PREFIX.length);
  return ref.repository.startsWith(OFFICIAL_PREFIX) && !short.includes('/') ? short : ref.repository;
}

function suffix(ref: ImageReference): string {
  return (ref.tag === undefined ? '' : `:${ref.tag}`) + (ref.digest === undefined ? '' : `@${ref.digest}`);
}
