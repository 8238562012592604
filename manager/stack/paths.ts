/** Paths of the files of a project, as text: relative to the project's directory, or absolute. Posix. */

/** `path` as seen from `directory`; "." and ".." are resolved as far as they can be. */
export function resolvePath(directory: string, path: string): string {
  const whole = path.startsWith('/') || directory === '' ? path : `${directory}/${path}`;
  const parts: string[] = [];
  for (const part of whole.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..' && parts.length > 0 && parts.at(-1) !== '..') parts.pop();
    else if (part !== '..' || !whole.startsWith('/')) parts.push(part);
  }
  return (whole.startsWith('/') ? '/' : '') + parts.join('/');
}

/** '' is the project's own directory. */
export function directoryOf(path: string): string {
  const at = path.lastIndexOf('/');
  return at === 0 ? '/' : path.slice(0, Math.max(0, at));
}
