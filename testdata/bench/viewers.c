/*
 * Viewers are clients of a server of Motion JPEG, on this board, that tell how
 * well they were served and what that cost the server.
 *
 *	viewers watch PORT PATH CLIENTS WARM SECONDS PID
 *	viewers launch PORT PATH COMMAND [ARGUMENT...]
 *
 * The first is so many clients in one process. After WARM seconds it looks at
 * what happens in the next SECONDS, and prints lines of a name and a number:
 *
 *	frames     that all clients got, complete
 *	least      that one client got
 *	bytes      of all JPEGs
 *	cpu        nanoseconds for which the server, the process PID, ran
 *	user, system  the shares of that, as the kernel's timer saw them, in ticks
 *	switches   how often a thread of the server was switched to
 *	threads    of the server
 *	resident   kB of the server's memory, and mapped: of that the driver's
 *	age50, age99  microseconds from the camera's sending of a frame until a
 *	           client had its last byte: median and 99th percentile
 *	thread     NAME NANOSECONDS, a line for each thread that ran
 *
 * The second runs a server and prints, in microseconds since its start:
 *
 *	listening  when it accepted a connection
 *	first      when the client had the first picture of the camera
 *
 * Then it ends the server. A picture is the camera's unless its header has
 * X-UStreamer-Online: false.
 *
 * When the camera sent a frame is what testdata/webcam wrote into it, and from
 * other cameras X-Timestamp. Servers do not agree on what that is the time of.
 */
#include <ctype.h>
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	MAX_CLIENTS = 100,
	MAX_FRAMES = 1 << 17, /* that the ages of are kept */
	MAX_THREADS = 64,
	LINE = 128,           /* bytes of a header's line that matter */
	STAMP = 64,           /* bytes of a JPEG in which its stamp is */
};

/* A client takes the stream apart, byte by byte outside of the JPEGs. */
struct client {
	int fd;
	char line[LINE];
	int in_line;
	long length;     /* of the part's JPEG; 0 until known */
	long left;       /* bytes of the JPEG that are still to come */
	double sent;     /* X-Timestamp, seconds */
	int offline;     /* this part is no picture of the camera */
	char stamp[STAMP + 1];
	int in_stamp;
	long frames;
};

static struct client clients[MAX_CLIENTS];
static int counting;
static long frames, bytes;
static int32_t ages[MAX_FRAMES]; /* microseconds */

