// Register tiles of matrix products, and the bfloat16 words that the reduced-precision ones read.
//
// A word holds two bfloat16 values that follow each other along the depth of a product: the earlier one in the low half.
// So a product of depth k over words has depth k / 2, and one instruction (vdpbf16ps) multiplies and adds a pair.
#ifndef ATOLL_MATRIXTILES_H
#define ATOLL_MATRIXTILES_H

#include "CVector.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpsabi"

// Rows of a 16-column register tile: as many accumulators as the register file holds beside one row of B and one
// broadcast (AVX-512: 32 registers of 16 floats; AVX2: 16 of 8; SSE2: 16 of 4). The small tile serves the rows that are
// left over; still enough sums in flight to hide the latency of an addition.
#if defined(__AVX512F__)
enum { vector_tile_rows = 12, vector_small_tile_rows = 8 };
#elif defined(__AVX2__)
enum { vector_tile_rows = 6, vector_small_tile_rows = 4 };
#else
enum { vector_tile_rows = 3, vector_small_tile_rows = 2 };
#endif

typedef uint32_t u32x16 __attribute__((ext_vector_type(16)));

// Each float as bfloat16 in the low half of a word, rounded to nearest, ties to even; NaN stays NaN.
VECTOR_INLINE u32x16 v_round_bfloat16(f32x16 x) {
#if defined(__AVX512BF16__)
  typedef uint16_t u16x16 __attribute__((ext_vector_type(16)));
  return __builtin_convertvector((u16x16)_mm512_cvtneps_pbh((__m512)x), u32x16);
#else
  u32x16 bits = (u32x16)x;
  u32x16 rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return x == x ? rounded : (u32x16)(0x7fc0);
#endif
}

// Each float rounded to bfloat16, as a float.
VECTOR_INLINE f32x16 v_rounded_bfloat16(f32x16 x) { return (f32x16)(v_round_bfloat16(x) << 16); }

// The float that each bfloat16 value stands for: 16 values that follow each other, two to a word.
typedef uint16_t u16x16_words __attribute__((ext_vector_type(16), aligned(2), may_alias));
VECTOR_INLINE f32x16 v_load_bfloat16(const float *_Nonnull words) {
  return (f32x16)(__builtin_convertvector(*(const u16x16_words *)words, u32x16) << 16);
}

// Words of 16 pairs: low halves from `even`, high halves from `odd`.
VECTOR_INLINE f32x16 v_pair_rows(f32x16 even, f32x16 odd) {
  return (f32x16)(v_round_bfloat16(even) | (v_round_bfloat16(odd) << 16));
}

// The words of 32 floats that follow each other: p[0], p[1] in the first, and so on.
VECTOR_INLINE f32x16 v_pair_neighbours(f32x16 first, f32x16 second) {
#if defined(__AVX512BF16__)
  return (f32x16)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
#else
  f32x16 even = __builtin_shufflevector(first, second, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  f32x16 odd = __builtin_shufflevector(first, second, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  return v_pair_rows(even, odd);
#endif
}

// sum + a * b in float32.
VECTOR_INLINE f32x16 v_tile_step(f32x16 sum, float a, f32x16 b, int paired) {
  if (!paired) return v_muladd(v_splat(a), b, sum);
#if defined(__AVX512BF16__)
  // The broadcast comes last, where the instruction takes it from memory.
  return (f32x16)_mm512_dpbf16_ps((__m512)sum, (__m512bh)b, (__m512bh)v_splat(a));
#else
  u32x16 x = (u32x16)v_splat(a), y = (u32x16)b;
  sum = v_muladd((f32x16)(x & 0xffff0000), (f32x16)(y & 0xffff0000), sum);
  return v_muladd((f32x16)(x << 16), (f32x16)(y << 16), sum);
#endif
}

// One register tile of a matrix product: C[r][0..<16] (+)= sum over i < k of A[r][i] * B[i][0..<16], for r < rows.
//
// A[r][i] is a[r * row_stride + i * column_stride]; B's rows are b_stride apart and 16 long. With `paired` A and B hold
// words. `rows` (at most vector_tile_rows) and `paired` must be constants. Rows below `skip` are computed but not stored,
// so that the last tile of a matrix may overlap the one before. Every element is summed in order of i, so a row's bits do
// not depend on the tile it falls into.
VECTOR_INLINE void v_tile(long rows, int paired, long k, const float *_Nonnull a, long row_stride, long column_stride,
                          const float *_Nonnull b, long b_stride, float *_Nonnull c, long c_stride, int accumulate,
                          long skip) {
  f32x16 sum[vector_tile_rows];
#pragma clang loop unroll(full)
  for (int r = 0; r < vector_tile_rows; ++r)
    if (r < rows) sum[r] = (f32x16)(0.0f);
#pragma clang loop unroll_count(2)
  for (long i = 0; i < k; ++i) {
    f32x16 row = v_load(b);
#pragma clang loop unroll(full)
    for (int r = 0; r < vector_tile_rows; ++r)
      if (r < rows) sum[r] = v_tile_step(sum[r], a[r * row_stride], row, paired);
    a += column_stride;
    b += b_stride;
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < vector_tile_rows; ++r) {
    if (r < rows && r >= skip) {
      float *row = c + r * c_stride;
      v_store(row, accumulate ? v_load(row) + sum[r] : sum[r]);
    }
  }
}

// One row of the above.
VECTOR_INLINE void v_tile_row(int paired, long k, const float *_Nonnull a, long column_stride, const float *_Nonnull b,
                              long b_stride, float *_Nonnull c, int accumulate) {
  f32x16 sum = (f32x16)(0.0f);
  for (long i = 0; i < k; ++i) sum = v_tile_step(sum, a[i * column_stride], v_load(b + i * b_stride), paired);
  v_store(c, accumulate ? v_load(c) + sum : sum);
}

#pragma clang diagnostic pop

#endif
