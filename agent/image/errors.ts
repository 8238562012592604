import { AppError } from '../../shared/errors/index.ts';

/** The registry does not have the image, or does not show it to us. Trying again does not help. */
export class ImageNotFoundError extends AppError {
  override readonly name = 'ImageNotFoundError';
  readonly code = 'not-found';
  /** Whether it is for want of rights, as far as the registry says. */
  readonly denied: boolean;

  constructor(message: string, options: ErrorOptions & { readonly denied?: boolean } = {}) {
    super(message, options);
    this.denied = options.denied === true;
  }
}

/** The image is damaged, hostile, or made for another platform. Trying again does not help. */
export class ImageInvalidError extends AppError {
  override readonly name = 'ImageInvalidError';
  readonly code = 'invalid';
}

/** The registry can not be reached, or is in trouble, just now. */
export class RegistryUnavailableError extends AppError {
  override readonly name = 'RegistryUnavailableError';
  readonly code = 'unavailable';
  override readonly temporary = true;
}
