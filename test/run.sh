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
unsteady=()
groups=("$@")
if [ ${#groups[@]} -eq 0 ]; then groups=(check native unit lint sim vm cluster client); fi
first=() quick=() slow=()
for group in "${groups[@]}"; do
  case $group in
    check | native) first+=("$group") ;;
    unit | lint | sim) quick+=("$group") ;;
    vm | cluster | client) slow+=("$group") ;;
    *)
      echo "unknown group $group: check, native, unit, lint, sim, vm, cluster, client" >&2
      exit 2
      ;;
  esac
done

finish() {
  if [ ${#unsteady[@]} -gt 0 ]; then
    printf '\nFailed at first, and passed alone:\n'
    printf '  %s\n' "${unsteady[@]}"
  fi
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

# A run of ava, with its report in TAP: what passed in one line each, what failed with its whole block. Sets status, good, bad
# and report, which holds it; errors holds what ava said beside it.
run_ava() {
  report=$(mktemp)
  errors=$(mktemp)
  node_modules/.bin/ava --tap "$@" >"$report" 2>"$errors"
  status=$?
  cat "$errors" >&2
  grep -vE '^(TAP version|1\.\.|# (tests|pass|skip|fail)|$)' "$report"
  good=$(sed -n 's/^# pass //p' "$report")
  bad=$(sed -n 's/^# fail //p' "$report")
  good=${good:-0} bad=${bad:-0}
}

# The titles in the report of what failed.
failed_titles() { sed -n 's/^not ok [0-9]* - //p' "$report" | grep -v '# SKIP'; }

# The files that failed titles are of: a title begins with its file's path below this directory, in parts; or it says that
# a file ended, which may be all those of a directory.
failed_files() {
  local below=$1 title part path
  while read -r title; do
    if [[ $title =~ ^dist/grouped/(.*)\.test\.js\ exited ]]; then
      path=dist/test/${BASH_REMATCH[1]}
      if [ -f "$path.test.js" ]; then echo "$path.test.js"; else find "$path" -name '*.test.js'; fi
      continue
    fi
    path=$below
    while [ -n "$title" ]; do
      part=${title%% › *}
      path=$path/$part
      if [ -f "$path.test.js" ]; then echo "$path.test.js" && break; fi
      if [ "$part" = "$title" ]; then break; fi
      title=${title#* › }
    done
  done | sort -u
}

# ava on the compiled tests of some groups, so many files at a time; its own counts are added to ours. A file in which something
# failed runs once more, alone: what fails again has failed; what does not is told at the end as unsteady, for somebody to
# look at.
ava_groups() {
  local at_once=$1 report errors status good bad first titles title group below=dist/test label=
  local -a again all
  shift
  all=(--concurrency "$at_once")
  for group in "$@"; do all+=("dist/grouped/$group/**/*.test.js"); done
  # of one group, the titles do not name it
  if [ $# -eq 1 ]; then below=dist/test/$1 label="$1: "; fi
  printf '\n== %s tests\n' "$*"
  run_ava "${all[@]}"
  passed=$((passed + good))
  if [ "$status" -eq 0 ]; then
    rm -f "$report" "$errors"
    return 0
  fi
  first=$bad
  titles=$(failed_titles)
  mapfile -t again < <(failed_files "$below" <<<"$titles")
  if [ $((good + bad)) -eq 0 ]; then tail -n 20 "$report" "$errors"; fi
  # Without counts ava itself has ended: all of it once more. So too a group of one file: ava's titles do not name it.
  if [ $((good + bad)) -eq 0 ] || [ ${#again[@]} -eq 0 ]; then
    again=("${all[@]}")
  else
    again=(--serial --concurrency 1 "${again[@]}")
  fi
  printf '\n== %s tests, once more: %s\n' "$*" "${again[*]}"
  rm -f "$report" "$errors"
  run_ava "${again[@]}"
  if [ "$status" -eq 0 ]; then
    passed=$((passed + (first > 0 ? first : good)))
    if [ -z "$titles" ]; then titles='ava itself'; fi
    while read -r title; do unsteady+=("$label$title"); done <<<"$titles"
    rm -f "$report" "$errors"
    return 0
  fi
  passed=$((passed + (first > bad ? first - bad : 0)))
  failed=$((failed + (bad > 0 ? bad : 1)))
  while read -r title; do failures+=("$label$title"); done < <(failed_titles)
  # a crash or a timeout that no test accounts for: said at the end, where it is seen
  if [ "$bad" -eq 0 ]; then
    failures+=("$*: ava ended with $status; what it said last:" "$(tail -n 20 "$errors")" "$(tail -n 20 "$report")")
  fi
  rm -f "$report" "$errors"
}

check_all() {
  local part
  for part in types lint imports format unused native; do step "check $part" npm run --silent "check:$part"; done
}

native_all() {
  step 'C tests under ASan and UBSan' make -s -j2 -C native test
  step 'C tests under valgrind' make -s -j2 -C native valgrind
}

# One of the parts of a run, and how long it took.
timed() {
  local title=$1 began=$SECONDS
  shift
  "$@"
  printf '%s took %d s\n' "$title" $((SECONDS - began))
}

# What is only unpacked (the peers, podman, the virtual machine) is unpacked while the packages come and the build runs.
prepare() {
  local vm=() unpacking code
  if [ "$(uname -m)" = x86_64 ]; then vm=(--vm "$root/.cache/vm"); fi # elsewhere its tests are skipped
  deploy/prerequisites.sh --dev || return 1
  deploy/prerequisites.sh --peers "$root/.cache/peers" --podman "$root/.cache/podman" "${vm[@]}" &
  unpacking=$!
  deploy/launch.sh --prepare --dev
  code=$?
  wait "$unpacking" || return 1
  [ "$code" -eq 0 ] && deploy/launch.sh --prepare --dev # what was unpacked is given to the clone's owner too
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
for group in "${first[@]}"; do timed "$group" "${group}_all"; done
if [ $((${#quick[@]} + ${#slow[@]})) -gt 0 ]; then node dist/test/harness/grouped.js || exit 1; fi
if [ ${#quick[@]} -gt 0 ]; then timed "${quick[*]}" ava_groups 3 "${quick[@]}"; fi
# Each file has a cluster of its own, and mostly waits for it.
if [ ${#slow[@]} -gt 0 ]; then timed "${slow[*]}" ava_groups 3 "${slow[@]}"; fi
finish