static double
clock_in(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* complete is called when a client has the last byte of a JPEG. */
static void
complete(struct client *c)
{
	double now = clock_in(CLOCK_REALTIME);
	double sent = c->sent;

	/* The webcam's comment is a line right behind the JPEG's start. */
	if (!memcmp(c->stamp, "\xff\xd8\xff\xfe", 4))
		sent = atof(c->stamp + 6);
	if (c->offline)
		return;
	c->frames++;
	if (!counting || frames >= MAX_FRAMES)
		return;
	ages[frames++] = (now - sent) * 1e6;
	bytes += c->length;
}

/* header_line takes a line of a header. An empty one behind a length is the end
 * of a part's header. */
static void
header_line(struct client *c)
{
	c->line[c->in_line] = 0;
	if (!strncasecmp(c->line, "Content-Length:", 15))
		c->length = atol(c->line + 15);
	else if (!strncasecmp(c->line, "X-Timestamp:", 12))
		c->sent = atof(c->line + 12);
	else if (!strncasecmp(c->line, "X-UStreamer-Online: false", 25))
		c->offline = 1;
	else if (!c->in_line && c->length) {
		c->left = c->length;
		c->in_stamp = 0;
	}
	c->in_line = 0;
}

static void
take(struct client *c, const char *b, long n)
{
	while (n > 0) {
		if (!c->left) {
			if (*b == '\n')
				header_line(c);
			else if (*b != '\r' && c->in_line < LINE - 1)
				c->line[c->in_line++] = *b;
			b++, n--;
			continue;
		}
		long m = n < c->left ? n : c->left;
		for (long i = 0; i < m && c->in_stamp < STAMP; i++)
			c->stamp[c->in_stamp++] = b[i];
		b += m, n -= m;
		c->left -= m;
		if (!c->left) {
			complete(c);
			c->length = c->offline = 0;
		}
	}
}

static int
dial(int port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
		return fd;
	close(fd);
	return -1;
}

static void
ask(struct client *c, const char *path)
{
	dprintf(c->fd, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
}

/* take_until takes what comes for any client, until the time has come. */
static void
take_until(int epoll, double end)
{
	static char b[64 << 10];
	struct epoll_event events[MAX_CLIENTS];
	double wait;

	while ((wait = end - clock_in(CLOCK_MONOTONIC)) > 0) {
		int n = epoll_wait(epoll, events, MAX_CLIENTS, wait * 1000 + 1);
		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;
			ssize_t got = recv(c->fd, b, sizeof b, MSG_DONTWAIT);
			if (got == 0 || (got < 0 && errno != EAGAIN))
				err(1, "client %d lost its server", (int)(c - clients));
			take(c, b, got);
		}
	}
}

/* Usage is what a process has used up, by thread. */
struct usage {
	int threads;
	struct {
		char name[16];
		int id;
		uint64_t ran; /* ns */
	} thread[MAX_THREADS];
	uint64_t ran;       /* ns */
	long user, system;  /* ticks */
	long switches;
};

static FILE *
open_proc(int pid, int thread, const char *name)
{
	char path[64];

	if (thread)
		snprintf(path, sizeof path, "/proc/%d/task/%d/%s", pid, thread, name);
	else
		snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	FILE *f = fopen(path, "r");
	if (!f)
		err(1, "%s", path);
	return f;
}

/* use_thread adds what a thread used: proc(5), stat and schedstat. */
static void
use_thread(struct usage *u, int pid, int id)
{
	unsigned long long ran;
	long user, system, slices;
	int i = u->threads++;
	FILE *f = open_proc(pid, id, "stat");

	if (fscanf(f, "%*d (%15[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld",
		u->thread[i].name, &user, &system) != 3)
		errx(1, "cannot read stat of thread %d", id);
	fclose(f);
	f = open_proc(pid, id, "schedstat");
	if (fscanf(f, "%llu %*u %ld", &ran, &slices) != 2)
		errx(1, "cannot read schedstat of thread %d", id);
	fclose(f);
	u->thread[i].id = id;
	u->thread[i].ran = ran;
	u->ran += ran;
	u->user += user;
	u->system += system;
	u->switches += slices;
}

static struct usage
use(int pid)
{
	struct usage u = {0};
	struct dirent *entry;
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/task", pid);
	DIR *tasks = opendir(path);
	if (!tasks)
		err(1, "%s", path);
	while ((entry = readdir(tasks)) && u.threads < MAX_THREADS)
		if (isdigit(entry->d_name[0]))
			use_thread(&u, pid, atoi(entry->d_name));
	closedir(tasks);
	return u;
}

static void
print_threads(struct usage *from, struct usage *to)
{
	for (int i = 0; i < to->threads; i++) {
		uint64_t ran = to->thread[i].ran;
		for (int k = 0; k < from->threads; k++)
			if (from->thread[k].id == to->thread[i].id)
				ran -= from->thread[k].ran;
		if (ran)
			printf("thread %s %llu\n", to->thread[i].name, (unsigned long long)ran);
	}
}

static void
print_memory(int pid)
{
	char line[512];
	int video = 0;
	long kilobytes, resident = 0, mapped = 0;
	FILE *f = open_proc(pid, 0, "status");

	while (fgets(line, sizeof line, f))
		sscanf(line, "VmRSS: %ld", &resident);
	fclose(f);
	f = open_proc(pid, 0, "smaps");
	while (fgets(line, sizeof line, f)) {
		if (islower(line[0]) || isdigit(line[0])) /* a mapping begins */
			video = strstr(line, "/dev/video") != NULL;
		else if (video && sscanf(line, "Rss: %ld", &kilobytes) == 1)
			mapped += kilobytes;
	}
	fclose(f);
	printf("resident %ld\nmapped %ld\n", resident, mapped);
}

static int
by_size(const void *a, const void *b)
{
	int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

	return (x > y) - (x < y);
}

static void
print_ages(void)
{
	qsort(ages, frames, sizeof *ages, by_size);
	printf("age50 %d\nage99 %d\n", (int)ages[frames / 2], (int)ages[frames * 99 / 100]);
}

static int
watch(int port, const char *path, int count, double warm, double seconds, int pid)
{
	int epoll = epoll_create1(0);
	long before[MAX_CLIENTS], least = MAX_FRAMES;

	if (count < 1 || count > MAX_CLIENTS)
		errx(2, "%d clients: must be 1 to %d", count, MAX_CLIENTS);
	for (int i = 0; i < count; i++) {
		struct client *c = &clients[i];
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
		if ((c->fd = dial(port)) < 0)
			err(1, "port %d", port);
		ask(c, path);
		epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
	}
	take_until(epoll, clock_in(CLOCK_MONOTONIC) + warm);

	for (int i = 0; i < count; i++)
		before[i] = clients[i].frames;
	struct usage from = use(pid);
	double began = clock_in(CLOCK_MONOTONIC);
	counting = 1;
	take_until(epoll, began + seconds);
	struct usage to = use(pid);

	for (int i = 0; i < count; i++)
		if (clients[i].frames - before[i] < least)
			least = clients[i].frames - before[i];
	printf("frames %ld\nleast %ld\nbytes %ld\n", frames, least, bytes);
	printf("cpu %llu\nuser %ld\nsystem %ld\nswitches %ld\nthreads %d\n",
		(unsigned long long)(to.ran - from.ran), to.user - from.user,
		to.system - from.system, to.switches - from.switches, to.threads);
	print_memory(pid);
	print_ages();
	print_threads(&from, &to);
	return 0;
}

static int
launch(int port, const char *path, char **command)
{
	struct client *c = &clients[0];
	char b[4096];
	double began = clock_in(CLOCK_MONOTONIC);
	int status, pid = fork();

	if (pid == 0) {
		execvp(command[0], command);
		err(1, "%s", command[0]);
	}
	while ((c->fd = dial(port)) < 0) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			errx(1, "%s ended", command[0]);
		usleep(1000);
	}
	printf("listening %.0f\n", (clock_in(CLOCK_MONOTONIC) - began) * 1e6);
	ask(c, path);
	while (c->frames == 0) {
		ssize_t n = read(c->fd, b, sizeof b);
		if (n <= 0)
			errx(1, "no picture");
		take(c, b, n);
	}
	printf("first %.0f\n", (clock_in(CLOCK_MONOTONIC) - began) * 1e6);
	kill(pid, SIGTERM);
	waitpid(pid, &status, 0);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc == 8 && !strcmp(argv[1], "watch"))
		return watch(atoi(argv[2]), argv[3], atoi(argv[4]), atof(argv[5]), atof(argv[6]), atoi(argv[7]));
	if (argc >= 5 && !strcmp(argv[1], "launch"))
		return launch(atoi(argv[2]), argv[3], argv + 4);
	errx(2, "usage: viewers watch PORT PATH CLIENTS WARM SECONDS PID | viewers launch PORT PATH COMMAND...");
}
