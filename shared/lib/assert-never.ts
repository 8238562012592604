/** Makes a switch exhaustive: a case added to the union and not handled is a compile error. */
export function assertNever(value: never): never {
  throw new Error(`unexpected value: ${JSON.stringify(value)}`);
}
