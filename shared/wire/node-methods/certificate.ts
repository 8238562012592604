import { z } from 'zod';
import type { CertificateMethods } from '../../model/node-methods/index.ts';
import { text } from '../service-schema.ts';
import { nothing } from './common.ts';
import type { MethodSchemas } from './schema-table.ts';

export const certificateMethods: MethodSchemas<keyof CertificateMethods> = {
  'certificate.request': { params: nothing, result: z.strictObject({ csr: text.max(16_384) }) },
  'certificate.install': {
    params: z.strictObject({ certificate: text.exactOptional(), ca: text }),
    result: nothing,
  },
};
