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

# Runs of ava beside one another, with their reports in TAP as one: what passed in one line each, what failed with its whole
# block. Sets status, good, bad and report, which holds it; errors holds what ava said beside it. What each is called with
# is in an array of its own, whose names are the arguments.
run_ava() {
  local run code
  local -a jobs=()
  report=$(mktemp)
  errors=$(mktemp)
  status=0
  for run in "$@"; do
    local -n arguments=$run
    # What runs in the background would ignore the interrupt, and so would all that it starts.
    env --default-signal=INT,QUIT node_modules/.bin/ava --tap "${arguments[@]}" >"$report.$run" 2>"$errors.$run" &
    jobs+=($!)
  done
  for run in "${jobs[@]}"; do
    wait "$run"
    code=$?
    if [ "$code" -ne 0 ]; then status=$code; fi
  done
  for run in "$@"; do
    cat "$report.$run" >>"$report"
    cat "$errors.$run" >>"$errors"
    rm -f "$report.$run" "$errors.$run"
  done
  cat "$errors" >&2
  grep -vE '^(TAP version|1\.\.|# (tests|pass|skip|fail)|$)' "$report"
  good=$(sed -n 's/^# pass //p' "$report" | awk '{ sum += $1 } END { print sum + 0 }')
  bad=$(sed -n 's/^# fail //p' "$report" | awk '{ sum += $1 } END { print sum + 0 }')
}

# The titles in the report of what failed.
failed_titles() { sed -n 's/^not ok [0-9]* - //p' "$report" | grep -v '# SKIP'; }

# The files of a group that failed titles are of: a title begins with its file's path, in parts.
failed_files() {
  local group=$1 title part path
  while read -r title; do
    path=dist/test/$group
    while [ -n "$title" ]; do
      part=${title%% › *}
      path=$path/$part
      if [ -f "$path.test.js" ]; then echo "$path.test.js" && break; fi
      if [ "$part" = "$title" ]; then break; fi
      title=${title#* › }
    done
  done | sort -u
}

# ava on the compiled tests of one group, in one or two runs of it beside one another; its own counts are added to ours. A
# file in which something failed runs once more, alone: what fails again has failed; what does not is told at the end as
# unsteady, for somebody to look at.
ava_group() {
  local group=$1 runs=$2 report errors status good bad first titles title file
  local -a again all one=() two=()
  shift 2
  compgen -G "dist/test/$group" >/dev/null || return 0
  if ! find "dist/test/$group" -name '*.test.js' -print -quit | grep -q .; then return 0; fi
  printf '\n== %s tests\n' "$group"
  if [ "$runs" -eq 2 ]; then
    for file in dist/test/"$group"/*.test.js; do
      if [ ${#one[@]} -gt ${#two[@]} ]; then two+=("$file"); else one+=("$file"); fi
    done
    one=("$@" "${one[@]}")
    two=("$@" "${two[@]}")
    run_ava one two
  else
    all=("$@" "dist/test/$group/**/*.test.js")
    run_ava all
  fi
  passed=$((passed + good))
  if [ "$status" -eq 0 ]; then
    rm -f "$report" "$errors"
    return 0
  fi
  first=$bad
  titles=$(failed_titles)
  mapfile -t again < <(failed_files "$group" <<<"$titles")
  # Without counts ava itself has ended: all of it once more.
  if [ $((good + bad)) -eq 0 ]; then
    tail -n 20 "$report" "$errors"
    again=("$@" "dist/test/$group/**/*.test.js")
  elif [ ${#again[@]} -gt 0 ]; then
    again=(--serial --concurrency 1 "${again[@]}")
  else
    # A group of one file: ava's titles do not name it.
    again=(--serial "dist/test/$group/**/*.test.js")
  fi
  if [ ${#again[@]} -gt 0 ]; then
    printf '\n== %s tests, once more: %s\n' "$group" "${again[*]}"
    rm -f "$report" "$errors"
    run_ava again
    if [ "$status" -eq 0 ]; then
      passed=$((passed + (first > 0 ? first : good)))
      if [ -z "$titles" ]; then titles='ava itself'; fi
      while read -r title; do unsteady+=("$group: $title"); done <<<"$titles"
      rm -f "$report" "$errors"
      return 0
    fi
    passed=$((passed + (first > bad ? first - bad : 0)))
  fi
  failed=$((failed + (bad > 0 ? bad : 1)))
  while read -r title; do failures+=("$group: $title"); done < <(failed_titles)
  # a crash or a timeout that no test accounts for: said at the end, where it is seen
  if [ "$bad" -eq 0 ]; then
    failures+=("$group: ava ended with $status; what it said last:" "$(tail -n 20 "$errors")" "$(tail -n 20 "$report")")
  fi
  rm -f "$report" "$errors"
}

prepare() {
  local vm=()
  if [ "$(uname -m)" = x86_64 ]; then vm=(--vm "$root/.cache/vm"); fi # elsewhere its tests are skipped
  deploy/launch.sh --prepare --dev --peers "$root/.cache/peers" --podman "$root/.cache/podman" "${vm[@]}"
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
    native)
      step 'C tests under ASan and UBSan' make -s -j2 -C native test
      step 'C tests under valgrind' make -s -j2 -C native valgrind
      ;;
    unit | lint | sim | vm) ava_group "$group" 1 ;;
    # A test file has a cluster of its own, and mostly waits for it: two at a time.
    cluster | client) ava_group "$group" 2 --serial ;;
    *)
      echo "unknown group $group: check, native, unit, lint, sim, vm, cluster, client" >&2
      exit 2
      ;;
  esac
  printf '%s took %d s\n' "$group" $((SECONDS - began))
done
finish
