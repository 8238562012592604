#!/bin/bash
# Installs Shoal on this host as a manager or an agent, upgrades it in place, or removes it; `install.sh --help` has the
# options. It is part of a release, and copies the release that it lies in; the Debian package's maintainer scripts are
# this file, too. Containers go on through all of it, except for `uninstall --purge`.
set -euo pipefail
export LC_ALL=C

readonly KEPT_RELEASES=2 # the current one and the one before
readonly START_SECONDS=60 # for a daemon that has ended meanwhile; one that only takes its time has five times as long

action=''
role=${SHOAL_ROLE:-}
root=${SHOAL_ROOT:-${DPKG_ROOT:-}}
release=${SHOAL_RELEASE:-}
from=${SHOAL_FROM:-}
ca=${SHOAL_CA:-}
node=${SHOAL_NODE:-}
advertise=${SHOAL_ADVERTISE:-}
managers=${SHOAL_MANAGERS:-}
join=${SHOAL_JOIN:-}
join_file=${SHOAL_JOIN_FILE:-}
name=${SHOAL_NAME:-}
dry_run=${SHOAL_DRY_RUN:-0}
no_start=${SHOAL_NO_START:-0}
no_prerequisites=${SHOAL_NO_PREREQUISITES:-0}
purge=${SHOAL_PURGE:-0}
downgrade=${SHOAL_DOWNGRADE:-0}
flags=()

tree=''      # the unpacked release that is installed
version=''   # its version
place=''     # its directory on this host
temporary='' # to remove at the end
changed=no      # whether the role that is installed has to be started again
new_program=no  # whether every role has to

usage() {
  cat <<'END_OF_USAGE'
usage: install.sh manager [--advertise HOST:PORT] [options] [-- flags of `shoal manager`]       the first one
       install.sh manager --manager HOST:PORT --join TOKEN | --join-file FILE [options] [-- ...] one more
       install.sh agent [--manager HOST:PORT[,HOST:PORT] --join TOKEN | --join-file FILE] [options] [-- flags of `shoal agent`]
       install.sh upgrade [options]      the program only, for the roles that are here
       install.sh uninstall [--purge] [options]

Run again with the same role to upgrade: containers go on, and the configuration stays unless it is given again.

  --advertise HOST:PORT  (SHOAL_ADVERTISE)   where agents and other managers reach this one
  --manager HOST:PORT    (SHOAL_MANAGERS)    managers that it joins at; several are separated by commas
  --join TOKEN           (SHOAL_JOIN)        join token, as `shoal token` prints it
  --join-file FILE       (SHOAL_JOIN_FILE)   the same, in a file
  --name NAME            (SHOAL_NAME)        name of the cluster, the same for all its parts
  --release FILE         (SHOAL_RELEASE)     a release's .tar.gz to install, in place of the one this script lies in
  --from HOST:PORT       (SHOAL_FROM)        fetch the release from this manager; with --ca FILE (SHOAL_CA), the cluster's
                                             CA. `shoal token agent` prints a command that does all of it
  --node FILE            (SHOAL_NODE)        the node program, 20.19 or later (default: the first on the PATH)
  --no-start             (SHOAL_NO_START=1)  install and enable, start nothing
  --no-prerequisites     (SHOAL_NO_PREREQUISITES=1)  do not install packages of the distribution
  --downgrade            (SHOAL_DOWNGRADE=1) to a release that is older than the installed one, which is refused else
  --purge                (SHOAL_PURGE=1)     uninstall: also stops the containers and removes all state and configuration
  --root DIR             (SHOAL_ROOT)        install below DIR, for an image; starts nothing and installs no packages
  --dry-run              (SHOAL_DRY_RUN=1)   print what would be done
The role can be SHOAL_ROLE, and what follows -- SHOAL_FLAGS (words).
END_OF_USAGE
}

say() { printf 'install: %s\n' "$*"; }
die() {
  printf 'install: %s\n' "$*" >&2
  exit 1
}

