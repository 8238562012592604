/** What all requests for logs have in common. */
import { zTail, zTimeText } from '../logs/options.ts';
import { type Answer, answers, parameters } from './operation.ts';

const time = 'seconds since the epoch, with a fraction, or RFC 3339';

export const zTimeParameter = {
  since: zTimeText.describe(`What is from then on: ${time}`),
  until: zTimeText.describe(`What is before: ${time}`),
} as const;

export const LOG_QUERY = {
  stdout: parameters.flag('Standard output; at least one of both is needed'),
  stderr: parameters.flag('Standard error'),
  follow: parameters.flag('Go on with what is still to come'),
  timestamps: parameters.flag('Each line with its time'),
  details: parameters.flag('Each line with where it comes from'),
  tail: zTail.describe('So many lines from the end of each task; all'),
  ...zTimeParameter,
} as const;

export const logAnswers: Readonly<Record<number, Answer>> = {
  200: answers.raw(
    'Frames: one byte of the stream (1 stdout, 2 stderr), three of zero, four of the length, the bytes. With a terminal: the bytes (application/vnd.docker.raw-stream)',
    'application/vnd.docker.multiplexed-stream',
  ),
};
