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
enum { REFUSED_SAMPLES, SELECTED_COLLISIONS, EVICTIONS, MOVES, SELECTED_FLOWS, LOGGED, BAR, CLOCK };

#define SELECTED (1ull << 63)
#define ANNOUNCED (1ull << 62)
#define STANDING (3ull << 62)
#define KNOWN (1ull << 62)
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

static uint64_t make_room(uint64_t *fp, uint64_t *rank, int64_t *stats, uint64_t one, uint64_t two, uint64_t buckets,
                          uint64_t newcomer, int64_t *counters) {
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
        if ((int64_t)(least & ~SELECTED) > counters[BAR])
            counters[BAR] = (int64_t)(least & ~SELECTED);
        if (target == NOWHERE)
            return NOWHERE;
        counters[SELECTED_FLOWS]--;
    } else {
        counters[EVICTIONS] += least != 0;
    }
    for (; parent[step] >= 0; step = parent[step]) {
        uint64_t source = via[step];
        fp[target] = fp[source];
        rank[target] = rank[source];
        memcpy(stats + target * COUNTS, stats + source * COUNTS, COUNTS * sizeof *stats);
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
    return SELECTED | (uint64_t)(UINT8_MAX - span) << 54 | (flow * 0x9E3779B97F4A7C15ull) >> 10;
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
    for (uint64_t begin = 0, end = 0; begin < n;) {
        if (begin == end) {
            end = begin + BATCH < n ? begin + BATCH : n;
            for (uint64_t i = end; far && i < end + BATCH && i < n; i++) {
                __builtin_prefetch(fp + first_bucket(key[i], buckets));
                __builtin_prefetch(fp + second_bucket(key[i], buckets));
            }
        }
        uint64_t items = 0;
        for (uint64_t i = begin; i < end; i++) {
            uint64_t one = first_bucket(key[i], buckets), two = second_bucket(key[i], buckets);
            uint64_t slot = find(fp, one, two, key[i]);
            work[items] = i;
            slots_found[items] = slot;
            items += (selecting >> kind[i] & 1) | ((kind[i] <= TAGGED) & ((slot != NOWHERE) | (luck[i] < chance)));
            if (far && recency) {
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
                        here = rank_of_tagged(flow, span[i]) | (!recency && row[PACKETS] > 0 ? KNOWN : 0);
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
            if (what == HINT || (!selects && luck[i] >= chance))
                continue;
            uint64_t one = first_bucket(flow, buckets), two = second_bucket(flow, buckets);
            slot = free_slot(rank, one, two);
            if (slot == NOWHERE && (selects ? priority : recency)) {
                slot = selects ? victim(rank, one, two) : lowest(rank, one, two);
                if (rank[slot] < (selects ? SELECTED : ANNOUNCED)) {
                    counters[EVICTIONS]++;
                    clock = advanced(clock, rank[slot]);
                } else if (selects) {
                    uint64_t newcomer = rank_of_tagged(flow, span[i]);
                    if (counters[SELECTED_FLOWS] < capacity || (int64_t)(newcomer & ~SELECTED) > counters[BAR]) {
                        slot = make_room(fp, rank, stats, one, two, buckets, newcomer, counters);
                        if (slot == NOWHERE)
                            continue;
                    } else {
                        slot = NOWHERE;
                    }
                } else {
                    slot = NOWHERE;
                }
            }
            if (slot == NOWHERE) {
                counters[selects ? SELECTED_COLLISIONS : REFUSED_SAMPLES]++;
                continue;
            }
            stale = 1;
            int64_t size = is_packet ? length[i] : 0, *row = stats + slot * COUNTS;
            fp[slot] = flow;
            rank[slot] = selects   ? rank_of_tagged(flow, span[i])
                         : recency ? (uint64_t)(clock + weight(size))
                                   : (uint64_t)size + 1;
            row[PACKETS] = is_packet;
            row[BYTES] = size;
            row[FIRST_NS] = row[LAST_NS] = now;
            row[SELECTED_NS] = selects ? now : -1;
            row[PRE_PACKETS] = row[PRE_BYTES] = 0;
            row[SAMPLED_NS] = selects ? -1 : now;
            counters[SELECTED_FLOWS] += selects;
            if (skips) {
                begin = i + 1;
                break;
            }
        }
    }
    counters[CLOCK] = clock;
}
