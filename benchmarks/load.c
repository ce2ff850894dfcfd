/* The load maker of `make bench`: clients and servers of a network in one process.
 *
 *   load CLIENTS BALANCER SERVERS PORT PROCESSOR TARGETS
 *
 * Three network namespaces (paths), the servers' port, the processor to stay on, and a file with an
 * address and a port in each line. Clients and servers share a process and a thread because then the
 * kernel does all the way between them, the balancer's part too, in this process's time: a packet that
 * goes through a veth is handled before the system call that sent it returns. So its processor
 * time is what a connection costs, whatever else the machine does.
 *
 * Orders come by standard input, a line each; each is answered by a line of JSON:
 *
 *   syn COUNT                   first packets of so many connections, by a raw socket
 *   connect COUNT AT_ONCE RATE  whole connections: connect, 64 bytes, the answer, close. RATE a second; 0 is
 *                               as many as possible
 *   open COUNT                  connections that stay
 *   echo COUNT                  64 bytes and back on them, in turn
 *   close                       ends them
 *   flush                       the balancer forgets all connections
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 64, CLIENTS = 4096, FIRST_PORT = 1024, PORTS = 64000, PATIENCE = 3 };
enum what { NONE, LISTENER, SERVER, CONNECTING, ASKING, ENDING, HELD };

static const char text[SIZE] = "................................................................";
static struct sockaddr_in *targets;
static unsigned target_count, next_connection;
static int clients_ns, servers_ns, epoll, netlink, raw, listener;
static struct slot { enum what what; uint64_t since; } *slots; /* by descriptor */
static int slot_count;
static int *held, held_count;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static int namespace(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) die(path);
    return fd;
}

static void enter(int fd) {
    if (setns(fd, CLONE_NEWNET)) die("setns");
}

/* The client of a connection: each has 4 096 addresses to come from, then the next port. */
static void source(unsigned number, uint32_t *address, uint16_t *port) {
    *address = htonl((198u << 24 | 18u << 16) + number % CLIENTS + 1);
    *port = htons(FIRST_PORT + number / CLIENTS % PORTS);
}

static const struct sockaddr_in *target(unsigned number) {
    return &targets[(number * 2654435761u) % target_count];
}

static void watch(int fd, enum what what, unsigned events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    int first = slots[fd].what == NONE;
    slots[fd].what = what;
    if (epoll_ctl(epoll, first ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event)) die("epoll_ctl");
}

static void drop(int fd) {
    slots[fd].what = NONE;
    close(fd);
}

/* Resets instead of TIME-WAIT, which would fill the kernel's table while others are measured. */
static void reset_at_end(int fd) {
    struct linger linger = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

static void accept_all(void) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        if (fd >= slot_count) die("too many connections");
        watch(fd, SERVER, EPOLLIN);
    }
}

static void serve(int fd) {
    char buffer[4096];
    ssize_t got = read(fd, buffer, sizeof buffer);
    if (got > 0) {
        if (write(fd, buffer, got) != got) drop(fd);
        return;
    }
    if (got < 0 && errno == EAGAIN) return;
    reset_at_end(fd);
    drop(fd);
}

static int begin(void) {
    struct sockaddr_in from = {.sin_family = AF_INET};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || fd >= slot_count) die("socket");
    unsigned number = next_connection++;
    source(number, &from.sin_addr.s_addr, &from.sin_port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&from, sizeof from)) die("bind");
    slots[fd].since = now(CLOCK_MONOTONIC);
    if (connect(fd, (const struct sockaddr *)target(number), sizeof from) && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    watch(fd, CONNECTING, EPOLLOUT);
    return fd;
}

struct result { unsigned ok, refused, reset, silent, late; uint64_t slowest, last_failure; };

/* One event of a client; 1 when its connection is over. */
static int step(int fd, struct result *result) {
    char buffer[SIZE];
    struct slot *slot = &slots[fd];
    if (slot->what == CONNECTING) {
        int error = 0;
        socklen_t length = sizeof error;
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
        if (error || write(fd, text, SIZE) != SIZE) {
            if (error == ETIMEDOUT) result->silent++;
            else if (error == ECONNREFUSED) result->refused++;
            else result->reset++;
            drop(fd);
            return 1;
        }
        watch(fd, ASKING, EPOLLIN);
        return 0;
    }
    ssize_t got = read(fd, buffer, SIZE);
    if (slot->what == ASKING) {
        if (got == SIZE) {
            uint64_t took = now(CLOCK_MONOTONIC) - slot->since;
            result->ok++;
            if (took > 900000000ull) result->late++;
            if (took > result->slowest) result->slowest = took;
            shutdown(fd, SHUT_WR);
            slot->what = ENDING;
            return 0;
        }
        if (got < 0 && errno == EAGAIN) return 0;
        result->reset++;
    }
    drop(fd);
    return 1;
}

