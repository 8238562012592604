#!/bin/bash
# Installs from the distribution (Debian, Ubuntu) what Shoal needs and this machine lacks, and says what it does.
# When nothing is missing it asks dpkg once and ends. It never leaves a service running, or enabled, that was not before.
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

# a|b: the first one that the distribution knows
readonly NEEDED=(build-essential musl-tools libseccomp-dev libmnl-dev libnftables-dev libarchive-dev libcjson-dev
  nettle-dev 'etcd-server|etcd' 'etcd-client|etcd' nftables iproute2 busybox-static ca-certificates)
# What a release needs to run, with the native part prebuilt: no compiler.
readonly RUNTIME_OF_AGENT=(libseccomp2 libmnl0 libnftables1 'libarchive13|libarchive13t64' libcjson1
  'libnettle8|libnettle8t64' nftables iproute2 ca-certificates)
readonly RUNTIME_OF_MANAGER=('etcd-server|etcd' 'etcd-client|etcd' ca-certificates)
readonly NEEDED_BY_CHECKS=(clang-format cppcheck valgrind libfaketime tcpdump debootstrap systemd dbus e2fsprogs)
# What tests and benchmarks are compared with or run as workloads: unpacked, never installed.
readonly PEERS=(docker.io containerd runc crun docker-registry iptables nginx-light redis-server redis-tools)
readonly PEERS_OF_NEWER=(docker-cli) # a package of its own since Debian 13
readonly PEERS_LAYOUT=3 # raise it when what is unpacked changes
# Another engine that drives shoal-oci in the tests, apart from the others: few of them need it.
readonly PODMAN=(podman conmon)
readonly PODMAN_LAYOUT=1
# A second, newer docker client for the tests, whatever distribution this is: only its program is kept.
readonly NEWER_CLIENT=docker-cli
readonly NEWER_SOURCE='deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian sid main'
# The virtual machine of the cgroup v2 tests: an emulator and a small kernel with every controller. Unpacked too:
# installing would drag in udev, initramfs-tools and a boot entry.
readonly EMULATOR=qemu-system-x86
readonly KERNEL='linux-image-cloud-amd64|linux-image-virtual' # Debian|Ubuntu: names the package of the kernel
# What the tests run in the machine besides, with libraries that a host may lack: xfs's, and compilers of policies.
readonly GUEST=(xfsprogs libinih1 'liburcu8|liburcu8t64' apparmor checkpolicy)
readonly KERNEL_MODULES=(fs/overlayfs fs/quota fs/xfs drivers/block/loop net/netfilter net/sched/sch_tbf net/sctp net/ipv4 net/ipv6 drivers/net/vxlan drivers/net/veth drivers/net/wireguard drivers/net/macvlan net/8021q net/802 net/llc lib crypto arch)
readonly VM_LAYOUT=3
# Services that come with the packages above and must not be started by installing them.
readonly UNWANTED_SERVICES=(etcd nftables)
readonly POLICY=/usr/sbin/policy-rc.d
readonly SAVED_POLICY=/usr/sbin/policy-rc.d.before-shoal
readonly APT=(apt-get -q -y -o DPkg::Lock::Timeout=300 -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0)

held_services=no # whether our policy is in place
unfinished=''     # a directory to remove if we fail

clean_up() {
  if [ $held_services = yes ]; then release_services; fi
  if [ -n "$unfinished" ]; then rm -rf "$unfinished"; fi
}
trap clean_up EXIT

say() { printf 'prerequisites: %s\n' "$*" >&2; }
die() {
  say "$@"
  exit 1
}

usage() {
  cat <<'END'
usage: prerequisites.sh [--runtime manager|agent] [--dev] [--peers DIR] [--podman DIR] [--vm DIR]
  (nothing)     installs what is needed to build and run Shoal
  --runtime R   installs what a release needs to run as a manager or an agent, and nothing to build
  --dev         also what `npm run check` and the tests need
  --peers DIR   also unpacks docker, runc, crun, docker-registry, nginx and redis into DIR (they are not installed), and
                a newer docker client of Debian's as DIR/newer/docker, if it can be had
  --podman DIR  also unpacks podman into DIR, for its test (it is not installed)
  --vm DIR      also unpacks qemu, a kernel and what runs on it into DIR, for the tests on cgroup v2 (they are not installed)
END
}

