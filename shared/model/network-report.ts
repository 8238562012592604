import type { NodeConfinement } from './confinement.ts';
import type { NodeDevices } from './device-request.ts';
import type { NodeDrivers } from './outside-network.ts';

/** A port of a node that is published there, or should be, and that another program listens on. */
export interface TakenPort {
  /** `8080/tcp`, or `192.0.2.1:8080/tcp` on one address. */
  readonly port: string;
  /** `theirs`: they had it first, and it is not published there. `ours`: it was published first, and they get no connection. */
  readonly holder: 'theirs' | 'ours';
}

/** What an agent says of its node's networks, devices and security modules. */
export interface NetworkReport {
  /** How many changes that others made to the kernel's state were undone since the agent began, by what they were made to. */
  readonly repairs: Readonly<Record<string, number>>;
  readonly takenPorts: readonly TakenPort[];
  /** Of the machine's own devices, without those of localhost. Absent: too many to say. */
  readonly addresses?: readonly string[];
  /** Absent: Shoal's own networks only. */
  readonly drivers?: NodeDrivers;
  /** Of its machine, besides: what is described there for containers. Absent: nothing. */
  readonly devices?: NodeDevices;
  /** Likewise: which security modules can confine containers. Absent: none. */
  readonly confinement?: NodeConfinement;
}