finished() { if is_on "$dry_run"; then say "nothing was done: this is a dry run"; else say "$@"; fi; }

is_on() { case $1 in 1 | yes | true) return 0 ;; '' | 0 | no | false) return 1 ;; *) die "'$1' is neither 1 nor 0" ;; esac }

# Everything that changes the host goes through these.
run() {
  if is_on "$dry_run"; then say "would run: $*"; else "$@"; fi
}

# write_file MODE PATH: standard input becomes the file, whole or not at all. Sets changed when it differs.
write_file() {
  local mode=$1 path=$2 text
  text=$(cat; printf x)
  text=${text%x}
  if [ -e "$path" ] && [ "$(cat "$path"; printf x)" = "${text}x" ] && [ "$(stat -c %a "$path")" = "$mode" ]; then return 0; fi
  changed=yes
  if is_on "$dry_run"; then
    say "would write: $path"
    return 0
  fi
  mkdir -p "${path%/*}"
  (umask 077 && printf %s "$text" >"$path.new")
  chmod "$mode" "$path.new"
  mv -f "$path.new" "$path"
}

clean_up() {
  if [ -n "$temporary" ]; then rm -rf "$temporary"; fi
}
trap clean_up EXIT

has_systemd() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

# need_value OPTION VALUE...: names the option when nothing follows it.
need_value() {
  if [ $# -lt 2 ] || [ -z "$2" ]; then die "$1 needs a value (see --help)"; fi
}

parse() {
  local word
  while [ $# -gt 0 ]; do
    case $1 in
      manager | agent) action=install role=$1 ;;
      upgrade | uninstall) action=$1 ;;
      --advertise) need_value "$@" && advertise=$2 && shift ;;
      --manager) need_value "$@" && managers=$2 && shift ;;
      --join) need_value "$@" && join=$2 && shift ;;
      --join-file) need_value "$@" && join_file=$2 && shift ;;
      --name) need_value "$@" && name=$2 && shift ;;
      --release) need_value "$@" && release=$2 && shift ;;
      --from) need_value "$@" && from=$2 && shift ;;
      --ca) need_value "$@" && ca=$2 && shift ;;
      --node) need_value "$@" && node=$2 && shift ;;
      --root) need_value "$@" && root=$2 && shift ;;
      --no-start) no_start=1 ;;
      --no-prerequisites) no_prerequisites=1 ;;
      --purge) purge=1 ;;
      --downgrade) downgrade=1 ;;
      --dry-run) dry_run=1 ;;
      -h | --help) usage && exit 0 ;;
      --) shift && break ;;
      *) die "unknown option or role '$1' (see --help)" ;;
    esac
    shift
  done
  flags=("$@")
  if [ $# -eq 0 ]; then for word in ${SHOAL_FLAGS:-}; do flags+=("$word"); done; fi
  root=${root%/}
  if [ -z "$action" ] && [ -n "$role" ]; then action=install; fi
}

