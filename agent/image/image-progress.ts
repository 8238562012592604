/** How a pull, a push or a load tells of its layers. */
import type { ImageEvent, LayerStep } from '../../shared/model/node-methods/index.ts';
import type { LayerObserver } from './content-store.ts';
import { hexOf } from './digest.ts';

/** A terminal shows no more. */
const EVERY_MS = 100;

/** The 12 digits that Docker shows. */
export function shortLayerId(digest: string): string {
  return hexOf(digest).slice(0, 12);
}

/** What the store does with a layer, as events. */
export function layerObserver(
  digest: string,
  work: 'pull' | 'load',
  observe: (event: ImageEvent) => void,
): LayerObserver {
  const id = shortLayerId(digest);
  return (step) => {
    const said = work === 'pull' ? step : LOADING[step];
    if (said !== undefined) observe({ kind: 'layer', id, step: said });
  };
}

const LOADING: Readonly<Record<Parameters<LayerObserver>[0], LayerStep | undefined>> = {
  exists: undefined,
  downloaded: undefined,
  extracting: 'loading',
  pulled: 'loaded',
};

/** Bytes of a layer so far, as events, not more often than somebody can see. */
export function throttled(
  layer: { readonly digest: string; readonly size: number },
  observe: (event: ImageEvent) => void,
  step: 'downloading' | 'pushing' = 'downloading',
): (bytes: number) => void {
  const id = shortLayerId(layer.digest);
  let nextAt = 0;
  return (current) => {
    const now = Date.now();
    if (now < nextAt && current < layer.size) return;
    nextAt = now + EVERY_MS;
    observe({ kind: 'layer', id, step, current, total: layer.size });
  };
}
