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
mount -t securityfs securityfs /sys/kernel/security
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
ip link set lo up
exec >/dev/ttyS1 2>&1

# Another boot, of a kernel with SELinux in AppArmor's place, which has no more to show. The policy comes before what is
# mounted with labels of it.
if grep -qw security=selinux /proc/cmdline; then
  mount -t selinuxfs selinuxfs /sys/fs/selinux
  checkpolicy -M -U allow -o /run/policy /selinux.conf >/dev/null
  dd if=/run/policy of=/sys/fs/selinux/load bs=1M 2>/dev/null
  truncate -s 64M /run/disk
  mke2fs -F -I 256 /run/disk >/dev/null
  modprobe loop
  modprobe ext4
  mount -t ext4 -o loop /run/disk /tmp
  modprobe overlay
  /tests/vm-selinux /tests/shoal-monitor || echo "not ok - vm-selinux ended with $?"
  /selinux.sh
  echo "# end"
  sync
  poweroff -f
fi
apparmor_parser --replace --skip-cache /apparmor.conf

# What layers are unpacked into keeps every attribute of a file, as a disk does and tmpfs before Linux 6.6 does not.
truncate -s 256M /run/disk
mke2fs -F -I 256 /run/disk >/dev/null
modprobe loop
modprobe ext4
mount -t ext4 -o loop /run/disk /tmp
chmod 1777 /tmp
modprobe overlay

# Another disk, which can limit directories.
truncate -s 64M /run/limited.disk
/usr/sbin/mke2fs -q -t ext4 -O quota,project -I 256 /run/limited.disk
mkdir /limited
modprobe quota_v2
mount -t ext4 -o loop,prjquota /run/limited.disk /limited

# And one of another kind. Its smallest is larger, and hardly any of it is there.
truncate -s 320M /run/xfs.disk
mkfs.xfs -q /run/xfs.disk
mkdir /limited-xfs
modprobe xfs
mount -t xfs -o loop,prjquota /run/xfs.disk /limited-xfs

# A C test is one assertion; one that skips itself has not shown anything here. Those that are for this machine alone print
# their own.
run_test() {
  log=/tmp/$1.log
  if [ "$1" = vm-selinux ]; then
    return
  elif [ "$1" = vm-cgroup-v2 ] || [ "$1" = vm-disk-limit ]; then
    /tests/$1 /tests/shoal-monitor || echo "not ok - $1 ended with $?"
  elif [ "$1" = vm-wireguard ] || [ "$1" = vm-sctp ]; then
    /tests/$1 /plans || echo "not ok - $1 ended with $?"
  elif [ "$1" = vm-macvlan ]; then
    /tests/$1 /plans/macvlan || echo "not ok - $1 ended with $?"
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
/tests/vm-disk-limit /tests/shoal-monitor /limited-xfs || echo "not ok - vm-disk-limit of xfs ended with $?"

# The agent's own code.
SHOAL_NATIVE_DIR=/tests node /app/dist/test/vm/agent-guest.js 2>&1 || echo "not ok - agent-guest ended with $?"

# What is about systemd needs systemd: it takes over, and runs the rest.
unit() {
  name=$1
  shift
  printf '%s\n' '[Unit]' DefaultDependencies=no "$@" >"/etc/systemd/system/$name"
}
mkdir -p /etc/systemd/system /run/dbus
echo root:x:0:0:root:/root:/bin/sh >/etc/passwd
for each in sysinit.target basic.target shutdown.target; do unit $each; done
unit manager.service '[Service]' Type=oneshot 'ExecStart=/systemd.sh manager'
unit dbus.socket After=manager.service '[Socket]' ListenStream=/run/dbus/system_bus_socket
unit dbus.service Requires=dbus.socket After=dbus.socket '[Service]' Type=notify StandardError=file:/dev/ttyS1 \
  'ExecStart=/usr/bin/dbus-daemon --config-file=/dbus.conf --address=systemd: --nofork --nopidfile --systemd-activation'
unit bus.service 'Wants=manager.service dbus.service' After=dbus.service '[Service]' Type=oneshot \
  'ExecStart=/systemd.sh bus'
exec /usr/lib/systemd/systemd --unit=bus.service --log-target=console
