/** PURE. Paths in a container as they read. */

/** `/x/../y/` is `/y`: a component before .. need not be there. What is not absolute stays as it is, for others to refuse. */
export function cleanPath(path: string): string {
  if (!path.startsWith('/')) return path;
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}
