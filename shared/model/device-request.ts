/** Devices that files of a node describe (CDI, the Container Device Interface): these by name, or so many of a kind. */
export interface DeviceRequest {
  /** `vendor.com/class`; of several the first that a node has any device of. */
  readonly kinds: readonly string[];
  /** Which of them, without the kind. */
  readonly names?: readonly string[];
  /** How many in place of which; -1 is all. */
  readonly count?: number;
}

/** What a node's files describe. */
export interface NodeDevices {
  /** `vendor.com/class=name`, sorted. */
  readonly names: readonly string[];
  /** Why others of them are of no use: of a device by its name, or of a file by its path. Absent: none. */
  readonly problems?: readonly DeviceProblem[];
}

export interface DeviceProblem {
  readonly of: string;
  readonly why: string;
}
