export { createApi } from './api.ts';
export type { ApiOptions } from './context.ts';
export { listenUnix, type ApiServer, type UnixOptions } from './listen.ts';
