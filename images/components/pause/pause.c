/*
 * pause is the first process of every pod. It holds the pod's namespaces open, takes in the children that others leave
 * behind (it is process 1 where a pod shares its process namespace), and ends at once when asked to. It is C because
 * every pod keeps one: a Go program would hold some MiB more in each of them.
 */
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int number) {
	(void)number;
	_exit(0);
}

static void reap(int number) {
	(void)number;
	while (waitpid(-1, NULL, WNOHANG) > 0) {
	}
}

static int handle(int number, void (*handler)(int), int flags) {
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
	return sigaction(number, &action, NULL);
}

int main(void) {
	if (handle(SIGINT, end, 0) || handle(SIGTERM, end, 0) || handle(SIGCHLD, reap, SA_NOCLDSTOP)) {
		return 1;
	}
	for (;;) {
		pause();
	}
}
