#!/bin/busybox sh
# The first process of the virtual machine. Runs every program in /tests and writes to the second serial port what
# became of it, in lines of TAP; the console, on the first, has the kernel's words only.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin

# The kernel's first file system cannot be pivoted away from, as containers do: go on in a mount of it that can.
if [ -z "$IN_ROOT" ]; then
  busybox mkdir -p /root
  busybox mount --bind / /root
  cd /root || exit 1
  busybox mount --move . /
  export IN_ROOT=yes
  exec busybox chroot . /init
fi

busybox mount -t proc -o nosuid,nodev,noexec proc /proc
/bin/busybox --install -s /bin
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /dev/shm /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t devpts devpts /dev/pts
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
ip link set lo up
exec >/dev/ttyS1 2>&1

# What layers are unpacked into keeps every attribute of a file, as a disk does and tmpfs before Linux 6.6 does not.
truncate -s 256M /run/disk
mke2fs -F -I 256 /run/disk >/dev/null
modprobe loop
modprobe ext4
mount -t ext4 -o loop /run/disk /tmp
chmod 1777 /tmp
modprobe overlay

# A C test is one assertion; one that skips itself has not shown anything here. Those that are for this machine alone print
# their own.
run_test() {
  log=/tmp/$1.log
  if [ "$1" = vm-cgroup-v2 ]; then
    /tests/$1 /tests/shoal-monitor || echo "not ok - $1 ended with $?"
  elif [ "$1" = vm-wireguard ]; then
    /tests/$1 /plans || echo "not ok - $1 ended with $?"
  elif /tests/$1 >$log 2>&1 && ! grep -q skipped $log; then
    echo "ok - $1"
  else
    sed 's/^/# /' $log
    echo "not ok - $1"
  fi
}

for program in /tests/*test-* /tests/vm-*; do
  run_test "${program##*/}"
done
echo "# up $(cut -d. -f1 /proc/uptime) s"
echo "# end"
sync
poweroff -f