static void connections(unsigned count, unsigned at_once, unsigned rate) {
    struct epoll_event events[256];
    struct result result = {0};
    unsigned begun = 0, over = 0;
    unsigned failed = 0;
    uint64_t cpu = now(CLOCK_PROCESS_CPUTIME_ID), start = now(CLOCK_MONOTONIC), looked = start;
    while (over < count) {
        uint64_t time = now(CLOCK_MONOTONIC);
        if (result.refused + result.reset + result.silent > failed) {
            failed = result.refused + result.reset + result.silent;
            result.last_failure = time - start;
        }
        unsigned due = rate ? (time - start) * rate / 1000000000ull + 1 : count;
        if (due > count) due = count;
        while (begun < due && begun - over < at_once) {
            if (begin() < 0) result.refused++, over++;
            begun++;
        }
        int ready = epoll_wait(epoll, events, 256, rate ? 1 : 100);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (slots[fd].what == LISTENER) accept_all();
            else if (slots[fd].what == SERVER) serve(fd);
            else if (slots[fd].what >= CONNECTING) over += step(fd, &result);
        }
        if (time - looked > 500000000ull) {
            looked = time;
            for (int fd = 0; fd < slot_count; fd++) {
                enum what what = slots[fd].what;
                if (what < CONNECTING || what > ENDING || time < slots[fd].since) continue;
                if (time - slots[fd].since < PATIENCE * 1000000000ull) continue;
                if (what != ENDING) result.silent++;
                reset_at_end(fd);
                drop(fd);
                over++;
            }
        }
    }
    printf("{\"count\": %u, \"cpu\": %.9f, \"wall\": %.9f, \"ok\": %u, \"refused\": %u, \"reset\": %u, "
           "\"silent\": %u, \"late\": %u, \"slowest\": %.6f, \"last_failure\": %.6f}\n",
           count, (now(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e9, (now(CLOCK_MONOTONIC) - start) / 1e9,
           result.ok, result.refused, result.reset, result.silent, result.late,
           result.slowest / 1e9, result.last_failure / 1e9);
}

static void hold(unsigned count) {
    struct epoll_event events[256];
    struct result result = {0};
    uint64_t start = now(CLOCK_MONOTONIC);
    held = realloc(held, (held_count + count) * sizeof *held);
    unsigned opened = 0;
    for (unsigned i = 0; i < count; i++) {
        int fd = begin(), open = 1;
        while (fd >= 0 && open && slots[fd].what != HELD) {
            int ready = epoll_wait(epoll, events, 256, 100);
            for (int each = 0; each < ready; each++) {
                int one = events[each].data.fd;
                if (slots[one].what == LISTENER) accept_all();
                else if (slots[one].what == SERVER) serve(one);
                else if (one != fd) continue;
                else if (slots[fd].what == ASKING && read(fd, (char[SIZE]){0}, SIZE) == SIZE) {
                    epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
                    slots[fd].what = HELD;
                } else if (slots[fd].what == CONNECTING && step(fd, &result)) open = 0;
            }
            if (now(CLOCK_MONOTONIC) - start > 20000000000ull) break;
        }
        if (fd >= 0 && slots[fd].what == HELD) held[held_count++] = fd, opened++;
    }
    printf("{\"count\": %u}\n", opened);
}

static void echo(unsigned count) {
    struct epoll_event events[16];
    char buffer[SIZE];
    unsigned lost = 0;
    uint64_t cpu = now(CLOCK_PROCESS_CPUTIME_ID), start = now(CLOCK_MONOTONIC);
    for (unsigned i = 0; i < count; i++) {
        int fd = held[i % held_count], waits = 0;
        if (write(fd, text, SIZE) != SIZE) die("write");
        for (;;) {
            /* What answers in the kernel has the request at the server by now. */
            int ready = epoll_wait(epoll, events, 16, 1);
            for (int each = 0; each < ready; each++)
                if (slots[events[each].data.fd].what == SERVER) serve(events[each].data.fd);
            ssize_t got = recv(fd, buffer, SIZE, MSG_DONTWAIT);
            if (got == SIZE) break;
            if (got >= 0 || errno != EAGAIN || ++waits > 1000) {
                lost++;
                break;
            }
        }
    }
    printf("{\"count\": %u, \"cpu\": %.9f, \"wall\": %.9f, \"lost\": %u}\n", count,
           (now(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e9, (now(CLOCK_MONOTONIC) - start) / 1e9, lost);
}

static void release(void) {
    for (int i = 0; i < held_count; i++) {
        reset_at_end(held[i]);
        drop(held[i]);
    }
    held_count = 0;
    printf("{}\n");
}

static uint32_t sum(const void *data, size_t length, uint32_t so_far) {
    for (size_t i = 0; i < length; i += 2) {
        uint16_t word;
        memcpy(&word, (const char *)data + i, 2);
        so_far += word;
    }
    return so_far;
}

static uint16_t folded(uint32_t sum) {
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return ~sum;
}

enum { BATCH = 32 };
struct packet { struct iphdr ip; struct tcphdr tcp; };

static void fill(struct packet *packet, struct sockaddr_in *to, unsigned number) {
    const struct sockaddr_in *where = target(number);
    memset(packet, 0, sizeof *packet);
    packet->ip = (struct iphdr){.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP,
                                .tot_len = htons(sizeof *packet), .daddr = where->sin_addr.s_addr};
    uint32_t address;
    uint16_t port;
    source(number, &address, &port);
    packet->ip.saddr = address;
    packet->tcp = (struct tcphdr){.source = port, .dest = where->sin_port, .seq = htonl(number),
                                  .doff = 5, .syn = 1, .window = htons(65535)};
    struct { uint32_t from, to; uint16_t protocol, length; } pseudo = {
        address, where->sin_addr.s_addr, htons(IPPROTO_TCP), htons(sizeof packet->tcp)};
    packet->tcp.check = folded(sum(&packet->tcp, sizeof packet->tcp, sum(&pseudo, sizeof pseudo, 0)));
    *to = *where;
    to->sin_port = 0;
}

static void syns(unsigned count) {
    static struct packet packets[BATCH];
    static struct sockaddr_in to[BATCH];
    struct iovec vectors[BATCH];
    struct mmsghdr messages[BATCH];
    unsigned sent = 0;
    uint64_t cpu = 0, start = now(CLOCK_MONOTONIC);
    while (sent < count) {
        unsigned batch = count - sent < BATCH ? count - sent : BATCH;
        for (unsigned i = 0; i < batch; i++) {
            fill(&packets[i], &to[i], next_connection++);
            vectors[i] = (struct iovec){&packets[i], sizeof packets[i]};
            messages[i] = (struct mmsghdr){.msg_hdr = {.msg_name = &to[i], .msg_namelen = sizeof to[i],
                                                       .msg_iov = &vectors[i], .msg_iovlen = 1}};
        }
        uint64_t before = now(CLOCK_PROCESS_CPUTIME_ID);
        int got = sendmmsg(raw, messages, batch, 0);
        cpu += now(CLOCK_PROCESS_CPUTIME_ID) - before;
        if (got < 0) die("sendmmsg");
        sent += got;
    }
    printf("{\"count\": %u, \"cpu\": %.9f, \"wall\": %.9f}\n", count, cpu / 1e9,
           (now(CLOCK_MONOTONIC) - start) / 1e9);
}

static void flush(void) {
    struct { struct nlmsghdr head; struct nfgenmsg body; } message = {
        .head = {.nlmsg_len = sizeof message, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
                 .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE},
        .body = {.nfgen_family = AF_INET}};
    char answer[1024];
    if (send(netlink, &message, sizeof message, 0) < 0 || recv(netlink, answer, sizeof answer, 0) < 0)
        die("flush");
    printf("{}\n");
}

static void read_targets(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) die(path);
    char address[64];
    unsigned port;
    while (fscanf(file, "%63s %u", address, &port) == 2) {
        if (!(target_count & (target_count - 1)))
            targets = realloc(targets, (target_count ? target_count * 2 : 1) * sizeof *targets);
        targets[target_count] = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        if (inet_pton(AF_INET, address, &targets[target_count++].sin_addr) != 1) die(address);
    }
    fclose(file);
}

int main(int count, char **arguments) {
    if (count != 7) return fprintf(stderr, "see the source for its arguments\n"), 2;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    slot_count = limit.rlim_max > 65536 ? 65536 : limit.rlim_max;
    slots = calloc(slot_count, sizeof *slots);
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(atoi(arguments[5]), &only);
    sched_setaffinity(0, sizeof only, &only);
    read_targets(arguments[6]);
    clients_ns = namespace(arguments[1]);
    servers_ns = namespace(arguments[3]);
    epoll = epoll_create1(EPOLL_CLOEXEC);

    enter(namespace(arguments[2]));
    netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    enter(servers_ns);
    int on = 1;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[4]))};
    if (bind(listener, (struct sockaddr *)&any, sizeof any) || listen(listener, 4096)) die("listen");
    watch(listener, LISTENER, EPOLLIN);
    enter(clients_ns);
    raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
    if (netlink < 0 || raw < 0) die("socket");

    char line[256], order[16];
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin)) {
        unsigned a = 0, b = 1, c = 0;
        if (sscanf(line, "%15s %u %u %u", order, &a, &b, &c) < 1) continue;
        if (!strcmp(order, "syn")) syns(a);
        else if (!strcmp(order, "connect")) connections(a, b, c);
        else if (!strcmp(order, "open")) hold(a);
        else if (!strcmp(order, "echo") && held_count) echo(a);
        else if (!strcmp(order, "close")) release();
        else if (!strcmp(order, "flush")) flush();
        else return fprintf(stderr, "unknown order: %s", line), 2;
    }
    return 0;
}
