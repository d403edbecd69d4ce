/*
 * Floor is the least that a server of Motion JPEG can do: it writes the same
 * bytes to every client, again and again, and nothing else. There is no camera.
 *
 *	floor PORT CLIENTS FPS SIZE
 *
 * It waits until so many clients have connected. Then each of them is sent a
 * part with SIZE bytes of no JPEG, FPS times a second, by one blocking write. It
 * is up to 3 bytes longer: what begins and ends at a whole word is copied fastest.
 */
#include <err.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	HEADER = 128, /* bytes, more than the header of a part has */
	WORD = 4,     /* bytes */
};

static const char greeting[] =
	"HTTP/1.1 200 OK\r\n"
	"Content-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
	"--frame\r\n";
static const char boundary[] = "\r\n--frame\r\n";

static int
listen_at(int port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 64))
		err(1, "port %d", port);
	return fd;
}

/* put writes all of it. A client that left is what ends this program. */
static void
put(int fd, const char *b, size_t n)
{
	if (write(fd, b, n) != (ssize_t)n)
		exit(0);
}

/* begin writes the header of a part with so many bytes and returns its length. */
static int
begin(char *part, int size, const struct timespec *now)
{
	return snprintf(part, HEADER,
		"Content-Type: image/jpeg\r\nContent-Length: %d\r\n"
		"X-Timestamp: %ld.%06ld\r\n\r\n",
		size, (long)now->tv_sec, now->tv_nsec / 1000);
}

int
main(int argc, char **argv)
{
	if (argc != 5)
		errx(2, "usage: floor PORT CLIENTS FPS SIZE");
	int clients = atoi(argv[2]), fps = atoi(argv[3]), size = atoi(argv[4]);
	int end = sizeof boundary - 1;
	int listener = listen_at(atoi(argv[1]));
	int *fds = calloc(clients, sizeof *fds);
	char *part = calloc(1, HEADER + size + WORD + sizeof boundary);
	char request[1024];
	struct timespec due, now;

	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < clients; i++) {
		fds[i] = accept(listener, NULL, NULL);
		if (fds[i] < 0 || read(fds[i], request, sizeof request) <= 0)
			err(1, "client %d", i);
		put(fds[i], greeting, sizeof greeting - 1);
	}
	clock_gettime(CLOCK_MONOTONIC, &due);
	for (;;) {
		due.tv_nsec += 1000000000 / fps;
		if (due.tv_nsec >= 1000000000) {
			due.tv_sec++;
			due.tv_nsec -= 1000000000;
		}
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
		clock_gettime(CLOCK_REALTIME, &now);
		int header = begin(part, size, &now);
		int odd = (header + size + end) % WORD;
		int length = odd ? size + WORD - odd : size;
		begin(part, length, &now);
		memcpy(part + header + length, boundary, end);
		for (int i = 0; i < clients; i++)
			put(fds[i], part, header + length + end);
	}
}
