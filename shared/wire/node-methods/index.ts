/** Schemas of what a node is asked and of its answers, subject by subject. */
import type { NodeMethods, NodeStreams } from '../../model/node-methods/index.ts';
import { archiveMethods, archiveStreams } from './archive.ts';
import { attachMethods, attachStreams } from './attach.ts';
import { certificateMethods } from './certificate.ts';
import { containerMethods, containerStreams } from './container.ts';
import { execMethods, execStreams } from './exec.ts';
import { imageMethods, imageStreams } from './image.ts';
import { networkMethods } from './network.ts';
import { volumeMethods } from './volume.ts';
import type { MethodSchemas, StreamSchemas } from './schema-table.ts';

export const methodSchemas: MethodSchemas<keyof NodeMethods> = {
  ...attachMethods,
  ...certificateMethods,
  ...containerMethods,
  ...execMethods,
  ...imageMethods,
  ...archiveMethods,
  ...networkMethods,
  ...volumeMethods,
};

export const streamSchemas: StreamSchemas<keyof NodeStreams> = {
  ...attachStreams,
  ...containerStreams,
  ...execStreams,
  ...imageStreams,
  ...archiveStreams,
};

export function isMethod(name: string): name is keyof NodeMethods {
  return Object.hasOwn(methodSchemas, name);
}

export function isStream(name: string): name is keyof NodeStreams {
  return Object.hasOwn(streamSchemas, name);
}
