#!/bin/bash
# Everything in one run: prerequisites, build, checks, C tests, unit, simulation, cgroup v2, cluster and client tests.
# The last line is `N passed, N failed`. Arguments: the groups to run (default: all), e.g. test/run.sh check unit
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1
export PATH="$PATH:/usr/sbin:/sbin"

# All temporary files of a run are below one directory: removed at its end, or by the next run if it was killed.
use_own_tmp() {
  local left pid
  for left in /tmp/shoal.run-*; do
    pid=${left#/tmp/shoal.run-}
    if [ -d "$left" ] && ! grep -qs run.sh "/proc/${pid%%-*}/cmdline"; then rm -rf "$left"; fi
  done
  TMPDIR=$(mktemp -d "/tmp/shoal.run-$$-XXXXXX") || exit 1
  export TMPDIR
  trap 'rm -rf "$TMPDIR"' EXIT
}

passed=0
failed=0
failures=()
groups=("$@")
if [ ${#groups[@]} -eq 0 ]; then groups=(check native unit lint sim vm cluster client); fi

finish() {
  if [ ${#failures[@]} -gt 0 ]; then
    printf '\nFailed:\n'
    printf '  %s\n' "${failures[@]}"
  fi
  printf '%d passed, %d failed\n' "$passed" "$failed"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
  exit
}

# One command counts as one test.
step() {
  local title=$1
  shift
  printf '\n== %s\n' "$title"
  if "$@"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    failures+=("$title")
  fi
}

# ava on the compiled tests of one group; its own counts are added to ours.
ava_group() {
  local group=$1 report errors status lines good=0 bad=0
  shift
  compgen -G "dist/test/$group" >/dev/null || return 0
  if ! find "dist/test/$group" -name '*.test.js' -print -quit | grep -q .; then return 0; fi
  printf '\n== %s tests\n' "$group"
  report=$(mktemp)
  errors=$(mktemp)
  node_modules/.bin/ava --tap "$@" "dist/test/$group/**/*.test.js" >"$report" 2>"$errors"
  status=$?
  cat "$errors" >&2
  # TAP: what passed in one line each, what failed with its whole block
  grep -vE '^(TAP version|1\.\.|# (tests|pass|skip|fail)|$)' "$report"
  good=$(sed -n 's/^# pass //p' "$report" | tail -n 1)
  bad=$(sed -n 's/^# fail //p' "$report" | tail -n 1)
  passed=$((passed + ${good:-0}))
  failed=$((failed + ${bad:-0}))
  while read -r lines; do failures+=("$group: $lines"); done < <(sed -n 's/^not ok [0-9]* - //p' "$report" | grep -v '# SKIP')
  # a crash or a timeout that no test accounts for: said at the end, where it is seen
  if [ "$status" -ne 0 ] && [ "${bad:-0}" -eq 0 ]; then
    failed=$((failed + 1))
    failures+=("$group: ava ended with $status; what it said last:" "$(tail -n 20 "$errors")" "$(tail -n 20 "$report")")
  fi
  rm -f "$report" "$errors"
}

prepare() {
  local vm=()
  if [ "$(uname -m)" = x86_64 ]; then vm=(--vm "$root/.cache/vm"); fi # elsewhere its tests are skipped
  deploy/launch.sh --prepare --dev --peers "$root/.cache/peers" "${vm[@]}"
}

if [ "$(id -u)" -ne 0 ]; then
  echo "the tests make containers and networks, which needs root: sudo npm test" >&2
  exit 1
fi
use_own_tmp
prepare || {
  failed=1
  failures=("prepare: prerequisites, packages and build")
  finish
}
printf '\nready after %d s\n' "$SECONDS"
step 'nothing of a killed run is left' node dist/test/harness/sweep.js
for group in "${groups[@]}"; do
  began=$SECONDS
  case $group in
    check) for part in types lint imports format unused native; do step "check $part" npm run --silent "check:$part"; done ;;
    native) step 'C tests under ASan and UBSan' make -s -C native test ;;
    unit | lint | sim | vm) ava_group "$group" ;;
    # A test file has a cluster of its own, and mostly waits for it: two at a time.
    cluster | client) ava_group "$group" --serial --concurrency 2 ;;
    *)
      echo "unknown group $group: check, native, unit, lint, sim, vm, cluster, client" >&2
      exit 2
      ;;
  esac
  printf '%s took %d s\n' "$group" $((SECONDS - began))
done
finish
