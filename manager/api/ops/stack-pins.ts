/** Images that a docker client pinned to a digest when it deployed a stack: the same file means the same image. */
import { STACK_IMAGE_LABEL } from '../../../shared/model/stack.ts';
import type { ServiceSpec } from '../../../shared/model/index.ts';

/**
 * The wanted spec with the digest that the service's image has, and with the platforms that came with it, when the file
 * names the image that the client pinned. What was pinned by hand to something else is the file's again.
 */
export function withKeptPin(wanted: ServiceSpec, current: ServiceSpec): ServiceSpec {
  const name = wanted.container.image;
  const [pinned, digest] = current.container.image.split('@');
  const isSame =
    wanted.labels[STACK_IMAGE_LABEL] === current.labels[STACK_IMAGE_LABEL] &&
    (pinned === name || pinned === `${name}:latest`);
  if (digest === undefined || !isSame) return wanted;
  const platforms = wanted.placement.platforms ?? current.placement.platforms;
  return {
    ...wanted,
    container: { ...wanted.container, image: current.container.image },
    placement: { ...wanted.placement, ...(platforms === undefined ? {} : { platforms }) },
  };
}
