#!/bin/busybox sh
# shoal-oci on a host of cgroup v2: with groups of its own, in scopes of systemd through the manager's own socket, and
# through the system bus. systemd, the first process by now, runs it twice, without a bus and with one (init.sh). Writes TAP.
#   systemd.sh manager|bus
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
exec >/dev/ttyS1 2>&1
GROUPS_ROOT=/sys/fs/cgroup
WORK=/run/oci-$1
PROBLEM=

# bundle NAME CGROUPS_PATH COMMAND
bundle() {
  mkdir -p "$WORK/$1/rootfs/bin" "$WORK/$1/rootfs/proc"
  for each in sh sleep cat; do cp /bin/busybox "$WORK/$1/rootfs/bin/$each"; done
  cat >"$WORK/$1/config.json" <<JSON
{"ociVersion":"1.1.0","root":{"path":"rootfs"},
 "process":{"user":{"uid":0,"gid":0},"args":["sh","-c","$3"],"env":["PATH=/bin"],"cwd":"/"},
 "mounts":[{"destination":"/proc","type":"proc","source":"proc"}],
 "linux":{"namespaces":[{"type":"pid"},{"type":"mount"},{"type":"network"},{"type":"cgroup"}],"cgroupsPath":"$2",
  "resources":{"memory":{"limit":67108864},"pids":{"limit":20},"cpu":{"cpus":"0","quota":50000,"period":100000}}}}
JSON
}
oci() { /tests/shoal-oci --root "$WORK/root" $SYSTEMD "$@"; }
create() { oci create --bundle "$WORK/$1" --pid-file "$WORK/$1/pid" "$1"; }

# check WHAT COMMAND...: notes what is not as it should be.
check() {
  what=$1
  shift
  "$@" || PROBLEM="$PROBLEM
# $what"
}
is() {
  [ "$1" = "$2" ] && return
  echo "# '$1' is not '$2'"
  return 1
}
has() { grep -q "$1" "$2"; }
absent() { [ ! -e "$1" ]; }
refused() { ! "$@" >/dev/null 2>&1; }
# eventually COMMAND...: within 20 s
eventually() {
  for i in $(seq 200); do
    "$@" && return
    sleep 0.1
  done
  return 1
}
verdict() {
  if [ -z "$PROBLEM" ]; then echo "ok - $1"; else echo "$PROBLEM
not ok - $1"; fi
  PROBLEM=
}

# life GROUP: of container "one", which has been created: its group below the hierarchy's root
life() {
  group=$GROUPS_ROOT$1
  check 'it is in its group' is "$(cat /proc/"$(cat $WORK/one/pid)"/cgroup)" "0::$1"
  check 'memory' is "$(cat $group/memory.max)" 67108864
  check 'pids' is "$(cat $group/pids.max)" 20
  check 'cpus' is "$(cat $group/cpuset.cpus.effective)" 0
  check 'quota' is "$(cat $group/cpu.max)" '50000 100000'
  check 'start' oci start one
  check 'exec' is "$(oci exec one sh -c 'cat /proc/self/cgroup')" 0::/
  check 'ps' is "$(oci ps -f json one)" "[$(cat $WORK/one/pid)]"
  check 'pause' oci pause one
  check 'frozen' has 'frozen 1' $group/cgroup.events
  check 'resume' oci resume one
  check 'thawed' has 'frozen 0' $group/cgroup.events
  check 'update' oci update --memory 128m --pids-limit 30 --cpu-quota 70000 --cpu-period 100000 one
  check 'updated memory' is "$(cat $group/memory.max)" 134217728
  check 'updated pids' is "$(cat $group/pids.max)" 30
  check 'updated quota' is "$(cat $group/cpu.max)" '70000 100000'
  oci events --stats one >$WORK/stats
  check 'stats: limit' has '"limit":134217728' $WORK/stats
  check 'stats: pressure of memory' has '"memory":.*"psi":{"some":{"avg10":.*"blkio":{"psi":' $WORK/stats
  check 'stats: pids' has '"pids":{"current":1,"limit":30}' $WORK/stats
}

scope_tests() {
  scope=/shoal.slice/shoal-vm.slice/docker-one.scope
  bundle one shoal-vm.slice:docker:one 'exec sleep 100000'
  check 'create' create one
  life $scope/container
  check 'the unit' is "$(systemctl show -p ActiveState,Slice,Delegate --value docker-one.scope | sort | xargs)" \
    'active shoal-vm.slice yes'
  check 'reload' systemctl daemon-reload
  check 'no limit is taken back' is "$(cat $GROUPS_ROOT$scope/container/memory.max)" 134217728
  verdict "a container lives in a scope, $1"

  bundle two shoal-vm.slice:docker:one true
  check 'the name is taken' refused create two
  check 'the other lives' is "$(systemctl is-active docker-one.scope)" active
  check 'and runs' is "$(oci state one | grep -c '"running"')" 1
  check 'nothing of the second' absent $WORK/root/two
  verdict "a scope of another is left alone, $1"

  for i in 1 2 3; do
    check 'delete' oci delete --force one
    check 'no unit' is "$(systemctl is-active docker-one.scope)" inactive
    check 'no group' absent $GROUPS_ROOT$scope
    check 'the name is free' create one
  done
  check 'start' oci start one
  check 'all of it is killed' oci kill --all one KILL
  check 'the scope has ended' eventually refused systemctl --quiet is-active docker-one.scope
  check 'it has stopped' is "$(oci state one | grep -c '"stopped"')" 1
  check 'delete of what has stopped' oci delete one
  verdict "a scope ends with its container and the other way round, $1"

  bundle bad shoal-vm.slice:docker:bad x
  sed -i 's/"args":\["sh"/"args":["nowhere"/' $WORK/bad/config.json
  check 'refused' refused create bad
  check 'no unit' is "$(systemctl is-active docker-bad.scope)" inactive
  check 'no group' absent $GROUPS_ROOT/shoal.slice/shoal-vm.slice/docker-bad.scope
  bundle bad /plain true
  check 'a plain path is refused' refused create bad
  verdict "what can not be created leaves no scope, $1"
}

if [ "$1" = manager ]; then
  SYSTEMD=
  bundle one /shoal-vm-oci/one 'exec sleep 100000'
  check 'create' create one
  life /shoal-vm-oci/one
  check 'delete' oci delete --force one
  check 'no group' absent $GROUPS_ROOT/shoal-vm-oci/one
  verdict 'shoal-oci has every command on cgroup v2'
fi
SYSTEMD=--systemd-cgroup
scope_tests "asked of its $1"
[ "$1" = manager ] && exit 0
echo "# up $(cut -d. -f1 /proc/uptime) s"
echo "# end"
sync
poweroff -f
