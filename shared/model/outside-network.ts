/** Networks of which Shoal carries no packet: containers are put on what is there already, or what a plugin makes. */
import type { Labels } from './service.ts';

export const MACVLAN_MODES = ['bridge', 'private', 'vepa', 'passthru'] as const;
export type MacvlanMode = (typeof MACVLAN_MODES)[number];

/** What the network is on a node that has a container on it. */
export type OutsideNetwork =
  | {
      readonly kind: 'macvlan';
      /** A device of the node, or `DEVICE.VLAN`, which is made there. */
      readonly parent: string;
      readonly mode: MacvlanMode;
    }
  | {
      readonly kind: 'plugin';
      readonly plugin: string;
      /** What the user said for the plugin. */
      readonly options: Labels;
    };

/** Which of them a node can be on. */
export interface NodeDrivers {
  /** Devices that macvlan can be on. Absent: its kernel has no macvlan. */
  readonly macvlanParents?: readonly string[];
  /** Names of network plugins. Absent: none. */
  readonly plugins?: readonly string[];
}
