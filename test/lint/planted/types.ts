// Planted on purpose: test/lint/lint.test.ts expects a finding for each line that names a rule.
type Color = 'red' | 'green' | 'blue';

export function name(color: Color): string {
  let text = '';
  switch (color) { // switch-exhaustiveness-check
    case 'red':
      text = 'r';
      break;
    case 'green':
      text = 'g';
      break;
  }
  return text;
}

export function loose(value: any): boolean { // no-explicit-any
  return value == 1; // eqeqeq
}

export function first(list: string[]): string {
  return list[0]!; // no-non-null-assertion
}
