import { z } from 'zod';
import { text } from '../service-schema.ts';

export const nothing = z.strictObject({});
export const ofContainer = z.strictObject({ containerId: text });
const dimension = z.number().int().min(0).max(65_535);
export const size = z.strictObject({ rows: dimension, columns: dimension });
