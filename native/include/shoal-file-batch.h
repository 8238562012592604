/* Directories and small files, made in one call: a container's start waits for a dozen of them. */
#ifndef SHOAL_FILE_BATCH_H
#define SHOAL_FILE_BATCH_H

#include "shoal.h"

/* request_json: {"directories": [{"path", "mode"}], "files": [{"path", "mode", "text", "replace"}]}, paths absolute.
 * First the directories, in order, then the files. A directory that is there stays as it is; those that are missing
 * above it are made as it is. A file is written anew; with "replace", beside it (PATH.new) and then renamed, so that
 * there is the old one or the new one as a whole. Stops at the first failure. Returns 0 or -errno. */
SHOAL_EXPORT int shoal_file_batch_write(const char *request_json, struct shoal_error *err);

#endif
