/** What this node has to tell, on its way to a link that is made later. */
import type { NetworkReport, NodeConfinement, NodeDevices, TaskStatus } from '../../shared/model/index.ts';
import type { Link } from './link.ts';

export class Reports {
  #link: Pick<Link, 'report' | 'reportNetwork'> | undefined;
  #networks: NetworkReport | undefined;
  #devices: NodeDevices | undefined;
  #confinement: NodeConfinement | undefined;

  to(link: Pick<Link, 'report' | 'reportNetwork'>): void {
    this.#link = link;
    this.#tell();
  }

  /** One that comes before there is a link is nobody's: the first look at each task says it again. */
  send(status: TaskStatus): void {
    this.#link?.report(status);
  }

  networks(report: NetworkReport): void {
    this.#networks = report;
    this.#tell();
  }

  /** Goes with what is known of the networks, of which there is always something. */
  devices(devices: NodeDevices | undefined): void {
    this.#devices = devices;
    this.#tell();
  }

  /** Likewise. */
  confinement(confinement: NodeConfinement | undefined): void {
    this.#confinement = confinement;
    this.#tell();
  }

  #tell(): void {
    if (this.#networks === undefined) return;
    const devices = this.#devices === undefined ? {} : { devices: this.#devices };
    const confinement = this.#confinement === undefined ? {} : { confinement: this.#confinement };
    this.#link?.reportNetwork({ ...this.#networks, ...devices, ...confinement });
  }
}
