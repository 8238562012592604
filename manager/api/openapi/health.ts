import { z } from 'zod';
import { answers, operationsOf } from './operation.ts';

const operation = operationsOf('system');
const zPart = z.object({ Part: z.string(), State: z.enum(['ok', 'warning', 'failed']), Message: z.string() });

export const healthOperations = [
  operation('get', '/health', 'How each part of the cluster is, as this manager sees it', {
    description:
      'Managers, leader, etcd, versions, stored data, nodes, certificates, CA, data key, backups, clocks.',
    answers: { 200: answers.json('The parts', 'Health', z.array(zPart)) },
    errors: [503],
  }),
];
