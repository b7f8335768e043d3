/* The sender for benchmarks/agent.py: the packets of a pcap onto an interface, at a rate or as fast as they go.
 *
 * The file is read once. Packets leave through an AF_XDP socket in copy mode, many a system call: on a
 * veth pair the fastest of the ways that were tried, 1.4 times sendmmsg or PACKET_TX_RING past the queueing discipline.
 * Round after round the source address of IPv4 packets is one more and the destination one less, so the flows are new
 * ones and checksums stay right (as tcpreplay --unique-ip has it). It knows what the benchmark's file has and no more:
 * a little-endian pcap of Ethernet frames without tags.
 *
 *   gcc -O3 -o send_pcap send_pcap.c
 *   send_pcap INTERFACE FILE PACKETS RATE ROUND
 *       RATE in packets/s, 0: as fast as they go; ROUND the number of the first round
 *   prints: packets seconds refused behind
 *       refused packets are those that the system took and then dropped; `behind` is the most that a packet left after
 *       its time, in seconds
 *
 * On a veth pair all that the kernel does for a packet up to the other end's ring is done within the system call, on
 * the sender's core.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BURST = 32, SLOTS = 8 * BURST, SLOT_BYTES = 2048 };
enum { FILE_HEADER = 24, PACKET_HEADER = 16, IPV4_SOURCE = 26, IPV4_END = 34 };
static const double SLEEP_S = 2e-4; /* a wait longer than this is slept, a shorter one is spun */

/* The socket, and what it shares with the kernel. */
struct outlet {
    int socket;
    unsigned char *memory; /* SLOTS frames */
    struct xdp_desc *descriptors;
    uint32_t *given, *taken;   /* frames given to the kernel, and taken by it */
    uint32_t *done, *returned; /* frames it is done with, and of those the ones we know of */
    uint32_t next;
    uint64_t refused;
};

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* Find the frames of a file in memory; returns their number. */
static size_t frames_of(unsigned char *file, size_t size, struct iovec **frames) {
    uint32_t magic = 0, length;
    size_t n = 0, room = 0;
    if (size >= FILE_HEADER) memcpy(&magic, file, 4);
    if (magic != 0xa1b2c3d4 && magic != 0xa1b23c4d) {
        fprintf(stderr, "not a little-endian pcap\n");
        exit(1);
    }
    for (size_t at = FILE_HEADER; at + PACKET_HEADER <= size; at += PACKET_HEADER + length) {
        memcpy(&length, file + at + 8, 4);
        if (at + PACKET_HEADER + length > size) break;
        if (length > SLOT_BYTES) {
            fprintf(stderr, "a frame of %u bytes is longer than %d\n", length, SLOT_BYTES);
            exit(1);
        }
        if (n == room) {
            room = room ? 2 * room : 1024;
            if (!(*frames = realloc(*frames, room * sizeof **frames))) fail("no memory for the frames");
        }
        (*frames)[n++] = (struct iovec){file + at + PACKET_HEADER, length};
    }
    if (n == 0) {
        fprintf(stderr, "no packets in the file\n");
        exit(1);
    }
    return n;
}

/* Make the flows of some frames those of so many rounds later. */
static void renew(struct iovec *frames, size_t n, uint32_t rounds) {
    for (size_t i = 0; i < n; i++) {
        unsigned char *frame = frames[i].iov_base;
        uint32_t addresses[2];
        if (frames[i].iov_len < IPV4_END || frame[12] != 0x08 || frame[13] != 0x00) continue;
        memcpy(addresses, frame + IPV4_SOURCE, 8);
        addresses[0] = htonl(ntohl(addresses[0]) + rounds);
        addresses[1] = htonl(ntohl(addresses[1]) - rounds);
        memcpy(frame + IPV4_SOURCE, addresses, 8);
    }
}

static unsigned char *map(int fd, size_t size, off_t offset) {
    int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    void *found = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_POPULATE, fd, offset);
    if (found == MAP_FAILED) fail("no memory for the rings");
    return found;
}

static void set(int fd, int option, const void *value, socklen_t size) {
    if (setsockopt(fd, SOL_XDP, option, value, size)) fail("no rings");
}

