/** Who may open connections to whom, on what: one entry of an allow-list. */
export interface AllowRule {
  /**
   * Names of services: the first of them that is on the network is meant (a name within the own stack comes before the same
   * name outside, as it does in DNS). Absent: any service.
   */
  readonly from?: readonly string[];
  /** In a network's list: to whom, in the same way. */
  readonly to?: readonly string[];
  /** Absent: any. */
  readonly protocol?: 'tcp' | 'udp' | 'sctp' | 'icmp';
  /** The first and the last. Absent: all of the protocol. */
  readonly ports?: readonly [first: number, last: number];
}
