/** Published ports that programs of a node listen on, in words. */
import type { Node, Service, TakenPort } from '../../../shared/model/index.ts';

export function takenPortText({ port, holder }: TakenPort): string {
  return holder === 'theirs'
    ? `port ${port} is in use by another process: it is not published here until that ends`
    : `a process listens on port ${port}, which is published: it gets no connection`;
}

/** Those of a service, node by node. */
export function takenPortsOf(service: Service, nodes: Iterable<Node>): { node: Node; text: string }[] {
  const own = new Set(
    (service.endpoint?.ports ?? []).map((port) => `${port.publishedPort}/${port.protocol}`),
  );
  const found: { node: Node; text: string }[] = [];
  for (const node of nodes) {
    for (const taken of node.takenPorts ?? []) {
      // The address, if there is one, comes first.
      if (own.has(taken.port.slice(taken.port.lastIndexOf(':') + 1)))
        found.push({ node, text: takenPortText(taken) });
    }
  }
  return found;
}