static struct outlet open_outlet(const char *interface) {
    struct outlet out = {.socket = socket(AF_XDP, SOCK_RAW, 0)};
    if (out.socket < 0) fail("no AF_XDP socket");
    out.memory = map(-1, SLOTS * SLOT_BYTES, 0);
    struct xdp_umem_reg frames = {.addr = (uintptr_t)out.memory, .len = SLOTS * SLOT_BYTES, .chunk_size = SLOT_BYTES};
    struct xdp_mmap_offsets at;
    socklen_t size = sizeof at;
    int slots = SLOTS;
    set(out.socket, XDP_UMEM_REG, &frames, sizeof frames);
    set(out.socket, XDP_UMEM_FILL_RING, &slots, sizeof slots);
    set(out.socket, XDP_UMEM_COMPLETION_RING, &slots, sizeof slots);
    set(out.socket, XDP_TX_RING, &slots, sizeof slots);
    if (getsockopt(out.socket, SOL_XDP, XDP_MMAP_OFFSETS, &at, &size)) fail("no rings");
    unsigned char *give = map(out.socket, at.tx.desc + SLOTS * sizeof(struct xdp_desc), XDP_PGOFF_TX_RING);
    unsigned char *back = map(out.socket, at.cr.desc + SLOTS * sizeof(uint64_t), XDP_UMEM_PGOFF_COMPLETION_RING);
    out.given = (uint32_t *)(give + at.tx.producer);
    out.taken = (uint32_t *)(give + at.tx.consumer);
    out.descriptors = (struct xdp_desc *)(give + at.tx.desc);
    out.done = (uint32_t *)(back + at.cr.producer);
    out.returned = (uint32_t *)(back + at.cr.consumer);
    struct sockaddr_xdp to = {
        .sxdp_family = AF_XDP, .sxdp_flags = XDP_COPY, .sxdp_ifindex = if_nametoindex(interface)};
    if (bind(out.socket, (struct sockaddr *)&to, sizeof to)) fail(interface);
    return out;
}

/* Send some frames, a burst at most; when it returns, the kernel has copied them. */
static void send_frames(struct outlet *out, const struct iovec *frames, size_t n) {
    for (size_t i = 0; i < n; i++, out->next++) {
        uint32_t slot = out->next % SLOTS;
        memcpy(out->memory + slot * SLOT_BYTES, frames[i].iov_base, frames[i].iov_len);
        out->descriptors[slot] = (struct xdp_desc){.addr = slot * SLOT_BYTES, .len = frames[i].iov_len};
    }
    __atomic_store_n(out->given, out->next, __ATOMIC_RELEASE);
    while (__atomic_load_n(out->taken, __ATOMIC_ACQUIRE) != out->next)
        if (sendto(out->socket, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0) {
            if (errno != EAGAIN && errno != EBUSY && errno != ENOBUFS && errno != EINTR) fail("cannot send");
            out->refused += errno == EBUSY;
        }
    __atomic_store_n(out->returned, __atomic_load_n(out->done, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
}

/* Wait until a time; returns by how much it is past. */
static double wait_until(double due) {
    double early;
    while ((early = due - now_s()) > 0)
        if (early > SLEEP_S) usleep((early - SLEEP_S / 2) * 1e6);
    return -early;
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: send_pcap INTERFACE FILE PACKETS RATE ROUND\n");
        return 2;
    }
    uint64_t packets = strtoull(argv[3], NULL, 10);
    double rate = atof(argv[4]), behind = 0;
    struct stat about;
    int in = open(argv[2], O_RDONLY);
    if (in < 0 || fstat(in, &about)) fail(argv[2]);
    unsigned char *file = mmap(NULL, about.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_POPULATE, in, 0);
    if (file == MAP_FAILED) fail(argv[2]);
    struct iovec *frames = NULL;
    size_t n = frames_of(file, about.st_size, &frames), at = 0, many;
    renew(frames, n, strtoul(argv[5], NULL, 10));
    struct outlet out = open_outlet(argv[1]);
    double begun = now_s();
    for (uint64_t sent = 0; sent < packets; sent += many) {
        double late = rate > 0 ? wait_until(begun + sent / rate) : 0;
        if (late > behind) behind = late;
        many = packets - sent < BURST ? packets - sent : BURST;
        if (many > n - at) many = n - at;
        send_frames(&out, frames + at, many);
        renew(frames + at, many, 1);
        at = at + many == n ? 0 : at + many;
    }
    double took = now_s() - begun;
    printf("%llu %.6f %llu %.6f\n", (unsigned long long)packets, took, (unsigned long long)out.refused, behind);
    return 0;
}
