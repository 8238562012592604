#ifndef SHOAL_FILE_BATCH_INTERNAL_H
#define SHOAL_FILE_BATCH_INTERNAL_H

#include <cjson/cJSON.h>

#include "shoal.h"

/* The two halves of shoal_file_batch_write; request may be NULL: nothing. The step of every failure begins with
 * "files".
 */
int file_batch_directories(const cJSON *request, struct shoal_error *err);
int file_batch_files(const cJSON *request, struct shoal_error *err);

#endif
