/** Tells a person what is being done, as it happens. */
export interface Progress {
  /** Does it, and tells what and how long it took, or that it failed. */
  step<T>(title: string, work: () => Promise<T>): Promise<T>;
  say(text: string): void;
}

/** A line a step: `  0.42 s  title`. `write` gets whole lines. */
export function lineProgress(write: (line: string) => void): Progress {
  return {
    say: write,
    async step(title, work) {
      const start = performance.now();
      const seconds = (): string => `${((performance.now() - start) / 1000).toFixed(2).padStart(6)} s`;
      try {
        const result = await work();
        write(`  ok  ${seconds()}  ${title}`);
        return result;
      } catch (error) {
        write(`  --  ${seconds()}  ${title}`);
        throw error;
      }
    },
  };
}

export const silentProgress: Progress = {
  say: () => undefined,
  step: (_title, work) => work(),
};
