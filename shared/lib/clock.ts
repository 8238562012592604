/** Milliseconds since the epoch. */
export type Millis = number;

export interface Clock {
  now(): Millis;
}

export const systemClock: Clock = { now: () => Date.now() };

/** The time of day when the process began, counted on steadily: nobody who sets the machine's clock makes it jump. */
export const steadyClock: Clock = { now: () => Math.round(performance.timeOrigin + performance.now()) };
