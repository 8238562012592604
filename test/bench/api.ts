/**
 * The API over its unix socket, against the distribution's dockerd as a swarm of one node, with the same requests: reads
 * with a full store, a stack from its deployment to its tasks running, and many followers of one service's logs.
 * Needs root. Arguments: the parts to run (reads, deploy, logs); all without.
 */
import { measureDeploy, reportDeploy } from './api/deploy.ts';
import { measureLogs, reportLogs } from './api/followers.ts';
import { measureReads, reportReads } from './api/reads.ts';
import { onBothSides } from './api/side.ts';

const wanted = process.argv.slice(2);
const runs = (part: string): boolean => wanted.length === 0 || wanted.includes(part);

const { ours, peer } = await onBothSides(async (side) => ({
  // The reads come last: they leave 10,000 tasks behind.
  deploy: runs('deploy') ? await measureDeploy(side) : undefined,
  logs: runs('logs') ? await measureLogs(side) : undefined,
  reads: runs('reads') ? await measureReads(side) : undefined,
}));
if (ours.reads !== undefined) reportReads(ours.reads, peer.reads ?? new Map());
if (ours.deploy !== undefined) reportDeploy(ours.deploy, peer.deploy);
if (ours.logs !== undefined && peer.logs !== undefined) reportLogs(ours.logs, peer.logs);
