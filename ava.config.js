export default {
  files: ['dist/test/unit/**/*.test.js', 'dist/test/lint/**/*.test.js', 'dist/test/sim/**/*.test.js', 'dist/test/cluster/**/*.test.js', 'dist/test/client/**/*.test.js', 'dist/test/vm/**/*.test.js'],
  timeout: '5m',
  workerThreads: false,
  concurrency: 2,
};
