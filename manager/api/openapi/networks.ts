import { z } from 'zod';
import { zNetwork } from '../codec/network-codec.ts';
import { zConnect, zDisconnect } from '../resources/network-connect.ts';
import { FILTERS, PRUNE_FILTERS, zNetworkUpdate, zScope } from '../resources/networks.ts';
import { answers, jsonBody, operationsOf, parameters } from './operation.ts';

const operation = operationsOf('networks');
const example = {
  Name: 'front',
  Driver: 'overlay',
  Attachable: true,
  EnableIPv6: true,
  IPAM: { Config: [{ Subnet: '10.20.0.0/24' }, { Subnet: 'fd00:20::/64' }] },
};

export const networksOperations = [
  operation('get', '/networks', 'List networks', {
    query: { filters: parameters.filters(FILTERS) },
    answers: { 200: answers.list('Networks') },
    errors: [400],
  }),
  operation('post', '/networks/create', 'Create a network', {
    body: jsonBody('NetworkCreateRequest', zNetwork, example),
    answers: {
      201: answers.json(
        'Created',
        'NetworkCreateResponse',
        z.object({ Id: z.string(), Warning: z.string() }),
      ),
    },
    errors: [400, 403, 409, 501, 503],
  }),
  operation('get', '/networks/:id', 'Inspect a network', {
    query: {
      verbose: parameters.flag('With the services on it and the addresses of their tasks'),
      scope: zScope.describe('Networks of a cluster have the scope swarm'),
    },
    answers: { 200: answers.object('The network') },
    errors: [400, 404],
  }),
  operation('post', '/networks/:id/update', "Replace a network's labels", {
    description:
      'Of Shoal alone; nothing else of a network can be changed. The label shoal.allow says who may open connections to whom, and holds at once.',
    body: jsonBody('NetworkUpdateRequest', zNetworkUpdate, { Labels: { 'shoal.allow': 'web>db:5432' } }),
    answers: { 200: answers.json('Updated', 'NetworkUpdateResponse', z.object({ Warning: z.string() })) },
    errors: [400, 403, 404, 501, 503],
  }),
  operation('post', '/networks/prune', 'Remove networks that nothing is on', {
    query: { filters: parameters.filters(PRUNE_FILTERS) },
    answers: {
      200: answers.json(
        'What went',
        'NetworkPruneResponse',
        z.object({ NetworksDeleted: z.array(z.string()) }),
      ),
    },
    errors: [400, 404, 503],
  }),
  operation('post', '/networks/:id/connect', 'Connect a single container to a network', {
    description:
      'At once if it runs, else from its next start on. A service decides over the networks of its own.',
    body: jsonBody('NetworkConnectRequest', zConnect, {
      Container: 'web',
      EndpointConfig: { Aliases: ['www'], IPAMConfig: { IPv4Address: '10.20.0.9' } },
    }),
    answers: { 200: answers.empty('Connected') },
    errors: [400, 403, 404, 409, 501, 503],
  }),
  operation('post', '/networks/:id/disconnect', 'Disconnect a single container from a network', {
    body: jsonBody('NetworkDisconnectRequest', zDisconnect, { Container: 'web', Force: false }),
    answers: { 200: answers.empty('Disconnected') },
    errors: [400, 403, 404, 501, 503],
  }),
  operation('delete', '/networks/:id', 'Remove a network', {
    description: 'Waits, for two minutes at most, for services on it that are being removed.',
    answers: { 204: answers.empty('Removed') },
    errors: [400, 403, 404, 503],
  }),
];
