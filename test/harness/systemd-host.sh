#!/bin/bash
# A host that systemd has booted, as far as install.sh is concerned: a copy of this machine in namespaces of its own. What
# is written goes to a tmpfs, cgroups lie below shoal-host-NAME, and when its first process ends all of it is gone.
#   systemd-host.sh NAME DIR     DIR: an empty directory; DIR/share, if there, becomes /share in the host
set -euo pipefail
readonly name=$1 dir=$2 cgroups=/sys/fs/cgroup
readonly controllers=(cpu cpuacct cpuset memory devices freezer blkio pids)

# Outside: cgroups, then namespaces.
outside() {
  local each
  for each in "${controllers[@]}" systemd unified; do
    mkdir -p "$cgroups/$each/shoal-host-$name"
    if [ "$each" = cpuset ]; then
      cat $cgroups/cpuset/cpuset.cpus >"$cgroups/cpuset/shoal-host-$name/cpuset.cpus"
      cat $cgroups/cpuset/cpuset.mems >"$cgroups/cpuset/shoal-host-$name/cpuset.mems"
      echo 1 >"$cgroups/cpuset/shoal-host-$name/cgroup.clone_children"
    fi
    echo $$ >"$cgroups/$each/shoal-host-$name/cgroup.procs"
  done
  exec unshare --mount --uts --ipc --net --pid --cgroup --fork --kill-child "$0" "$name" "$dir" inside
}

mount_root() {
  mount --make-rprivate /
  mkdir -p "$dir/tmp"
  mount -t tmpfs tmpfs "$dir/tmp"
  mkdir "$dir"/tmp/{upper,work,root,proc}
  root=$dir/tmp/root
  mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/tmp/upper,workdir=$dir/tmp/work" "$root"
  mount -t sysfs sysfs "$root/sys"
  for each in run tmp var/lib/shoal; do
    mkdir -p "$root/$each"
    mount -t tmpfs tmpfs "$root/$each"
  done
  if [ -d "$dir/share" ]; then
    mkdir "$root/share"
    mount --bind "$dir/share" "$root/share"
  fi
}

# The kernel's settings are this machine's: only those of the network namespace can be written.
mount_proc() {
  mount -t proc proc "$root/proc"
  mount -t proc proc "$dir/tmp/proc"
  mount --bind "$root/proc/sys" "$root/proc/sys"
  mount -o remount,ro,bind "$root/proc/sys"
  mount --bind "$dir/tmp/proc/sys/net" "$root/proc/sys/net"
}

mount_cgroups() {
  local each
  mount -t tmpfs tmpfs "$root$cgroups"
  for each in "${controllers[@]}" systemd unified; do mkdir "$root$cgroups/$each"; done
  for each in "${controllers[@]}"; do mount -t cgroup -o "$each" cgroup "$root$cgroups/$each"; done
  mount -t cgroup -o none,name=systemd cgroup "$root$cgroups/systemd"
  mount -t cgroup2 cgroup2 "$root$cgroups/unified"
}

mount_devices() {
  local each
  mount -t tmpfs tmpfs "$root/dev"
  for each in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "$root/dev/${each%:*}" c 1 "${each#*:}"; done
  mknod -m 666 "$root/dev/tty" c 5 0
  mknod -m 600 "$root/dev/kmsg" c 1 3
  ln -s /proc/self/fd "$root/dev/fd"
  ln -s pts/ptmx "$root/dev/ptmx"
  mkdir "$root"/dev/{pts,shm}
  mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
  mount -t tmpfs tmpfs "$root/dev/shm"
}

# systemd starts what the test asks for, and nothing that this machine has installed.
empty_units() {
  local each units=$root/etc/systemd/system
  rm -rf "$units"
  mkdir "$units"
  for each in host sysinit basic network-online shutdown multi-user; do
    printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' "$each" >"$units/$each.target"
  done
  for each in "$root"/lib/systemd/system/*.wants/*; do ln -sfn /dev/null "$units/${each##*/}"; done
  for each in systemd-{journald,udevd}.{service,socket}; do ln -sfn /dev/null "$units/$each"; done
  for each in manager agent; do
    mkdir "$units/shoal-$each.service.d"
    printf '[Service]\nStandardOutput=append:/var/log/shoal-%s.log\nStandardError=inherit\n' "$each" \
      >"$units/shoal-$each.service.d/log.conf"
  done
}

inside() {
  local root each
  mount_root
  mount_proc
  mount_cgroups
  mount_devices
  empty_units
  ip link set lo up
  ip link add host0 type bridge
  ip addr add 10.9.9.1/24 dev host0
  ip link set host0 up
  ip route add default dev host0
  cd "$root"
  pivot_root . mnt
  cd /
  umount --lazy /mnt
  exec env -i container=shoal-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=host.target --log-target=null
}

if [ "${3:-}" = inside ]; then inside; else outside; fi
