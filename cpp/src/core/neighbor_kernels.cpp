// Compiled without fused multiply-add, so all instruction sets give bitwise equal results.
#include "neighbor_kernels.hpp"

#include <cstring>

#include "../kernels/kernel.hpp"
#include "ekd/instruction_set.hpp"

#if defined(EKD_X86) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>
#define EKD_X86_64
#endif

namespace ekd {
namespace {

// Computes squared distances in vectorized blocks; then stores every candidate, to be overwritten
// by the next one unless it is a neighbor. This avoids branch mispredictions.
Selection select_portable(const Candidates& candidates, const Point& center, double cutoff,
                          double overlap, std::int32_t* neighbors) {
  constexpr std::int64_t kBlock = 64;
  const double cutoff2 = cutoff * cutoff;
  const double overlap2 = overlap * overlap;
  const double cx = center.xyz[0], cy = center.xyz[1], cz = center.xyz[2];
  Selection found;
  double squared[kBlock];
  for (std::int64_t begin = 0; begin < candidates.size; begin += kBlock) {
    const std::int64_t n = std::min(kBlock, candidates.size - begin);
    const double* x = candidates.x.data() + begin;
    const double* y = candidates.y.data() + begin;
    const double* z = candidates.z.data() + begin;
    for (std::int64_t k = 0; k < n; ++k) {
      const double dx = x[k] - cx, dy = y[k] - cy, dz = z[k] - cz;
      squared[k] = (dx * dx + dy * dy) + dz * dz;
    }
    for (std::int64_t k = 0; k < n; ++k) {
      neighbors[found.n_neighbors] = candidates.slots[begin + k];
      const bool overlapping = squared[k] < overlap2;
      found.n_neighbors += squared[k] < cutoff2 && !overlapping;
      found.n_overlapping += overlapping;
    }
  }
  return found;
}

#ifdef EKD_X86_64
// Byte shuffles that pack the 32-bit numbers selected by a mask of four, because AVX2 has no such
// instruction.
struct PackTable {
  alignas(16) std::uint8_t bytes[16][16];

  constexpr PackTable() : bytes{} {
    for (int mask = 0; mask < 16; ++mask) {
      int to = 0;
      for (int lane = 0; lane < 4; ++lane)
        if ((mask >> lane) & 1)
          for (int byte = 0; byte < 4; ++byte)
            bytes[mask][to++] = static_cast<std::uint8_t>(4 * lane + byte);
      while (to < 16) bytes[mask][to++] = 0x80;
    }
  }
};
constexpr PackTable kPack;

__attribute__((target("arch=x86-64-v3"))) Selection select_avx2(const Candidates& candidates,
                                                                const Point& center, double cutoff,
                                                                double overlap,
                                                                std::int32_t* neighbors) {
  const __m256d cutoff2 = _mm256_set1_pd(cutoff * cutoff);
  const __m256d overlap2 = _mm256_set1_pd(overlap * overlap);
  const __m256d cx = _mm256_set1_pd(center.xyz[0]);
  const __m256d cy = _mm256_set1_pd(center.xyz[1]);
  const __m256d cz = _mm256_set1_pd(center.xyz[2]);
  Selection found;
  for (std::int64_t k = 0; k < candidates.size; k += 4) {
    const __m256d dx = _mm256_sub_pd(_mm256_loadu_pd(candidates.x.data() + k), cx);
    const __m256d dy = _mm256_sub_pd(_mm256_loadu_pd(candidates.y.data() + k), cy);
    const __m256d dz = _mm256_sub_pd(_mm256_loadu_pd(candidates.z.data() + k), cz);
    const __m256d squared = _mm256_add_pd(
        _mm256_add_pd(_mm256_mul_pd(dx, dx), _mm256_mul_pd(dy, dy)), _mm256_mul_pd(dz, dz));
    const std::int64_t left = candidates.size - k;
    const unsigned valid = left >= 4 ? 0xfU : (1U << left) - 1U;
    const unsigned near =
        valid &
        static_cast<unsigned>(_mm256_movemask_pd(_mm256_cmp_pd(squared, cutoff2, _CMP_LT_OQ)));
    const unsigned overlapping =
        valid &
        static_cast<unsigned>(_mm256_movemask_pd(_mm256_cmp_pd(squared, overlap2, _CMP_LT_OQ)));
    const unsigned hits = near & ~overlapping;
    const __m128i slots =
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(candidates.slots.data() + k));
    const __m128i order = _mm_load_si128(reinterpret_cast<const __m128i*>(kPack.bytes[hits]));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(neighbors + found.n_neighbors),
                     _mm_shuffle_epi8(slots, order));
    found.n_neighbors += __builtin_popcount(hits);
    found.n_overlapping += __builtin_popcount(overlapping);
  }
  return found;
}

