/* The practical limit for benchmarks/sample_and_hold.py: the table of monitors/table.py, rule for rule, in C.
 *
 * Same arrays, same buckets of eight slots, same ranks, so that the two final tables can be compared byte by byte.
 * Lookups go ahead of their use in batches, with the cache lines of what they find asked for. Explicit vector
 * instructions where the processor has them.
 *
 *   gcc -O3 -march=native -fno-math-errno -shared -fPIC -o sample_and_hold.so sample_and_hold.c -lm
 *
 * Out of scope: log of moves and slots for the measures (the benchmark's measure is the volume).
 */
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

enum { WAYS = 8, COUNTS = 8, BATCH = 32, VISITS = 2 + 16 + 128, FAR = 1 << 17, CLOCK_SHIFT = 6 };
enum { PACKET, TAGGED, HINT, SELECT };
enum { PACKETS, BYTES, FIRST_NS, LAST_NS, SELECTED_NS, PRE_PACKETS, PRE_BYTES, SAMPLED_NS };
enum { REFUSED_SAMPLES, SELECTED_COLLISIONS, EVICTIONS, MOVES, SELECTED_FLOWS, LOGGED, BAR, CLOCK, GHOSTS, FORGOTTEN };
enum { GHOST = PRE_PACKETS, VOLUME = PRE_BYTES, SINCE_NS = SAMPLED_NS, MOST_HOMELESS = 4 };

#define SELECTED (1ull << 63)
#define ANNOUNCED (1ull << 62)
#define STANDING (3ull << 62)
#define KNOWN (1ull << 62)
#define SPARE 255ull
#define HOSTING (SELECTED | KNOWN | SPARE)
#define MOST_PACKETS (1 << 23)
#define BYTES_MASK ((1ull << 40) - 1)
#define NOWHERE UINT64_MAX
#define CLOCK_UNITS 65536.0

static inline unsigned ways_equal(const uint64_t *bucket, uint64_t word) {
#if defined(__AVX512F__)
    return _mm512_cmpeq_epi64_mask(_mm512_loadu_si512(bucket), _mm512_set1_epi64((long long)word));
#elif defined(__AVX2__)
    __m256i all = _mm256_set1_epi64x((long long)word);
    __m256i low = _mm256_cmpeq_epi64(_mm256_loadu_si256((const __m256i *)bucket), all);
    __m256i high = _mm256_cmpeq_epi64(_mm256_loadu_si256((const __m256i *)(bucket + 4)), all);
    return (unsigned)(_mm256_movemask_pd(_mm256_castsi256_pd(low)) | _mm256_movemask_pd(_mm256_castsi256_pd(high)) << 4);
#else
    unsigned mask = 0;
    for (int way = 0; way < WAYS; way++)
        mask |= (unsigned)(bucket[way] == word) << way;
    return mask;
#endif
}

static inline unsigned ways_alike(const uint64_t *bucket, uint64_t mask, uint64_t word) {
#if defined(__AVX512F__)
    __m512i words = _mm512_and_si512(_mm512_loadu_si512(bucket), _mm512_set1_epi64((long long)mask));
    return _mm512_cmpeq_epi64_mask(words, _mm512_set1_epi64((long long)word));
#else
    unsigned found = 0;
    for (int way = 0; way < WAYS; way++)
        found |= (unsigned)((bucket[way] & mask) == word) << way;
    return found;
#endif
}

static inline unsigned ways_selected(const uint64_t *rank) {
    unsigned mask = 0;
    for (int way = 0; way < WAYS; way++)
        mask |= (unsigned)(rank[way] >= SELECTED) << way;
    return mask;
}

#if !defined(__AVX512F__)
static inline uint64_t least_word(const uint64_t *bucket) {
    uint64_t least = bucket[0];
    for (int way = 1; way < WAYS; way++)
        least = bucket[way] < least ? bucket[way] : least;
    return least;
}
#endif

static inline uint64_t first_bucket(uint64_t key, uint64_t buckets) { return ((key >> 32) * buckets >> 32) * WAYS; }

static inline uint64_t second_bucket(uint64_t key, uint64_t buckets) {
    uint64_t slot = ((key & UINT32_MAX) * buckets >> 32) * WAYS;
    if (slot == first_bucket(key, buckets))
        slot = slot + WAYS == buckets * WAYS ? 0 : slot + WAYS;
    return slot;
}

