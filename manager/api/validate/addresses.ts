/** Addresses that a spec asks for on networks. */
import type { ServiceSpec } from '../../../shared/model/index.ts';
import type { SpecProblem } from './service-spec.ts';

/** Of a service it is its virtual address: its tasks come and go. */
export function checkAddresses({ networks, endpointMode }: ServiceSpec): SpecProblem[] {
  const address = networks.find((attachment) => attachment.address !== undefined)?.address;
  if (address === undefined || endpointMode !== 'dnsrr') return [];
  const message = `address ${address}: a service's address is its virtual one, and endpoint mode dnsrr has none`;
  return [{ field: 'networks', message }];
}