__attribute__((target("arch=x86-64-v4"))) Selection select_avx512(const Candidates& candidates,
                                                                  const Point& center,
                                                                  double cutoff, double overlap,
                                                                  std::int32_t* neighbors) {
  const __m512d cutoff2 = _mm512_set1_pd(cutoff * cutoff);
  const __m512d overlap2 = _mm512_set1_pd(overlap * overlap);
  const __m512d cx = _mm512_set1_pd(center.xyz[0]);
  const __m512d cy = _mm512_set1_pd(center.xyz[1]);
  const __m512d cz = _mm512_set1_pd(center.xyz[2]);
  Selection found;
  for (std::int64_t k = 0; k < candidates.size; k += 8) {
    const __m512d dx = _mm512_sub_pd(_mm512_loadu_pd(candidates.x.data() + k), cx);
    const __m512d dy = _mm512_sub_pd(_mm512_loadu_pd(candidates.y.data() + k), cy);
    const __m512d dz = _mm512_sub_pd(_mm512_loadu_pd(candidates.z.data() + k), cz);
    const __m512d squared = _mm512_add_pd(
        _mm512_add_pd(_mm512_mul_pd(dx, dx), _mm512_mul_pd(dy, dy)), _mm512_mul_pd(dz, dz));
    const std::int64_t left = candidates.size - k;
    const auto valid = static_cast<__mmask8>(left >= 8 ? 0xff : (1 << left) - 1);
    const __mmask8 near = _mm512_mask_cmp_pd_mask(valid, squared, cutoff2, _CMP_LT_OQ);
    const __mmask8 overlapping = _mm512_mask_cmp_pd_mask(valid, squared, overlap2, _CMP_LT_OQ);
    const auto hits = static_cast<__mmask8>(near & ~overlapping);
    const __m256i slots =
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(candidates.slots.data() + k));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(neighbors + found.n_neighbors),
                        _mm256_maskz_compress_epi32(hits, slots));
    found.n_neighbors += __builtin_popcount(hits);
    found.n_overlapping += __builtin_popcount(overlapping);
  }
  return found;
}
#endif

using Select = Selection (*)(const Candidates&, const Point&, double, double, std::int32_t*);

Select best_select() {
#ifdef EKD_X86_64
  if (instruction_set() == InstructionSet::kAvx512) return select_avx512;
  if (instruction_set() == InstructionSet::kAvx2) return select_avx2;
#endif
  return select_portable;
}

// Compiler vector extensions, for any processor.
using Double4 = double __attribute__((vector_size(32)));
using Int4 = std::int32_t __attribute__((vector_size(16)));

EKD_INLINE void append_one_run(const PeriodicImages& images, std::int64_t begin, std::int64_t end,
                               Candidates& candidates) {
  constexpr std::int64_t kStep = PeriodicImages::kSlack;
  const double* from[3] = {images.coordinates(0) + begin, images.coordinates(1) + begin,
                           images.coordinates(2) + begin};
  double* to[3] = {candidates.x.data() + candidates.size, candidates.y.data() + candidates.size,
                   candidates.z.data() + candidates.size};
  std::int32_t* slots = candidates.slots.data() + candidates.size;
  for (std::int64_t k = 0; k < end - begin; k += kStep) {
    for (int c = 0; c < 3; ++c) std::memcpy(to[c] + k, from[c] + k, kStep * sizeof(double));
    for (std::int64_t lane = 0; lane < kStep; ++lane)
      slots[k + lane] = static_cast<std::int32_t>(begin + k + lane);
  }
  candidates.size += end - begin;
}

EKD_INLINE void write_row(const PeriodicImages& images, std::int32_t center,
                          const std::int32_t* neighbors, std::int64_t n_neighbors,
                          std::int64_t first_atom, const PairRow& row) {
  if (n_neighbors == 0) return;
  const auto* points = reinterpret_cast<const Double4*>(images.points());
  const auto* tags = reinterpret_cast<const Int4*>(images.images());  // shift and atom
  const Double4 from = points[center];
  const Int4 own = tags[center];
  std::int64_t* __restrict to_neighbors = row.neighbors;
  std::int32_t* __restrict to_shifts = row.cell_shifts;
  double* __restrict to_vectors = row.pair_vectors;
  std::fill_n(row.centers, n_neighbors, first_atom + own[3]);
  // Four values are written instead of three; the next pair overwrites the fourth. The last pair is
  // written value by value, because another thread may write the next one.
  const std::int64_t last = n_neighbors - 1;
  for (std::int64_t k = 0; k < last; ++k) {
    const Int4 tag = tags[neighbors[k]];
    const Double4 vector = points[neighbors[k]] - from;
    const Int4 shift = tag - own;
    std::memcpy(to_vectors + 3 * k, &vector, sizeof vector);
    std::memcpy(to_shifts + 3 * k, &shift, sizeof shift);
    to_neighbors[k] = first_atom + tag[3];
  }
  const Int4 tag = tags[neighbors[last]];
  const Double4 vector = points[neighbors[last]] - from;
  for (int c = 0; c < 3; ++c) {
    to_vectors[3 * last + c] = vector[c];
    to_shifts[3 * last + c] = tag[c] - own[c];
  }
  to_neighbors[last] = first_atom + tag[3];
}

}  // namespace

Selection select_neighbors(const Candidates& candidates, const Point& center, double cutoff,
                           double overlap, std::int32_t* neighbors) {
  static const Select select = best_select();
  return select(candidates, center, cutoff, overlap, neighbors);
}

EKD_FUNCTION(append_run, append_one_run,
             (const PeriodicImages& images, std::int64_t begin, std::int64_t end,
              Candidates& candidates),
             (images, begin, end, candidates))

EKD_FUNCTION(write_pairs, write_row,
             (const PeriodicImages& images, std::int32_t center, const std::int32_t* neighbors,
              std::int64_t n_neighbors, std::int64_t first_atom, const PairRow& row),
             (images, center, neighbors, n_neighbors, first_atom, row))

}  // namespace ekd
