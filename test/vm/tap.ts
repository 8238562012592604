/** The lines that the guest reports: `ok - name`, `not ok - name`, and what a test said before its line. */

export interface Verdict {
  readonly ok: boolean;
  /** The test's own words about why. */
  readonly said: string;
}

/** By name. A name that comes twice is ok only if both are. */
export function parseReport(report: string): Map<string, Verdict> {
  const verdicts = new Map<string, Verdict>();
  let said: string[] = [];
  for (const line of report.split(/\r?\n/)) {
    const match = /^(not )?ok - (.*)$/.exec(line);
    if (match === null) {
      if (line !== '') said.push(line);
      continue;
    }
    const name = match[2] ?? '';
    const ok = match[1] === undefined && verdicts.get(name)?.ok !== false;
    verdicts.set(name, { ok, said: said.join('\n') });
    said = [];
  }
  return verdicts;
}
