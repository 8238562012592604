/** Security modules of the kernel, which confine a container beyond what its namespaces and capabilities do. */

/** Parts of an SELinux label; one that is absent is as the node's policy has it for containers. At least one is there. */
export interface SelinuxLabel {
  readonly user?: string;
  readonly role?: string;
  readonly type?: string;
  readonly level?: string;
}

/** Which of them a node has on. */
export interface NodeConfinement {
  /** Names of the profiles that are loaded, sorted. Absent: AppArmor is off. */
  readonly appArmorProfiles?: readonly string[];
  /** Absent: SELinux is off. */
  readonly selinux?: true;
}
