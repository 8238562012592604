/** PURE. Capability sets by Docker's rules: 14 by default, names with or without CAP_, ALL (capabilities(7)). */

const DEFAULT = [
  'CAP_AUDIT_WRITE',
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_MKNOD',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_RAW',
  'CAP_SETFCAP',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SYS_CHROOT',
];

export const ALL_CAPABILITIES = [
  ...DEFAULT,
  'CAP_AUDIT_CONTROL',
  'CAP_AUDIT_READ',
  'CAP_BLOCK_SUSPEND',
  'CAP_BPF',
  'CAP_CHECKPOINT_RESTORE',
  'CAP_DAC_READ_SEARCH',
  'CAP_IPC_LOCK',
  'CAP_IPC_OWNER',
  'CAP_LEASE',
  'CAP_LINUX_IMMUTABLE',
  'CAP_MAC_ADMIN',
  'CAP_MAC_OVERRIDE',
  'CAP_NET_ADMIN',
  'CAP_NET_BROADCAST',
  'CAP_PERFMON',
  'CAP_SYSLOG',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_MODULE',
  'CAP_SYS_NICE',
  'CAP_SYS_PACCT',
  'CAP_SYS_PTRACE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_WAKE_ALARM',
].sort();

/** Throws TypeError for an unknown name. `drop: ALL` leaves what is added; `add: ALL` gives all but what is dropped. */
export function capabilitySet(
  add: readonly string[],
  drop: readonly string[],
  all: readonly string[] = ALL_CAPABILITIES,
): string[] {
  const adds = add.map(canonical);
  const drops = drop.map(canonical);
  const base = adds.includes('ALL') ? all : drops.includes('ALL') ? [] : DEFAULT;
  const named = adds.filter((name) => name !== 'ALL');
  const kept = base.filter((name) => !drops.includes(name));
  return [...new Set([...kept, ...named])].sort();
}

/** Those of a mask as /proc/self/status prints it (proc(5), CapBnd), in hexadecimal. */
export function capabilitiesOf(mask: string): string[] {
  const bits = BigInt(`0x${mask}`);
  return ALL_CAPABILITIES.filter((name) => ((bits >> BigInt(NUMBERED.indexOf(name))) & 1n) === 1n);
}

/** In the order of their numbers, linux/capability.h. */
const NUMBERED = [
  ...['CHOWN', 'DAC_OVERRIDE', 'DAC_READ_SEARCH', 'FOWNER', 'FSETID', 'KILL', 'SETGID', 'SETUID', 'SETPCAP'],
  ...[
    'LINUX_IMMUTABLE',
    'NET_BIND_SERVICE',
    'NET_BROADCAST',
    'NET_ADMIN',
    'NET_RAW',
    'IPC_LOCK',
    'IPC_OWNER',
  ],
  ...[
    'SYS_MODULE',
    'SYS_RAWIO',
    'SYS_CHROOT',
    'SYS_PTRACE',
    'SYS_PACCT',
    'SYS_ADMIN',
    'SYS_BOOT',
    'SYS_NICE',
  ],
  ...[
    'SYS_RESOURCE',
    'SYS_TIME',
    'SYS_TTY_CONFIG',
    'MKNOD',
    'LEASE',
    'AUDIT_WRITE',
    'AUDIT_CONTROL',
    'SETFCAP',
  ],
  ...['MAC_OVERRIDE', 'MAC_ADMIN', 'SYSLOG', 'WAKE_ALARM', 'BLOCK_SUSPEND', 'AUDIT_READ', 'PERFMON', 'BPF'],
  'CHECKPOINT_RESTORE',
].map((name) => `CAP_${name}`);

function canonical(name: string): string {
  const upper = name.toUpperCase();
  if (upper === 'ALL') return upper;
  const full = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  if (!ALL_CAPABILITIES.includes(full)) throw new TypeError(`unknown capability: "${name}"`);
  return full;
}
