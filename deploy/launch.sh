#!/bin/bash
# Prepares a clean clone (prerequisites, packages, build), then runs the shoal command with the given arguments.
# Quick when nothing is missing. `npm run up` and `npm run down` come here.
#   launch.sh --prepare [--dev]   prepares only; --dev: also what checks and tests need
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root

die() {
  printf 'shoal: %s\n' "$*" >&2
  exit 1
}

require_node() {
  command -v node >/dev/null ||
    die "node is not on root's PATH. If it is installed for your user only: sudo env \"PATH=\$PATH\" npm run up"
  node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
    die "Node $(node --version) is too old: 20.19 or later is needed"
}

# npm writes node_modules/.package-lock.json when it has finished
packages_are_there() {
  [ -e "$root/node_modules/.package-lock.json" ] &&
    [ ! "$root/package-lock.json" -nt "$root/node_modules/.package-lock.json" ]
}

install_packages() {
  if packages_are_there; then return 0; fi
  # npm ci empties what the link leads to, which is another checkout's
  if [ -L "$root/node_modules" ]; then
    die "node_modules is a link to $(readlink "$root/node_modules"), older than package-lock.json: remove the link, or" \
      "run npm ci where it leads to"
  fi
  echo "packages: npm ci" >&2
  (cd "$root" && npm ci --no-audit --no-fund --loglevel=error >&2) ||
    die "npm ci failed, see above. It needs the npm registry: check the network and 'npm config get registry'"
  touch "$root/node_modules/.package-lock.json"
}

# True when a source file is newer than what the last build made.
build_is_stale() {
  [ -e "$root/dist/bundle/deploy/cli/main.js" ] && [ -e "$root/native/build/libshoal.so" ] &&
    [ -e "$root/native/build/shoal-monitor" ] && [ -e "$root/native/build/shoal-init" ] &&
    [ -e "$root/native/build/shoal-files" ] && [ -e "$root/dist/.built" ] || return 0
  [ -n "$(cd "$root" && find manager agent shared deploy test native/src native/include native/Makefile package.json tsconfig.json \
    -newer dist/.built \( -name '*.ts' -o -name '*.[ch]' -o -name Makefile -o -name '*.json' \) -print -quit)" ]
}

build() {
  if ! build_is_stale; then return 0; fi
  echo "building" >&2
  (cd "$root" && npm run --silent build >&2) || die "the build failed, see above"
  touch "$root/dist/.built"
}

# What root made in somebody's clone belongs to that somebody.
give_back() {
  local owner entry
  owner=$(stat -c %u:%g "$root/package.json")
  if [ "$(id -u)" -ne 0 ] || [ "$owner" = 0:0 ]; then return 0; fi
  for entry in node_modules dist native/build .cache; do
    if [ -e "$root/$entry" ] && [ "$(stat -c %u:%g "$root/$entry")" != "$owner" ]; then
      chown -R "$owner" "$root/$entry"
    fi
  done
}

main() {
  require_node
  if [ "${1:-}" = --prepare ]; then
    shift
    "$root/deploy/prerequisites.sh" "$@"
    install_packages
    build
    give_back
    return 0
  fi
  if [ "$(id -u)" -ne 0 ]; then die "this needs root: sudo npm run ${1:-up}"; fi
  if [ "${1:-}" != down ] || build_is_stale; then "$root/deploy/prerequisites.sh"; fi
  install_packages
  build
  give_back
  exec node "$root/dist/bundle/deploy/cli/main.js" "$@"
}

main "$@"
