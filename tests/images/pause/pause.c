/* Holds a pod's namespaces: sleeps until it is told to end. As process 1 it also reaps what others leave behind. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static void end(int signal) { (void)signal; _exit(0); }

int main(void) {
	signal(SIGINT, end);
	signal(SIGTERM, end);
	signal(SIGCHLD, SIG_IGN);
	for (;;) pause();
}
