import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import koffi from 'koffi';

/** The directory that holds package.json: this file runs from dist/, below it. */
function packageRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'package.json'))) {
    const above = dirname(directory);
    if (above === directory) throw new Error('package.json is not above the program');
    directory = above;
  }
  return directory;
}

/** Where libshoal.so and shoal-monitor are: native/build of the package, or SHOAL_NATIVE_DIR. */
export const nativeDir = process.env['SHOAL_NATIVE_DIR'] ?? join(packageRoot(), 'native', 'build');

// The C code of an asynchronous call runs on a stack of this size; the default of 128 KiB is little for libnftables and
// libseccomp. Calls beyond libuv's threads are queued.
koffi.config({ async_stack_size: 1024 * 1024, async_heap_size: 512 * 1024, max_async_calls: 4096 });

/** The native library. Importing this file loads it. */
export const library = koffi.load(join(nativeDir, 'libshoal.so'));