# Prints, for each argument (a or a|b), the words that no installed package satisfies.
missing_of() {
  local installed want alternative
  installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' ${*//|/ } 2>/dev/null | sed -n 's/ installed$//p') || true
  for want in "$@"; do
    for alternative in ${want//|/ }; do
      if grep -qxF -- "$alternative" <<<"$installed"; then continue 2; fi
    done
    printf '%s\n' "$want"
  done
}

# Runs apt-get; when the package lists are missing or stale, refreshes them and tries once more.
apt_run() {
  local log
  log=$(mktemp)
  if "${APT[@]}" "$@" >"$log" 2>&1; then
    rm -f "$log"
    return 0
  fi
  say "apt-get $1 failed, refreshing the package lists and trying again"
  apt_update
  if ! "${APT[@]}" "$@" >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    explain_apt "$log"
    rm -f "$log"
    exit 1
  fi
  rm -f "$log"
}

apt_update() {
  local log attempt
  log=$(mktemp)
  # DPkg::Lock::Timeout does not cover the lock on the package lists
  for attempt in 1 2 3 4 5 6 7 8 9 10; do
    if "${APT[@]}" update -o Acquire::Retries=2 -o APT::Update::Error-Mode=any >"$log" 2>&1; then
      rm -f "$log"
      return 0
    fi
    grep -q 'Could not get lock' "$log" || break
    say "another program holds apt's lock, waiting (attempt $attempt of 10)"
    sleep 10
  done
  tail -n 10 "$log" >&2
  explain_apt "$log"
  rm -f "$log"
  exit 1
}

explain_apt() {
  if grep -q 'Could not get lock' "$1"; then
    say "another program (often unattended-upgrades) still holds apt's lock: wait for it to end, then run this again"
  elif grep -qE 'Temporary failure resolving|Could not connect|Connection timed out|Failed to fetch' "$1"; then
    say "the package mirror cannot be reached: check the network and /etc/apt/sources.list, then run this again"
  elif grep -q 'dpkg was interrupted' "$1"; then
    say "an earlier installation was interrupted: run 'dpkg --configure -a', then run this again"
  elif grep -q 'Unable to locate package' "$1"; then
    say "the distribution does not offer a package: on Ubuntu, 'add-apt-repository universe', then run this again"
  else
    say "apt-get failed, see its message above"
  fi
}

# The first alternative of a|b that apt knows; the first of all when it knows none, so that apt names it.
available_of() {
  local alternative
  for alternative in ${1//|/ }; do
    if apt-cache show --no-all-versions "$alternative" >/dev/null 2>&1; then
      printf '%s\n' "$alternative"
      return 0
    fi
  done
  printf '%s\n' "${1%%|*}"
}

# Whether the distribution's service runs. Without its script it can not: an etcd of that name is then another's.
is_running() {
  [ -e "/etc/init.d/$1" ] || [ -e "/lib/systemd/system/$1.service" ] || return 1
  if [ -d /run/systemd/system ]; then
    systemctl is-active --quiet "$1"
  else
    pgrep -x "$1" >/dev/null 2>&1
  fi
}

# Packages ask policy-rc.d before they start a service. Ours says no for those that come with the packages and were
# not running; for everything else the machine's own policy decides as before.
hold_services() {
  local service held=()
  for service in "${UNWANTED_SERVICES[@]}"; do
    is_running "$service" || held+=("$service")
  done
  lock_services
  release_services # from a run that was killed
  held_services=yes
  if [ -e "$POLICY" ]; then mv "$POLICY" "$SAVED_POLICY"; fi
  cat >"$POLICY" <<END
#!/bin/sh
# temporary, made by Shoal's prerequisites.sh
for argument; do case \$argument in --*) ;; *) service=\$argument; break ;; esac; done
case " ${held[*]} " in *" \${service%.service} "*) exit 101 ;; esac
if [ -x $SAVED_POLICY ]; then exec $SAVED_POLICY "\$@"; fi
exit 104
END
  chmod 755 "$POLICY"
}

