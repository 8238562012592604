/** A service's revisions in JSON: Shoal's own, in the style of the Docker API's objects. */
import type { Revision, Service } from '../../../shared/model/index.ts';
import type { Difference } from '../ops/spec-diff.ts';
import { differences, shownSpec } from '../ops/spec-diff.ts';
import { defined, timeText } from './common.ts';
import { encodeDependsOn } from './dependency-codec.ts';
import { encodeServiceSpec } from './service-spec-codec.ts';

/** Without the spec. */
export function encodeRevision(service: Service, { revision, createdAtMs, origin }: Revision): object {
  return defined({
    Revision: revision,
    CreatedAt: timeText(createdAtMs),
    Current: revision === service.revision,
    Previous: revision === service.previousRevision,
    RollbackOf: origin?.of,
    /** The update to the revision before failed. */
    Automatic: origin?.automatic === true ? true : undefined,
  });
}

export function encodeRevisionSpec(service: Service, revision: Revision): object {
  return {
    ...encodeRevision(service, revision),
    Spec: encodeServiceSpec(revision.spec),
    ...defined({ DependsOn: encodeDependsOn(revision.spec) }),
  };
}

export function encodeChanges(from: Revision, to: Revision): object[] {
  return differences(shownSpec(from.spec), shownSpec(to.spec)).map(encodeDifference);
}

function encodeDifference({ path, from, to }: Difference): object {
  return defined({ Path: path, From: from, To: to });
}