/* No branches: whether and in which bucket a key is found cannot be predicted. */
static inline uint64_t find(const uint64_t *fp, uint64_t one, uint64_t two, uint64_t key) {
    uint64_t found = ways_equal(fp + one, key) | ways_equal(fp + two, key) << WAYS;
    uint64_t way = (uint64_t)__builtin_ctzll(found | 1ull << 2 * WAYS), in_two = 0 - (way >> 3 & 1);
    return (one + (in_two & (two - one)) + (way & (WAYS - 1))) | (0 - (way >> 4));
}

static inline uint64_t free_slot(const uint64_t *rank, uint64_t one, uint64_t two) {
    unsigned free_one = ways_equal(rank + one, 0), free_two = ways_equal(rank + two, 0);
    if (!(free_one | free_two))
        return NOWHERE;
    if (__builtin_popcount(free_one) >= __builtin_popcount(free_two))
        return one + 31 - (unsigned)__builtin_clz(free_one);
    return two + 31 - (unsigned)__builtin_clz(free_two);
}

/* No branches here either: which way is the lowest cannot be predicted. */
static inline uint64_t lowest(const uint64_t *rank, uint64_t one, uint64_t two) {
#if defined(__AVX512F__)
    uint64_t least = _mm512_reduce_min_epu64(
        _mm512_min_epu64(_mm512_loadu_si512(rank + one), _mm512_loadu_si512(rank + two)));
#else
    uint64_t a = least_word(rank + one), b = least_word(rank + two), least = a < b ? a : b;
#endif
    uint64_t way_one = (uint64_t)__builtin_ctz(ways_equal(rank + one, least) | 1u << WAYS);
    uint64_t way_two = (uint64_t)__builtin_ctz(ways_equal(rank + two, least) | 1u << WAYS);
    uint64_t in_two = 0 - (uint64_t)(way_two < way_one);
    return ((one + way_one) & ~in_two) | ((two + way_two) & in_two);
}

static inline uint64_t victim(const uint64_t *rank, uint64_t one, uint64_t two) {
    int in_one = __builtin_popcount(ways_selected(rank + one)), in_two = __builtin_popcount(ways_selected(rank + two));
    return lowest(rank, in_one <= in_two ? one : two, in_two <= in_one ? two : one);
}

/* Ghosts (monitors/ghost_kernels.py): flows counted in words that the slots of others do not need. */
struct homeless {
    unsigned count;
    struct {
        uint64_t flow, volume;
        int64_t since_ns;
    } ghost[MOST_HOMELESS];
};

static inline uint64_t volume_of(int64_t packets, int64_t size) { return (uint64_t)packets << 40 | (uint64_t)size; }

static inline uint64_t hash_of_ghost(uint64_t flow) { return (flow & SPARE) ? flow & SPARE : 1; }

static inline uint64_t ghost_in(uint64_t rank) { return (rank & STANDING) == SELECTED ? rank & SPARE : 0; }

static inline uint64_t find_ghost(const uint64_t *rank, const int64_t *stats, uint64_t one, uint64_t two,
                                  uint64_t flow) {
    uint64_t wanted = SELECTED | hash_of_ghost(flow);
    unsigned alike = ways_alike(rank + one, HOSTING, wanted) | ways_alike(rank + two, HOSTING, wanted) << WAYS;
    for (; alike; alike &= alike - 1) {
        unsigned way = (unsigned)__builtin_ctz(alike);
        uint64_t slot = way < WAYS ? one + way : two + way - WAYS;
        if ((uint64_t)stats[slot * COUNTS + GHOST] == flow)
            return slot;
    }
    return NOWHERE;
}

static inline void release(uint64_t *rank, int64_t *counters, uint64_t slot) {
    rank[slot] &= ~SPARE;
    counters[GHOSTS]--;
}

static inline void count_ghost(uint64_t *rank, int64_t *stats, int64_t *counters, uint64_t slot, uint32_t length) {
    uint64_t volume = (uint64_t)stats[slot * COUNTS + VOLUME];
    int full = (volume & BYTES_MASK) + length > BYTES_MASK;
    stats[slot * COUNTS + VOLUME] = (int64_t)(volume += volume_of(1, length));
    if (full || volume >> 40 >= MOST_PACKETS) {
        release(rank, counters, slot);
        counters[FORGOTTEN]++;
    }
}

