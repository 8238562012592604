import { type BuiltImage, buildImage, buildLayer } from '../../agent/image/build-tar.ts';
import { BUSYBOX_PATH, busyboxLayer } from '../../agent/image/busybox-layer.ts';

/** What the example stack names. It is made on the machine and exists in no registry. */
export const EXAMPLE_IMAGE = 'shoal/example:latest';

/**
 * busybox httpd answers a directory that has no index.html with cgi-bin/index.cgi. It listens for IPv6, so an IPv4
 * client is [::ffff:10.0.0.1] to it.
 */
const ANSWER = `#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
printf 'Hello from container %s\\n' "$(hostname)"
address=\${REMOTE_ADDR#\\[::ffff:}
printf 'you are %s\\n' "\${address%]}"
`;

/**
 * The example's web server, made only from this machine's busybox-static: it answers, on port 80, with its container's
 * hostname and the address that the request came from. Give it to ImageService.importTar by `imageArchive([image])`.
 */
export async function buildExampleImage(): Promise<BuiltImage> {
  const web = await buildLayer([
    { kind: 'directory', path: 'www' },
    { kind: 'directory', path: 'www/cgi-bin' },
    { kind: 'file', path: 'www/cgi-bin/index.cgi', content: ANSWER, mode: 0o755 },
  ]);
  return buildImage(EXAMPLE_IMAGE, [await busyboxLayer(), web], {
    Env: [BUSYBOX_PATH],
    Entrypoint: ['/bin/httpd', '-f', '-p', '80', '-h', '/www'],
    ExposedPorts: { '80/tcp': {} },
  });
}
