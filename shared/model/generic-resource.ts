/** What of a kind a node has, or a task was given: so many of it, or these by name. */
export type GenericResource =
  | { readonly kind: string; readonly count: number }
  | { readonly kind: string; readonly names: readonly string[] };

/** How many of a kind a task asks for; which of them is the manager's choice. */
export interface GenericRequest {
  readonly kind: string;
  readonly count: number;
}

export function amountOf(resource: GenericResource): number {
  return 'names' in resource ? resource.names.length : resource.count;
}