static int lodge(uint64_t *rank, int64_t *stats, int64_t *counters, uint64_t one, uint64_t two, uint64_t flow,
                 uint64_t volume, int64_t since_ns) {
    unsigned empty = ways_alike(rank + one, HOSTING, SELECTED) | ways_alike(rank + two, HOSTING, SELECTED) << WAYS;
    if (!empty)
        return 0;
    unsigned way = (unsigned)__builtin_ctz(empty);
    uint64_t slot = way < WAYS ? one + way : two + way - WAYS;
    rank[slot] |= hash_of_ghost(flow);
    stats[slot * COUNTS + GHOST] = (int64_t)flow;
    stats[slot * COUNTS + VOLUME] = (int64_t)volume;
    stats[slot * COUNTS + SINCE_NS] = since_ns;
    counters[GHOSTS]++;
    return 1;
}

static inline void turn_out(struct homeless *homeless, uint64_t flow, uint64_t volume, int64_t since_ns) {
    homeless->ghost[homeless->count].flow = flow;
    homeless->ghost[homeless->count].volume = volume;
    homeless->ghost[homeless->count++].since_ns = since_ns;
}

static void turn_out_entry(const uint64_t *fp, const int64_t *stats, int64_t *counters, uint64_t slot,
                           struct homeless *homeless) {
    const int64_t *row = stats + slot * COUNTS;
    if (row[PACKETS] > 0 && row[PACKETS] < MOST_PACKETS && (uint64_t)row[BYTES] <= BYTES_MASK)
        turn_out(homeless, fp[slot], volume_of(row[PACKETS], row[BYTES]), row[FIRST_NS]);
    else
        counters[FORGOTTEN]++;
}

static void turn_out_ghost(uint64_t *rank, const int64_t *stats, int64_t *counters, uint64_t slot,
                           struct homeless *homeless) {
    const int64_t *row = stats + slot * COUNTS;
    if (ghost_in(rank[slot])) {
        turn_out(homeless, (uint64_t)row[GHOST], (uint64_t)row[VOLUME], row[SINCE_NS]);
        release(rank, counters, slot);
    }
}

static void lodge_all(uint64_t *rank, int64_t *stats, int64_t *counters, uint64_t buckets, struct homeless *homeless) {
    for (unsigned i = 0; i < homeless->count; i++) {
        uint64_t flow = homeless->ghost[i].flow;
        counters[FORGOTTEN] += !lodge(rank, stats, counters, first_bucket(flow, buckets), second_bucket(flow, buckets),
                                      flow, homeless->ghost[i].volume, homeless->ghost[i].since_ns);
    }
    homeless->count = 0;
}

static uint64_t make_room(uint64_t *fp, uint64_t *rank, int64_t *stats, uint64_t one, uint64_t two, uint64_t buckets,
                          uint64_t newcomer, int keeps_ghosts, struct homeless *homeless, int64_t *counters) {
    uint64_t bucket[VISITS] = {one, two}, via[VISITS], target = NOWHERE, least = newcomer;
    int parent[VISITS] = {-1, -1}, known = 2, step = 0;
    for (int visit = 0; visit < known; visit++) {
        uint64_t here = bucket[visit], slot = lowest(rank, here, here);
        if (rank[slot] < least) {
            target = slot;
            least = rank[slot];
            step = visit;
            if (least < SELECTED)
                break;
        }
        for (uint64_t resident = here; resident < here + WAYS && known < VISITS; resident++) {
            if (!fp[resident])
                continue;
            uint64_t other = second_bucket(fp[resident], buckets);
            bucket[known] = other == here ? first_bucket(fp[resident], buckets) : other;
            via[known] = resident;
            parent[known++] = visit;
        }
    }
    if (least >= SELECTED) {
        counters[SELECTED_COLLISIONS]++;
        if ((int64_t)(least & ~(SELECTED | SPARE)) > counters[BAR])
            counters[BAR] = (int64_t)(least & ~(SELECTED | SPARE));
        if (target == NOWHERE)
            return NOWHERE;
        counters[SELECTED_FLOWS]--;
    } else {
        counters[EVICTIONS] += least != 0;
        if (keeps_ghosts && least != 0)
            turn_out_entry(fp, stats, counters, target, homeless);
    }
    for (; parent[step] >= 0; step = parent[step]) {
        uint64_t source = via[step], moved = rank[source];
        unsigned words = COUNTS;
        if (keeps_ghosts && moved & KNOWN) {
            turn_out_ghost(rank, stats, counters, target, homeless);
        } else if (keeps_ghosts) {
            words = PRE_PACKETS;
            moved = (moved & ~SPARE) | ghost_in(rank[target]);
        }
        fp[target] = fp[source];
        rank[target] = moved;
        memcpy(stats + target * COUNTS, stats + source * COUNTS, words * sizeof *stats);
        counters[MOVES]++;
        target = source;
    }
    return target;
}