# What is asked for makes sense. Values end in a unit's environment file: only characters that mean themselves there.
check_options() {
  local word
  case ${role:-none} in none | manager | agent) ;; *) die "the role is 'manager' or 'agent', not '$role'" ;; esac
  if [ -n "$root" ] && [ "${root#/}" = "$root" ]; then die "--root must be an absolute path, and is '$root'"; fi
  if [ -n "$from" ] && [ -n "$release" ]; then die "--from and --release exclude one another"; fi
  if [ -n "$from" ] && [ ! -r "$ca" ]; then die "--from needs --ca FILE, the cluster's CA certificate"; fi
  if [ -n "$from" ] && ! [[ $from =~ ^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$ ]]; then die "--from is HOST:PORT, not '$from'"; fi
  for word in "$advertise" "$managers" "$name" ${flags[@]+"${flags[@]}"}; do
    case $word in *[!]A-Za-z0-9_./:=,@%+[-]*) die "'$word' has a character that can not be in a unit's environment file" ;; esac
  done
  if [ "$action" != install ]; then return 0; fi
  if [ "$role" = agent ] && [ -n "$advertise" ]; then die "--advertise is for managers"; fi
  if [ -n "$join" ] && [ -n "$join_file" ]; then die "--join and --join-file exclude one another"; fi
  if [ -n "$join_file" ]; then read_token; fi
  if [ -n "$join" ] && [ -z "$managers" ]; then die "a join token needs --manager HOST:PORT"; fi
  if [ -n "$managers" ] && [ -z "$join" ]; then die "--manager needs --join TOKEN or --join-file FILE"; fi
  if [ -n "$join" ] && ! [[ $join =~ ^SHOAL-1-[0-9a-z]{50}-[0-9a-z]{25}$ ]]; then
    die "the join token is malformed: it must read SHOAL-1-<50 characters>-<25 characters>, as 'shoal token' prints it"
  fi
}

read_token() {
  [ -r "$join_file" ] || die "the file $join_file of --join-file can not be read"
  join=$(tr -d '[:space:]' <"$join_file")
}

require_root() {
  if [ "$(id -u)" -eq 0 ] || is_on "$dry_run"; then return 0; fi
  die "this needs root: run it again with sudo"
}

