// Planted on purpose: test/lint/lint.test.ts expects a finding for each line that names a rule.
export function decide(): number {
  setTimeout(() => undefined, 1); // no-restricted-globals
  return Date.now() * 2; // no-restricted-properties
}

export function choose(): number {
  return Math.random(); // no-restricted-properties
}

export function look(): string | undefined {
  return process.env['HOME']; // no-restricted-globals
}
