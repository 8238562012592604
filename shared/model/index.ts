export * from './assignment.ts';
export * from './cluster.ts';
export * from './network.ts';
export * from './node.ts';
export * from './service.ts';
export * from './stack.ts';
export * from './task-state.ts';
export * from './task.ts';