# Says all that is missing at once.
require_host() {
  local missing=()
  [ "$(uname -s)" = Linux ] || die "this needs Linux, and this is $(uname -s)"
  if [ -z "$root" ] && [ ! -d /run/systemd/system ]; then missing+=("systemd as the running init system"); fi
  find_node || missing+=("Node.js 20.19 or later ($(describe_node); name one with --node FILE)")
  command -v tar >/dev/null || missing+=("tar")
  if [ -z "$root" ] && ! command -v apt-get >/dev/null && ! is_on "$no_prerequisites"; then
    missing+=("apt-get (this is $(distribution), not Debian or Ubuntu: install the libraries yourself, then use --no-prerequisites)")
  fi
  if [ ${#missing[@]} -eq 0 ]; then return 0; fi
  printf 'install: missing: %s\n' "${missing[@]}" >&2
  exit 1
}

# As it calls itself: see os-release(5).
distribution() {
  local file
  for file in /etc/os-release /usr/lib/os-release; do
    if [ -r "$file" ]; then
      # shellcheck disable=SC1090
      (. "$file" && echo "${PRETTY_NAME:-${NAME:-${ID:-something else}}}")
      return 0
    fi
  done
  echo 'something else'
}

find_node() {
  local found=${node:-$(command -v node)} || return 1
  found=$(realpath -es "$found" 2>/dev/null) || return 1
  "$found" -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' \
    >/dev/null 2>&1 || return 1
  node=$found
}

describe_node() {
  local found=${node:-$(command -v node)} is
  if [ -z "$found" ]; then
    echo "none is on root's PATH"
    return 0
  fi
  is=$("$found" --version 2>/dev/null | head -n 1) || true
  if [[ $is =~ ^v[0-9.]+$ ]]; then echo "$found is $is"; else echo "$found is not Node"; fi
}

# A cluster of `shoal up` has its files in the same places.
refuse_local_cluster() {
  if [ -e "$root/run/shoal/cluster.json" ]; then
    die "a cluster of 'shoal up' is on this machine, in the same places: 'shoal down' removes it"
  fi
}

# Sets tree and version: an unpacked release, from --release or around this script.
find_release() {
  if [ -n "$from" ]; then fetch_release; fi
  if [ -n "$release" ]; then
    unpack_tarball
  else
    tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
    [ -e "$tree/MANIFEST" ] ||
      die "$tree is not a release but a source tree: 'npm run release' makes one; unpack it, or name its .tar.gz with --release"
  fi
  check_release
}

# A manager's certificate says localhost, whatever its address is; what counts is that the cluster's CA signed it.
fetch_release() {
  command -v curl >/dev/null || die "missing: curl"
  temporary=$(mktemp -d)
  release=$temporary/release.tar.gz
  say "fetching the release from $from"
  curl --fail --silent --show-error --retry 5 --cacert "$ca" --connect-to "localhost:${from##*:}:$from" \
    --output "$release" "https://localhost:${from##*:}/release.tar.gz" || die "the manager at $from gives no release, see above"
}

unpack_tarball() {
  [ -r "$release" ] || die "the release $release can not be read"
  check_tarball
  if [ -z "$temporary" ]; then temporary=$(mktemp -d); fi
  tar -xzf "$release" -C "$temporary" --no-same-owner || die "$release is damaged"
  tree=$(echo "$temporary"/shoal-*)
  [ -e "$tree/MANIFEST" ] || die "$release is not a release of Shoal: it has no MANIFEST"
}

# With its SHA256SUMS beside it, the tarball is compared with that before anything of it is looked at.
check_tarball() {
  local sums wanted is
  sums=$(dirname "$release")/SHA256SUMS
  [ -r "$sums" ] || return 0
  wanted=$(awk -v file="$(basename "$release")" '$2 == file { print $1 }' "$sums")
  is=$(sha256sum <"$release")
  [ -z "$wanted" ] || [ "$wanted" = "${is%% *}" ] || die "$release is not what $sums says: it is damaged or was changed"
}

check_release() {
  (cd "$tree" && sha256sum --check --quiet --strict MANIFEST >&2) || die "the release in $tree is not complete, see above"
  version=$(sed -n 's/^  "version": "\([0-9A-Za-z.+~-]*\)",$/\1/p' "$tree/package.json")
  [ -n "$version" ] || die "$tree/package.json has no version"
  place=$root/opt/shoal/releases/$version
}

# What a newer release has written an older one may not understand: a manager then refuses to start.
refuse_downgrade() {
  local is newest
  is=$(readlink "$root/opt/shoal/current" 2>/dev/null) || return 0
  is=${is#releases/}
  newest=$(printf '%s\n' "$is" "$version" | sort -V | tail -n 1)
  if [ "$newest" = "$version" ] || is_on "$downgrade"; then return 0; fi
  die "Shoal $is is installed, and this is the older $version: it may not understand what $is has written. With a backup of" \
    "before the upgrade at hand, or when CHANGELOG.md says that stored data has not changed: --downgrade"
}

# install_prerequisites ROLE...
install_prerequisites() {
  local each
  if [ -n "$root" ] || is_on "$no_prerequisites"; then return 0; fi
  for each in "$@"; do run "$tree/deploy/prerequisites.sh" --runtime "$each"; done
}

# require_libraries ROLE...: the native part was built elsewhere; what it needs must be here, in a version that fits.
require_libraries() {
  local lost
  if [ -n "$root" ] || is_on "$dry_run"; then return 0; fi
  case " $* " in *" agent "*) ;; *) return 0 ;; esac
  lost=$(ldd "$tree/native/build/libshoal.so" "$tree/native/build/shoal-files" 2>&1 | grep 'not found' | sort -u | xargs) || true
  [ -z "$lost" ] || die "this host lacks libraries, or has too old ones: $lost"
}

add_group() {
  if [ -n "$root" ]; then
    if [ ! -e "$root/etc/group" ] || grep -q '^shoal:' "$root/etc/group"; then return 0; fi
    run groupadd --system --prefix "$root" shoal
  elif ! getent group shoal >/dev/null; then
    run groupadd --system shoal # its members may use the API's socket
  fi
}

# /opt/shoal/releases/VERSION appears whole; the same version made anew replaces it.
place_release() {
  if [ "$tree" -ef "$place" ] || cmp -s "$tree/MANIFEST" "$place/MANIFEST"; then return 0; fi
  say "release $version goes to $place"
  new_program=yes
  run mkdir -p "$root/opt/shoal/releases"
  run rm -rf "$place.new" "$place.old"
  run cp -r --no-preserve=ownership "$tree" "$place.new"
  run chmod -R u+rwX,go+rX,go-w "$place.new"
  if [ -e "$place" ]; then run mv -T "$place" "$place.old"; fi
  run mv -T "$place.new" "$place"
  run rm -rf "$place.old"
}

# /opt/shoal/current is switched by a rename: at every moment it is the old release or the new one.
switch_release() {
  local current=$root/opt/shoal/current
  if [ "$(readlink "$current" 2>/dev/null)" = "releases/$version" ]; then return 0; fi
  new_program=yes
  run ln -sfn "releases/$version" "$current.new"
  run mv -fT "$current.new" "$current"
}

write_command() {
  write_file 755 "$root/usr/local/bin/shoal" <<END_OF_COMMAND
#!/bin/sh
# made by Shoal's install.sh
exec '$node' /opt/shoal/current/dist/deploy/cli/main.js "\$@"
END_OF_COMMAND
}

unit_file() { printf '%s/etc/systemd/system/shoal-%s.service' "$root" "$1"; }

installed_roles() {
  local each
  for each in manager agent; do
    if [ -e "$(unit_file "$each")" ]; then echo "$each"; fi
  done
}

write_unit() { write_file 644 "$(unit_file "$1")" <"$tree/deploy/systemd/shoal-$1.service"; }

# Of a role that is here already the configuration stays, unless options say what it shall be.
write_configuration() {
  local file=$root/etc/shoal/$role.env
  if [ -e "$file" ] && [ -z "$advertise$managers$name${flags[*]-}" ]; then return 0; fi
  if [ "$role" = manager ]; then
    if [ -n "$advertise" ]; then flags=(--advertise "$advertise" ${flags[@]+"${flags[@]}"}); fi
  else
    require_identity
  fi
  if [ -n "$name" ]; then flags=(--name "$name" ${flags[@]+"${flags[@]}"}); fi
  write_file 644 "$file" < <(configuration)
  if [ -n "$managers" ]; then write_token; fi
}

configuration() {
  printf "# Flags of 'shoal %s' (see 'shoal %s --help'). After a change: systemctl restart shoal-%s\n" "$role" "$role" "$role"
  printf 'SHOAL_%s_FLAGS="%s"\n' "${role^^}" "${flags[*]-}"
  if [ -n "$managers" ]; then
    printf '# Until it has joined:\nSHOAL_%s_JOIN="--join-file /etc/shoal/join-token %s"\n' "${role^^}" "$managers"
  fi
}

require_identity() {
  if [ -n "$managers" ] || [ -n "$root" ] || [ -e /var/lib/shoal/agent/identity.json ]; then return 0; fi
  die "this host has joined no cluster yet: --manager HOST:PORT and --join TOKEN are needed ('shoal token' on a manager's host prints it)"
}

write_token() { write_file 600 "$root/etc/shoal/join-token" < <(printf '%s\n' "$join"); }

start_units() {
  local each
  if ! has_systemd; then
    enable_offline "$@"
    return 0
  fi
  run systemctl daemon-reload
  for each in "$@"; do
    run systemctl enable --quiet "shoal-$each.service"
    if is_on "$no_start"; then continue; fi
    if [ $changed$new_program = nono ] && systemctl is-active --quiet "shoal-$each.service"; then continue; fi
    say "starting shoal-$each"
    run systemctl restart "shoal-$each.service"
  done
}

# Of a new program: what runs is started again, what was stopped stays so.
restart_units() {
  local each
  if ! has_systemd || is_on "$no_start"; then return 0; fi
  run systemctl daemon-reload
  for each in "$@"; do
    if [ $changed$new_program != nono ]; then run systemctl try-restart "shoal-$each.service"; fi
  done
}

# What `systemctl enable` does, in a tree that is not running.
enable_offline() {
  local each wants=$root/etc/systemd/system/multi-user.target.wants
  if is_on "$dry_run"; then return 0; fi
  for each in "$@"; do
    mkdir -p "$wants"
    ln -sfn "/etc/systemd/system/shoal-$each.service" "$wants/shoal-$each.service"
  done
}

# A daemon writes its run file once it serves.
await_start() {
  local second file=/run/shoal/$role/$role.json
  if ! has_systemd || is_on "$no_start" || is_on "$dry_run"; then return 0; fi
  for ((second = 0; second < START_SECONDS * 5; second++)); do
    if [ -e "$file" ] && grep -q "\"pid\":$(systemctl show --property=MainPID --value "shoal-$role.service")[,}]" "$file"; then return 0; fi
    if [ -e "/run/shoal/$role/locked" ]; then
      say "the manager is locked and waits for its unlock key: docker swarm unlock, or shoal unlock"
      return 0
    fi
    if [ $second -ge $START_SECONDS ] && [ "$(systemctl show --property=NRestarts --value "shoal-$role.service")" != 0 ]; then break; fi
    sleep 1
  done
  die "shoal-$role does not come up and is tried again and again; 'journalctl -u shoal-$role' says why"
}

# The token lies on the disk only for as long as it is needed.
finish_join() {
  local proof=/var/lib/shoal/agent/identity.json what=node
  if [ "$role" = manager ]; then proof=/var/lib/shoal/manager/etcd/join what=manager; fi
  if [ -z "$managers" ] || ! has_systemd || is_on "$no_start" || is_on "$dry_run"; then return 0; fi
  [ -e "$proof" ] || die "the $role runs and has joined nothing; 'journalctl -u shoal-$role' says why"
  forget_token
  say "this host is a $what of the cluster"
}

forget_token() {
  sed -i -e '/^# Until it has joined:$/d' -e '/^SHOAL_[A-Z]*_JOIN=/d' "$root/etc/shoal/$role.env"
  rm -f "$root/etc/shoal/join-token"
}

# Older releases go; what still runs from one (a monitor) has its program open.
prune_releases() {
  local old releases=$root/opt/shoal/releases
  if is_on "$dry_run"; then return 0; fi
  while read -r old; do
    say "removing the release $old"
    rm -rf "${releases:?}/$old"
  done < <(find "$releases" -mindepth 1 -maxdepth 1 -type d ! -name "$version" -printf '%T@ %f\n' | sort -rn |
    tail -n +"$KEPT_RELEASES" | cut -d' ' -f2-)
}

stop_units() {
  local each
  for each in "$@"; do
    if has_systemd; then run systemctl disable --quiet --now "shoal-$each.service"; fi
    run rm -f "$(unit_file "$each")" "$root/etc/systemd/system/multi-user.target.wants/shoal-$each.service"
  done
  if has_systemd; then run systemctl daemon-reload; fi
}

remove_program() {
  if grep -qs "made by Shoal's install.sh" "$root/usr/local/bin/shoal"; then run rm -f "$root/usr/local/bin/shoal"; fi
  run rm -f "$root/opt/shoal/current" "$root/opt/shoal/current.new"
  if [ -z "${DPKG_MAINTSCRIPT_NAME:-}" ]; then run rm -rf "$root/opt/shoal"; fi # else dpkg does
}

# Containers, mounts, networks and cgroups of every cluster name that this host was installed with.
remove_containers() {
  local directory names=()
  if [ -n "$root" ] || [ ! -x /usr/local/bin/shoal ]; then return 0; fi
  names=(local $(sed -n 's/.*--name \([a-z][a-z0-9]*\).*/\1/p' /etc/shoal/*.env 2>/dev/null))
  for directory in /var/lib/shoal /run/shoal; do mark_as_ours "$directory" "${names[-1]}"; done
  run /usr/local/bin/shoal down --name "${names[-1]}" --state-dir /var/lib/shoal --run-dir /run/shoal
}

# `shoal down` removes only directories with this mark, which `shoal up` makes.
mark_as_ours() {
  if [ ! -d "$1" ] || [ -e "$1/cluster.json" ]; then return 0; fi
  printf '{"name":"%s","stateDir":"/var/lib/shoal","runDir":"/run/shoal","ownerPid":0,"ownerStartTime":"0"}\n' "$2" |
    write_file 644 "$1/cluster.json"
}

remove_state() {
  local directory
  for directory in "$root/var/lib/shoal" "$root/run/shoal"; do
    if grep -qs " $directory/" /proc/self/mountinfo; then die "something is still mounted below $directory: it is left alone"; fi
    run rm -rf "$directory"
  done
  run rm -rf "$root/etc/shoal"
  if [ -z "$root" ] && getent group shoal >/dev/null; then run groupdel shoal; fi
}

do_install() {
  local others=()
  require_root
  require_host
  refuse_local_cluster
  find_release
  refuse_downgrade
  mapfile -t others < <(installed_roles | grep -vx "$role")
  install_prerequisites "$role"
  require_libraries "$role" ${others[@]+"${others[@]}"}
  add_group
  place_release
  switch_release
  write_command
  write_configuration
  write_unit "$role"
  start_units "$role"
  restart_others ${others[@]+"${others[@]}"}
  await_start
  finish_join
  prune_releases
  finished "Shoal $version is installed as $role"
}

restart_others() {
  local each
  changed=no # so far it was about another role
  for each in "$@"; do
    write_unit "$each"
    restart_units "$each"
    changed=no
  done
}

do_upgrade() {
  local roles=()
  require_root
  require_host
  find_release
  refuse_downgrade
  mapfile -t roles < <(installed_roles)
  install_prerequisites ${roles[@]+"${roles[@]}"}
  require_libraries ${roles[@]+"${roles[@]}"}
  place_release
  switch_release
  write_command
  restart_others ${roles[@]+"${roles[@]}"}
  prune_releases
  finished "Shoal is upgraded to $version; roles on this host: ${roles[*]:-none yet}"
}

do_uninstall() {
  local roles=()
  require_root
  mapfile -t roles < <(installed_roles)
  stop_units ${roles[@]+"${roles[@]}"}
  if is_on "$purge"; then remove_containers; fi
  remove_program
  if is_on "$purge"; then
    remove_state
    finished "Shoal is removed, with its containers, state and configuration"
  else
    finished "Shoal is removed. Left: running containers, /var/lib/shoal and /etc/shoal (uninstall --purge removes those)"
  fi
}

# dpkg has unpacked the release; roles are installed by hand, afterwards.
package_configure() {
  local roles=()
  version=$(dpkg-query -W -f '${Version}' shoal)
  place=$root/opt/shoal/releases/$version
  tree=$place
  new_program=yes
  find_node || die "Node.js 20.19 or later is missing ($(describe_node))"
  add_group
  switch_release
  write_command
  mapfile -t roles < <(installed_roles)
  restart_others ${roles[@]+"${roles[@]}"}
  if [ ${#roles[@]} -eq 0 ]; then say "make this host a node: /opt/shoal/current/deploy/install.sh --help"; fi
}

# See deb-postinst(5), deb-prerm(5) and deb-postrm(5) for the arguments.
do_package() {
  case $DPKG_MAINTSCRIPT_NAME:${1:-} in
    postinst:configure) package_configure ;;
    prerm:remove) do_uninstall ;;
    postrm:purge) remove_state ;;
  esac
}

main() {
  if [ "${DPKG_MAINTSCRIPT_PACKAGE:-}" = shoal ]; then
    do_package "$@"
    return 0
  fi
  parse "$@"
  check_options
  case $action in
    install) do_install ;;
    upgrade) do_upgrade ;;
    uninstall) do_uninstall ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
}

main "$@"
