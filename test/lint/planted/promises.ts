// Planted on purpose: test/lint/lint.test.ts expects a finding for each line that names a rule.
async function work(): Promise<void> {
  throw 'text'; // only-throw-error
}

export function start(): void {
  work(); // no-floating-promises
}

export const handler: { run: () => void } = {
  run: work, // no-misused-promises
};
