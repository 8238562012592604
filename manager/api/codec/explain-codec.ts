/** Explanations in JSON: Shoal's own, in the style of the Docker API's objects. */
import type { Service, UpdateStatus } from '../../../shared/model/index.ts';
import type { Explanation, Removal } from '../../plan/explain/explain.ts';
import { nodeName } from '../../plan/explain/remedies.ts';
import type { StoryEvent } from '../../plan/explain/story.ts';
import type { View } from '../../plan/view.ts';
import { defined, timeText } from './common.ts';
import { encodeUpdateStatus } from './service-codec.ts';

export function encodeExplanation({ reason, nodes, suitable, filters, help }: Explanation): object {
  return {
    Reason: reason,
    Nodes: nodes,
    SuitableNodes: suitable,
    Filters: filters.map(encodeRemoval),
    Help: help.map(({ text }) => text),
  };
}

function encodeRemoval({ filter, reason, nodes, names, help }: Removal): object {
  return {
    Name: filter,
    Reason: reason,
    Nodes: nodes,
    NodeNames: names,
    Help: { Node: help.node, Steps: help.steps.map(({ text }) => text) },
  };
}

export function encodeStory(view: View, { updateStatus }: Service, events: readonly StoryEvent[]): object {
  return { ...encodeStatus(updateStatus), Events: events.map((event) => encodeEvent(view, event)) };
}

function encodeStatus(status: UpdateStatus | undefined): object {
  return status === undefined ? {} : encodeUpdateStatus(status);
}

function encodeEvent(view: View, { atMs, kind, text, taskId, nodeId, error }: StoryEvent): object {
  const node = nodeId === undefined ? undefined : view.nodes.get(nodeId);
  return defined({
    Time: timeText(atMs),
    Kind: kind.replaceAll('-', '_'),
    Text: text,
    Task: taskId,
    Node: node === undefined ? nodeId : nodeName(node),
    Error: error,
  });
}
