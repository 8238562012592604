export { createApi } from './app.ts';
export type { ApiLogger, ApiOptions, JoinTokens } from './context.ts';
export { listenTcp, listenUnix, type ApiServer, type UnixOptions } from './listen.ts';
