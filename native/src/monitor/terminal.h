/* A terminal of a container: made by a process in the container, its master side handed to the monitor. */
#ifndef SHOAL_MONITOR_TERMINAL_H
#define SHOAL_MONITOR_TERMINAL_H

#include <stdbool.h>
#include <sys/types.h>

#include "plan.h"

/* In the container, by the leader of a session without a terminal: opens one in the container's own devpts, sends the
 * master side over sync_fd (REPORT_TERMINAL), and makes it the controlling terminal and the standard streams. */
int terminal_make(const struct plan *plan, int sync_fd, struct shoal_error *err);

/* A message with a descriptor (REPORT_TERMINAL, REPORT_TREE, REPORT_SECCOMP). As send(2). */
int terminal_send(int sync_fd, int kind, int fd);
int terminal_send_of(int sync_fd, int kind, pid_t pid, int fd);

/* Puts the terminal that standard input is on at /dev/console. */
int terminal_console(struct shoal_error *err);

/* In the monitor: the next message of the child. As recv(2); *master_fd is replaced if it brings a terminal. */
ssize_t terminal_receive(int sync_fd, struct report *report, int *master_fd);

/* Hands a master side to who is at the other end of a console socket, as runc does: one message with its name and the
 * descriptor. Returns 0 or -errno. */
int terminal_pass(int console_fd, int master_fd);

/* "ROWS COLUMNS"; false for anything else. scanf would bring its whole machinery into a process that is kept small. */
bool terminal_parse_size(const char *text, unsigned int *rows, unsigned int *columns);

/* Nothing happens to a descriptor of -1. */
void terminal_resize(int master_fd, unsigned int rows, unsigned int columns);

#endif
