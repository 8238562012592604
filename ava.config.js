// What takes longest begins first: nobody waits for it at the end.
const longest = [
  'vm/cgroup-v2', 'cluster/managers', 'cluster/network.', 'cluster/network-truth', 'cluster/app', 'cluster/failures', 'cluster/install',
  'cluster/up-down', 'cluster/release', 'cluster/upgrade', 'cluster/backup', 'client/docker-cli-run', 'client/dockerode',
  'client/docker-cli-options', 'cluster/single-containers', 'client/compose-runtime', 'client/docker-cli-containers', 'api/bad-input', 'unit/session', 'unit/api.', 'sim/',
  'unit/network', 'unit/plan', 'unit/store/embedded', 'unit/store/mirror', 'unit/membership', 'unit/deploy', 'unit/backup',
];

function place(file) {
  const found = longest.findIndex((part) => file.includes(part));
  return found === -1 ? longest.length : found;
}

export default {
  files: ['dist/grouped/**/*.test.js', 'dist/test/unit/**/*.test.js', 'dist/test/lint/**/*.test.js', 'dist/test/sim/**/*.test.js', 'dist/test/cluster/**/*.test.js', 'dist/test/client/**/*.test.js', 'dist/test/vm/**/*.test.js'],
  sortTestFiles: (a, b) => place(a) - place(b) || a.localeCompare(b),
  timeout: '5m',
  workerThreads: false,
  concurrency: 2,
};
