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
export function capabilitySet(add: readonly string[], drop: readonly string[]): string[] {
  const adds = add.map(canonical);
  const drops = drop.map(canonical);
  const base = adds.includes('ALL') ? ALL_CAPABILITIES : drops.includes('ALL') ? [] : DEFAULT;
  const named = adds.filter((name) => name !== 'ALL');
  const kept = base.filter((name) => !drops.includes(name));
  return [...new Set([...kept, ...named])].sort();
}

function canonical(name: string): string {
  const upper = name.toUpperCase();
  if (upper === 'ALL') return upper;
  const full = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  if (!ALL_CAPABILITIES.includes(full)) throw new TypeError(`unknown capability: "${name}"`);
  return full;
}
