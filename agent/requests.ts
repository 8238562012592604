/** All that managers ask of this node: each subject's methods, put together. */
import type {
  MethodHandlers,
  NodeMethods,
  NodeStreams,
  StreamHandlers,
} from '../shared/model/node-methods/index.ts';
import type { LinkHandlers } from './session/link.ts';

export type Methods = MethodHandlers<keyof NodeMethods>;
export type Streams = StreamHandlers<keyof NodeStreams>;

export function answerRequests(methods: Methods, streams: Streams): Pick<LinkHandlers, 'call' | 'stream'> {
  return {
    call: (method, params, signal) => methods[method](params, signal),
    stream: (method, params, input, signal) => streams[method](params, input, signal),
  };
}
