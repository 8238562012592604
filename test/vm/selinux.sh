#!/bin/busybox sh
# shoal-oci on a machine with SELinux (init.sh). Writes TAP.
NAME='shoal-oci mounts with the label of its config'
BUNDLE=/run/labelled
mkdir -p $BUNDLE/rootfs/bin $BUNDLE/rootfs/proc
for each in sh cat grep cut tr echo; do cp /bin/busybox $BUNDLE/rootfs/bin/$each; done
cat >$BUNDLE/config.json <<'JSON'
{"ociVersion":"1.1.0","root":{"path":"rootfs"},
 "process":{"user":{"uid":0,"gid":0},"env":["PATH=/bin"],"cwd":"/","selinuxLabel":"system_u:system_r:box_t:s0:c1,c2",
  "args":["sh","-c","tr -d '[:cntrl:]' < /proc/self/attr/current; echo; grep :box_file_t:s0:c1,c2 /proc/self/mounts | cut -d' ' -f2,3; echo x > /t/f && echo written; (: > /f) 2>/dev/null || echo refused"]},
 "mounts":[{"destination":"/proc","type":"proc","source":"proc"},
  {"destination":"/t","type":"tmpfs","source":"tmpfs"}],
 "linux":{"namespaces":[{"type":"pid"},{"type":"mount"},{"type":"network"},{"type":"cgroup"}],
  "mountLabel":"system_u:object_r:box_file_t:s0:c1,c2"}}
JSON
cat >/run/expected <<'END'
system_u:system_r:box_t:s0:c1,c2
/t tmpfs
written
refused
END
# Through a pipe: a file of another label would be closed.
/tests/shoal-oci --root /run/oci run --bundle $BUNDLE labelled 2>&1 | cat >/run/said
if cmp -s /run/expected /run/said; then
  echo "ok - $NAME"
else
  sed 's/^/# /' /run/said
  echo "not ok - $NAME"
fi
