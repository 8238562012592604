/**
 * The frames of a session: JSON text and, for stream data, binary frames, both ways.
 * hello -> welcome, full -> change ..., each acknowledged by its sequence number.
 */
import { z } from 'zod';
import type { ErrorCode } from '../errors/index.ts';
import { HTTP_STATUS, InvalidError } from '../errors/index.ts';
import { assignmentDropSchema, assignmentListsSchema, assignmentPutSchema } from './assignment-schema.ts';
import {
  networkReportSchema,
  nodeDescriptionSchema,
  taskStatusSchema,
  taskUsageSchema,
  tunnelKeys,
} from './node-schema.ts';
import { leaveOutUnknown, type Tolerate } from './tolerant.ts';

export const PROTOCOL = 1;

/** What a stream may send before its consumer has taken anything, in bytes. */
export const STREAM_WINDOW_BYTES = 256 * 1024;
/** The most that one binary frame carries; larger chunks are split. */
export const STREAM_CHUNK_BYTES = 64 * 1024;

/** Why a session was closed: WebSocket close codes of the private range (RFC 6455, 7.4.2). */
export const CLOSE = {
  goingAway: 1001,
  protocolError: 4000,
  replaced: 4001,
  forbidden: 4003,
  nodeRemoved: 4004,
  outOfSequence: 4009,
} as const;

const whole = z.number().int().min(0);
const errorCodes = Object.keys(HTTP_STATUS) as [ErrorCode, ...ErrorCode[]];
const wireError = z.strictObject({ code: z.enum(errorCodes), message: z.string() });
export type WireError = z.output<typeof wireError>;
/** By the clock that the statuses' times are of: the manager tells from it how far that clock is off. */
const sentAt = z.number().exactOptional();

const agentFrame = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('hello'),
    protocol: z.literal(PROTOCOL),
    nodeId: z.string(),
    description: nodeDescriptionSchema,
    sentAtMs: sentAt,
  }),
  /** Those that hello told have been followed by these. */
  z.strictObject({ type: z.literal('tunnel-keys'), keys: tunnelKeys }),
  z.strictObject({ type: z.literal('ack'), seq: whole }),
  z.strictObject({
    type: z.literal('status'),
    id: whole,
    statuses: z.array(taskStatusSchema),
    sentAtMs: sentAt,
  }),
  z.strictObject({ type: z.literal('beat') }),
  /** All tasks of the node that are measured, as they are now; one that is left out is not known any more. */
  z.strictObject({ type: z.literal('usage'), tasks: z.array(taskUsageSchema) }),
  /** When there is news of it, and when a session begins with something to say. */
  z.strictObject({ type: z.literal('network'), report: networkReportSchema }),
  z.strictObject({
    type: z.literal('response'),
    id: whole,
    result: z.unknown().optional(),
    error: wireError.exactOptional(),
  }),
  z.strictObject({ type: z.literal('end'), id: whole, error: wireError.exactOptional() }),
  /** So many bytes more may be sent as a stream's input. */
  z.strictObject({ type: z.literal('credit'), id: whole, bytes: whole }),
]);

/** From agent to manager. */
export type AgentFrame = z.output<typeof agentFrame>;

const managerFrame = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('welcome'),
    sessionId: z.string(),
    nodeIndex: whole,
    beatMs: whole,
    /** Of Shoal, at the manager. */
    version: z.string().exactOptional(),
    /** host:port of all managers, as they are now. */
    managers: z.array(z.string()).exactOptional(),
    /** Ids of those that were removed: their certificates do not count any more. */
    removedManagers: z.array(z.string()).exactOptional(),
  }),
  z.strictObject({ type: z.literal('full'), seq: whole, set: assignmentListsSchema }),
  z.strictObject({
    type: z.literal('change'),
    seq: whole,
    put: assignmentPutSchema,
    drop: assignmentDropSchema,
  }),
  z.strictObject({ type: z.literal('status-ack'), id: whole }),
  z.strictObject({
    type: z.literal('request'),
    id: whole,
    method: z.string(),
    params: z.unknown(),
    /** Of the API request that it is asked for, for the node's log. */
    requestId: z.string().max(64).exactOptional(),
    /** Of a stream: what the node may send before it is granted more; STREAM_WINDOW_BYTES without. */
    window: whole.exactOptional(),
  }),
  z.strictObject({ type: z.literal('cancel'), id: whole }),
  z.strictObject({ type: z.literal('credit'), id: whole, bytes: whole }),
  /** Nothing more follows of a stream's input. */
  z.strictObject({ type: z.literal('input-end'), id: whole }),
]);

/** From manager to agent. */
export type ManagerFrame = z.output<typeof managerFrame>;

/** Throws InvalidError, naming the field, for text that is no frame of an agent. `tolerate`: that agent is newer. */
export function parseAgentFrame(text: string, tolerate?: Tolerate): AgentFrame {
  return parseWith(agentFrame, text, 'agent', tolerate);
}

/** Throws InvalidError, naming the field, for text that is no frame of a manager. `tolerate`: that manager is newer. */
export function parseManagerFrame(text: string, tolerate?: Tolerate): ManagerFrame {
  return parseWith(managerFrame, text, 'manager', tolerate);
}

function parseWith<T>(schema: z.ZodType<T>, text: string, from: string, tolerate?: Tolerate): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new InvalidError(`a frame from the ${from} is not JSON`, { cause });
  }
  if (tolerate !== undefined) leaveOutUnknown(schema, value, tolerate);
  return parseValue(schema, value, `a frame from the ${from}`);
}

/** Throws InvalidError naming `what` and the first field that is wrong. */
export function parseValue<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const path = issue?.path.join('.') ?? '';
  throw new InvalidError(
    `${what} is not valid: ${path === '' ? '' : `${path}: `}${issue?.message ?? 'unknown'}`,
  );
}

const HEADER_BYTES = 5;

/** A piece of a stream: u32 big-endian stream id, u8 kind (0 stdin, 1 stdout, 2 stderr), payload. */
export function encodeStreamData(id: number, kind: 0 | 1 | 2, data: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + data.length);
  frame.writeUInt32BE(id, 0);
  frame.writeUInt8(kind, 4);
  data.copy(frame, HEADER_BYTES);
  return frame;
}

/** The payload shares memory with `frame`. Throws InvalidError for what is no such frame. */
export function decodeStreamData(frame: Buffer): { id: number; kind: 0 | 1 | 2; data: Buffer } {
  if (frame.length < HEADER_BYTES) throw new InvalidError('a binary frame is shorter than its header');
  const kind = frame.readUInt8(4);
  if (kind !== 0 && kind !== 1 && kind !== 2) {
    throw new InvalidError(`a binary frame has the unknown kind ${kind}`);
  }
  return { id: frame.readUInt32BE(0), kind, data: frame.subarray(HEADER_BYTES) };
}