static inline int64_t weight(int64_t size) { return (int64_t)(sqrt((double)size) * CLOCK_UNITS) + 1; }

static inline int64_t advanced(int64_t clock, uint64_t rank) {
    return clock + (((int64_t)(rank & ~STANDING) - clock) >> CLOCK_SHIFT);
}

static inline uint64_t rank_of_tagged(uint64_t flow, uint8_t span) {
    return SELECTED | (uint64_t)(UINT8_MAX - span) << 54 | ((flow * 0x9E3779B97F4A7C15ull) >> 10 & ~SPARE);
}

void observe(uint64_t n, const uint64_t *restrict key, const uint8_t *restrict kind, const uint32_t *restrict length,
             const int64_t *restrict time_ns, const uint32_t *restrict luck, const uint8_t *restrict span,
             uint64_t slots, uint64_t *restrict fp, uint64_t *restrict rank, int64_t *restrict stats,
             int64_t *restrict counters, uint64_t chance, int heeds_tags, int heeds_hints, int priority, int recency,
             int64_t capacity) {
    const uint64_t buckets = slots / WAYS;
    const int far = slots > FAR;
    const unsigned selecting = (heeds_tags ? 1u << TAGGED | 1u << SELECT : 0) | (heeds_hints ? 1u << HINT : 0);
    int64_t clock = counters[CLOCK];
    uint64_t slots_found[BATCH], work[BATCH];
    const int keeps_ghosts = priority && !recency;
    struct homeless homeless = {0};
    for (uint64_t begin = 0, end = 0; begin < n;) {
        if (begin == end) {
            end = begin + BATCH < n ? begin + BATCH : n;
            for (uint64_t i = end; far && i < end + BATCH && i < n; i++) {
                __builtin_prefetch(fp + first_bucket(key[i], buckets));
                __builtin_prefetch(fp + second_bucket(key[i], buckets));
            }
        }
        uint64_t items = 0;
        const int ghosts = counters[GHOSTS] > 0;
        for (uint64_t i = begin; i < end; i++) {
            uint64_t one = first_bucket(key[i], buckets), two = second_bucket(key[i], buckets);
            uint64_t slot = find(fp, one, two, key[i]);
            work[items] = i;
            slots_found[items] = slot;
            items += (selecting >> kind[i] & 1) | ((kind[i] <= TAGGED) & ((slot != NOWHERE) | (luck[i] < chance) | ghosts));
            if (far && (recency || ghosts)) {
                uint64_t miss = 0 - (uint64_t)(slot == NOWHERE);
                __builtin_prefetch(rank + ((one & miss) | (slot & ~miss)));
                __builtin_prefetch(rank + ((two & miss) | (slot & ~miss)));
                __builtin_prefetch(stats + (slot & ~miss) * COUNTS);
            }
        }
        int stale = 0, skips = items < end - begin;
        begin = end;
        for (uint64_t item = 0; item < items; item++) {
            uint64_t i = work[item], flow = key[i], slot = slots_found[item];
            int64_t now = time_ns[i];
            unsigned what = kind[i];
            int selects = selecting >> what & 1, is_packet = what <= TAGGED;
            if (stale && (slot == NOWHERE || fp[slot] != flow))
                slot = find(fp, first_bucket(flow, buckets), second_bucket(flow, buckets), flow);
            if (slot != NOWHERE) {
                int64_t *row = stats + slot * COUNTS;
                uint64_t here = rank[slot];
                if (selects && here < SELECTED) {
                    if (here < ANNOUNCED) {
                        row[SELECTED_NS] = now;
                        row[PRE_PACKETS] = row[PACKETS];
                        row[PRE_BYTES] = row[BYTES];
                    }
                    if (what == HINT) {
                        here |= ANNOUNCED;
                    } else {
                        here = rank_of_tagged(flow, span[i]) | (recency ? 0 : KNOWN);
                        counters[SELECTED_FLOWS]++;
                    }
                }
                if (is_packet) {
                    if (row[PACKETS]++ == 0)
                        row[FIRST_NS] = now;
                    row[BYTES] += length[i];
                    row[LAST_NS] = now;
                    if (here < SELECTED)
                        here = recency ? (here & STANDING) | (uint64_t)(clock + weight(row[BYTES])) : here + length[i];
                }
                rank[slot] = here;
                continue;
            }
            if (what == HINT)
                continue;
            uint64_t one = first_bucket(flow, buckets), two = second_bucket(flow, buckets), past = 0, newcomer = 0;
            uint64_t ghost = counters[GHOSTS] ? find_ghost(rank, stats, one, two, flow) : NOWHERE;
            int64_t since = now, size = is_packet ? length[i] : 0;
            if (selects) {
                newcomer = rank_of_tagged(flow, span[i]);
                if (ghost != NOWHERE) {
                    past = (uint64_t)stats[ghost * COUNTS + VOLUME];
                    since = stats[ghost * COUNTS + SINCE_NS];
                    newcomer |= KNOWN;
                    release(rank, counters, ghost);
                }
                slot = free_slot(rank, one, two);
                if (slot == NOWHERE && priority) {
                    slot = victim(rank, one, two);
                    if (rank[slot] < SELECTED) {
                        counters[EVICTIONS]++;
                        clock = advanced(clock, rank[slot]);
                        if (keeps_ghosts)
                            turn_out_entry(fp, stats, counters, slot, &homeless);
                    } else if (counters[SELECTED_FLOWS] >= capacity &&
                               (int64_t)(newcomer & ~SELECTED) <= counters[BAR]) {
                        counters[SELECTED_COLLISIONS]++;
                        slot = NOWHERE;
                    } else {
                        slot = make_room(fp, rank, stats, one, two, buckets, newcomer, keeps_ghosts, &homeless, counters);
                    }
                } else if (slot == NOWHERE) {
                    counters[SELECTED_COLLISIONS]++;
                }
                if (slot == NOWHERE)
                    continue;
            } else {
                if (ghost != NOWHERE) {
                    count_ghost(rank, stats, counters, ghost, length[i]);
                    continue;
                }
                if (luck[i] >= chance)
                    continue;
                slot = free_slot(rank, one, two);
                if (slot == NOWHERE && recency) {
                    slot = lowest(rank, one, two);
                    if (rank[slot] < ANNOUNCED) {
                        counters[EVICTIONS]++;
                        clock = advanced(clock, rank[slot]);
                    } else {
                        slot = NOWHERE;
                    }
                }
                if (slot == NOWHERE &&
                    !(keeps_ghosts && (int64_t)(rank_of_tagged(flow, span[i]) & ~SELECTED) > counters[BAR] &&
                      lodge(rank, stats, counters, one, two, flow, volume_of(1, length[i]), now))) {
                    counters[REFUSED_SAMPLES]++;
                    continue;
                }
            }
            stale = 1;
            if (slot != NOWHERE) {
                int64_t *row = stats + slot * COUNTS, packets = (int64_t)(past >> 40);
                uint64_t hosted = 0;
                if (selects) {
                    if (keeps_ghosts && newcomer & KNOWN)
                        turn_out_ghost(rank, stats, counters, slot, &homeless);
                    else if (keeps_ghosts)
                        hosted = ghost_in(rank[slot]);
                    rank[slot] = newcomer | hosted;
                    counters[SELECTED_FLOWS]++;
                } else {
                    rank[slot] = recency ? (uint64_t)(clock + weight(size)) : (uint64_t)size + 1;
                }
                fp[slot] = flow;
                row[PACKETS] = packets + is_packet;
                row[BYTES] = (int64_t)(past & ((1ull << 40) - 1)) + size;
                row[FIRST_NS] = since;
                row[LAST_NS] = now;
                row[SELECTED_NS] = selects ? now : -1;
                if (!hosted) {
                    row[PRE_PACKETS] = packets;
                    row[PRE_BYTES] = (int64_t)(past & ((1ull << 40) - 1));
                    row[SAMPLED_NS] = selects && !packets ? -1 : since;
                }
                lodge_all(rank, stats, counters, buckets, &homeless);
            }
            if (skips) {
                begin = i + 1;
                break;
            }
        }
    }
    counters[CLOCK] = clock;
}