# One run at a time, for as long as this process lives.
lock_services() {
  exec 8>/run/shoal-prerequisites.lock
  flock 8
}

has_held_services() { [ -e "$SAVED_POLICY" ] || grep -qs "made by Shoal's prerequisites.sh" "$POLICY"; }

release_services() {
  held_services=no
  if [ -e "$SAVED_POLICY" ]; then
    mv -f "$SAVED_POLICY" "$POLICY"
  elif grep -qs "made by Shoal's prerequisites.sh" "$POLICY"; then
    rm -f "$POLICY"
  fi
}

require_debian() {
  command -v apt-get >/dev/null && command -v dpkg-query >/dev/null && return 0
  die "this is not Debian or Ubuntu (no apt-get). Install yourself: a C compiler, make, musl-gcc, the headers of" \
    "libseccomp, libmnl, libnftables, libarchive, cJSON and nettle, etcd and etcdctl, nft, ip, a static busybox"
}

install_missing() {
  local want missing=() packages=() etcd_is_new=no
  mapfile -t missing < <(missing_of "$@")
  if [ ${#missing[@]} -eq 0 ]; then
    if has_held_services && [ -w "${POLICY%/*}" ]; then
      lock_services
      release_services
      exec 8>&-
    fi
    say "nothing is missing"
    return 0
  fi
  if [ "$(id -u)" -ne 0 ]; then
    die "missing: ${missing[*]}. Installing them needs root: run 'sudo deploy/prerequisites.sh', or ask your" \
      "administrator to 'apt-get install ${missing[*]%%|*}'"
  fi
  if ! compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; then
    say "fetching the package lists"
    apt_update
  fi
  for want in "${missing[@]}"; do
    packages+=("$(available_of "$want")")
    if [[ $want == etcd-server* ]]; then etcd_is_new=yes; fi
  done
  say "installing from the distribution: ${packages[*]}"
  hold_services
  apt_run install --no-install-recommends "${packages[@]}"
  release_services
  exec 8>&-
  if [ $etcd_is_new = yes ] && command -v systemctl >/dev/null; then
    systemctl disable --quiet etcd.service >/dev/null 2>&1 || true # Shoal starts an etcd of its own
  fi
  say "installed"
}

# Puts Debian sid's docker client at DIR/newer/docker. Best effort: without it DIR/newer/missing says why, for a day, and the
# tests that need it are skipped. apt works in directories of its own: it checks the signatures, and the machine's package
# lists and sources stay as they are.
add_newer_client() {
  local target=$1/newer work
  exec 9>"$1.lock"
  flock 9
  if [ -x "$target/docker" ] || [ -n "$(find "$target/missing" -mtime -1 2>/dev/null)" ]; then return 0; fi
  work=$(mktemp -d "$1.newer.XXXXXX")
  unfinished=$work
  mkdir -p "$target"
  if fetch_newer_client "$work" >"$work/log" 2>&1; then
    mv "$work/docker" "$target/docker"
    rm -f "$target/missing"
    say "a newer docker client is $target/docker: $("$target/docker" --version)"
  else
    tail -n 3 "$work/log" >"$target/missing"
    say "there is no newer docker client, tests that want one are skipped: $(tr '\n' ' ' <"$target/missing")"
  fi
  rm -rf "$work"
  unfinished=''
}

# Leaves WORK/docker, a program that runs here. Every step says on failure what was missing.
fetch_newer_client() {
  local work=$1
  mkdir -p "$work"/{lists/partial,cache/archives/partial,parts,root} || return
  printf '%s\n' "$NEWER_SOURCE" >"$work/sources.list" || return
  cat >"$work/apt.conf" <<END || return
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "$work/parts";
Dir::Etc::preferences "$work/none";
Dir::Etc::preferencesparts "$work/parts";
Dir::State "$work";
Dir::State::lists "$work/lists";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$work/cache";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "20";
END
  local -x APT_CONFIG=$work/apt.conf
  timeout 120 "${APT[@]}" update -o APT::Update::Error-Mode=any || return
  (cd "$work" && timeout 120 "${APT[@]}" download "$NEWER_CLIENT") || return
  dpkg -x "$work"/"$NEWER_CLIENT"_*.deb "$work/root" || return
  cp "$work/root/usr/bin/docker" "$work/docker" || return
  "$work/docker" --version # its libraries may be newer than the machine's
}

# What apt would install for the peers here, the peers themselves included even where they are installed.
packages_of_peers() {
  local package wanted=("${PEERS[@]}")
  for package in "${PEERS_OF_NEWER[@]}"; do
    if apt-cache show --no-all-versions "$package" >/dev/null 2>&1; then wanted+=("$package"); fi
  done
  with_dependencies "${wanted[@]}"
}

packages_of_podman() { with_dependencies "${PODMAN[@]}"; }

with_dependencies() {
  {
    printf '%s\n' "$@"
    apt-get -s -q --no-install-recommends install "$@" 2>/dev/null | sed -n 's/^Inst \([^ :]*\).*/\1/p'
  } | sort -u
}

# unpack DIR STAMP LISTER FINISHER: downloads the packages that LISTER prints and unpacks them into DIR/root, which
# FINISHER then makes ready. Nothing to do when DIR has this stamp; DIR appears whole or not at all.
unpack() {
  local directory=$1 stamp=$2 lister=$3 finisher=$4 temporary package packages=()
  if [ "$(cat "$directory/stamp" 2>/dev/null)" = "$stamp" ]; then
    say "unpacked packages are in $directory"
    return 0
  fi
  mkdir -p "$(dirname "$directory")"
  exec 9>"$directory.lock"
  flock 9
  if [ "$(cat "$directory/stamp" 2>/dev/null)" = "$stamp" ]; then return 0; fi # made while we waited
  rm -rf "$directory".new.*
  temporary=$(mktemp -d "$directory.new.XXXXXX")
  unfinished=$temporary
  chmod 755 "$temporary"
  mkdir "$temporary/debs" "$temporary/root"
  if ! compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; then
    [ "$(id -u)" -eq 0 ] || die "apt has no package lists: run 'sudo apt-get update', then run this again"
    apt_update
  fi
  mapfile -t packages < <("$lister")
  say "unpacking into $directory: ${packages[*]}"
  (cd "$temporary/debs" && apt_run download "${packages[@]}")
  for package in "$temporary"/debs/*.deb; do dpkg -x "$package" "$temporary/root"; done
  rm -rf "$temporary/debs"
  "$finisher" "$temporary/root"
  printf '%s\n' "$stamp" >"$temporary/stamp"
  rm -rf "$directory"
  mv -T "$temporary" "$directory"
  unfinished=''
  say "unpacked packages are in $directory"
}

finish_peers() {
  link_alternatives "$1/usr/sbin"
  check_libraries "$1" docker dockerd containerd runc crun docker-registry nginx redis-server redis-cli xtables-nft-multi
}

finish_podman() { check_libraries "$1" podman conmon; }

# The emulator with what apt would install for it here, what runs in the guest, and the kernel alone, without what would make it boot from disk.
packages_of_vm() {
  local meta image package
  printf '%s\n' "$EMULATOR"
  for package in "${GUEST[@]}"; do available_of "$package"; done
  apt-get -s -q --no-install-recommends install "$EMULATOR" 2>/dev/null | sed -n 's/^Inst \([^ :]*\).*/\1/p' |
    grep -vxF -- "$EMULATOR" || true
  meta=$(available_of "$KERNEL")
  image=$(depends_of "$meta" | grep '^linux-image-[0-9]' | head -n 1) || true
  printf '%s\n' "${image:-$meta}"
  depends_of "${image:-$meta}" | grep '^linux-modules-[0-9]' || true # Ubuntu has them apart
}

depends_of() { apt-cache depends --no-recommends --no-suggests --important "$1" | sed -n 's/^ *|\?Depends: //p'; }

# Only the modules that the tests load are kept, uncompressed, with the index that installing would have made.
finish_vm() {
  local root=$1 modules kept=() path
  modules=$(echo "$root"/lib/modules/* "$root"/usr/lib/modules/*)
  modules=$(tr ' ' '\n' <<<"$modules" | grep -v '\*$' | head -n 1) || die "the kernel's package has no modules"
  for path in "${KERNEL_MODULES[@]}"; do kept+=(-not -path "*/kernel/$path*"); done
  find "$modules/kernel" -type f "${kept[@]}" -delete
  find "$modules/kernel" -name '*.ko.xz' -exec xz -d {} +
  find "$modules/kernel" -name '*.ko.zst' -exec zstd -q -d --rm {} +
  if [ ! -e "$root/lib/modules" ]; then ln -s usr/lib "$root/lib"; fi
  busybox depmod -b "$root" "${modules##*/}"
  rm -rf "$root"/usr/share/doc "$root"/boot/System.map-*
  check_libraries "$root" qemu-system-x86_64 mkfs.xfs apparmor_parser checkpolicy
}

# Installing would make these links by update-alternatives.
link_alternatives() {
  local name
  for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
    [ -e "$1/$name" ] || ln -s xtables-nft-multi "$1/$name"
  done
}

# check_libraries ROOT PROGRAM...
check_libraries() {
  local root=$1 name program lost path
  shift
  path=$(find "$root" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
  for name in "$@"; do
    program=$(find "$root"/{,usr/}{bin,sbin} -maxdepth 1 -name "$name" 2>/dev/null | head -n 1) || true
    [ -n "$program" ] || die "the distribution's packages do not hold $name"
    lost=$(LD_LIBRARY_PATH=$path ldd "$program" 2>/dev/null | sed -n 's/ => not found//p' | xargs)
    [ -z "$lost" ] || die "$program lacks the libraries $lost"
  done
}

main() {
  local wanted=("${NEEDED[@]}") peers='' podman='' vm=''
  while [ $# -gt 0 ]; do
    case $1 in
      --dev) wanted+=("${NEEDED_BY_CHECKS[@]}") ;;
      --runtime)
        case ${2:-} in
          manager) wanted=("${RUNTIME_OF_MANAGER[@]}") ;;
          agent) wanted=("${RUNTIME_OF_AGENT[@]}") ;;
          *) die "--runtime needs 'manager' or 'agent'" ;;
        esac
        shift
        ;;
      --peers)
        [ -n "${2:-}" ] || die "--peers needs a directory"
        peers=$2
        shift
        ;;
      --podman)
        [ -n "${2:-}" ] || die "--podman needs a directory"
        podman=$2
        shift
        ;;
      --vm)
        [ -n "${2:-}" ] || die "--vm needs a directory"
        vm=$2
        shift
        ;;
      -h | --help)
        usage
        exit 0
        ;;
      *)
        usage >&2
        exit 2
        ;;
    esac
    shift
  done
  require_debian
  install_missing "${wanted[@]}"
  if [ -n "$peers" ]; then
    unpack "$(realpath -m "$peers")" "layout $PEERS_LAYOUT: ${PEERS[*]}" packages_of_peers finish_peers
    add_newer_client "$(realpath -m "$peers")"
  fi
  if [ -n "$podman" ]; then
    unpack "$(realpath -m "$podman")" "layout $PODMAN_LAYOUT: ${PODMAN[*]}" packages_of_podman finish_podman
  fi
  if [ -n "$vm" ]; then
    unpack "$(realpath -m "$vm")" "layout $VM_LAYOUT: $EMULATOR ${GUEST[*]} $KERNEL ${KERNEL_MODULES[*]}" packages_of_vm finish_vm
  fi
}

main "$@"
