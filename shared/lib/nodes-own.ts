import type { RuntimeOptions } from '../model/index.ts';

/** PURE. What of a container is the node's or another container's, and would not be its root's if that had other ids. Named as the API does. */
export function nodesOwn(options: RuntimeOptions): string[] {
  const { privileged, hostPid, hostIpc, hostUts, hostCgroup, network } = options;
  const { networkOf, pidOf, ipcOf } = options;
  const asked: Readonly<Record<string, boolean | undefined>> = {
    Privileged: privileged,
    'PidMode host': hostPid,
    'IpcMode host': hostIpc,
    'UTSMode host': hostUts,
    'CgroupnsMode host': hostCgroup,
    'NetworkMode host': network === 'host',
    'NetworkMode container': networkOf !== undefined,
    'PidMode container': pidOf !== undefined,
    'IpcMode container': ipcOf !== undefined,
  };
  return Object.keys(asked).filter((name) => asked[name] === true);
}
