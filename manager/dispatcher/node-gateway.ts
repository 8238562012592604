/** How the API reaches what lives on a node: calls and streams over the node's session. */
import type { NodeMethods, NodeStreams, StreamChunk } from '../../shared/model/node-methods/index.ts';

export interface NodeGateway {
  connected(nodeId: string): boolean;
  /** Rejects with UnavailableError when the node is not connected or its session ends, else with the node's error. */
  call<M extends keyof NodeMethods>(
    nodeId: string,
    method: M,
    params: NodeMethods[M]['params'],
    signal: AbortSignal,
  ): Promise<NodeMethods[M]['result']>;
  /**
   * Back-pressure is kept: the node sends no more than the consumer has taken, and `windowBytes` ahead (STREAM_WINDOW_BYTES
   * unless it is given). Leaving the loop cancels the stream.
   */
  stream<M extends keyof NodeStreams>(
    nodeId: string,
    method: M,
    params: NodeStreams[M],
    signal: AbortSignal,
    windowBytes?: number,
  ): AsyncIterable<StreamChunk>;
  /**
   * The same with input: it is taken no faster than the node takes it, and its end is passed on. An input that fails ends
   * the stream with its error. When the stream ends first, the input is left where it is.
   */
  duplex<M extends keyof NodeStreams>(
    nodeId: string,
    method: M,
    params: NodeStreams[M],
    input: AsyncIterable<Buffer>,
    signal: AbortSignal,
  ): AsyncIterable<StreamChunk>;
}
