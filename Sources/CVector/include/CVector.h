// Vector operations that the Swift 6.3 standard library leaves scalar, as always-inlined C over clang vectors.
//
// Swift imports f32x16 as SIMD16<Float> and i32x16 as SIMD16<Int32>; the bodies become one instruction per register
// under the flags of the importing target (one zmm, two ymm or four xmm).
#ifndef ATOLL_CVECTOR_H
#define ATOLL_CVECTOR_H

#include <stdint.h>

typedef float f32x16 __attribute__((ext_vector_type(16)));
typedef int32_t i32x16 __attribute__((ext_vector_type(16)));
// The same vectors at any address; only for loads and stores.
typedef float f32x16_unaligned __attribute__((ext_vector_type(16), aligned(4)));

// Every function below is inlined, so how a wider vector would be passed to a call does not matter.
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpsabi"

#define VECTOR_INLINE static inline __attribute__((always_inline))

VECTOR_INLINE f32x16 v_load(const float *_Nonnull p) { return *(const f32x16_unaligned *)p; }
VECTOR_INLINE void v_store(float *_Nonnull p, f32x16 x) { *(f32x16_unaligned *)p = x; }
VECTOR_INLINE f32x16 v_splat(float x) { return (f32x16)(x); }

// Correctly rounded: equal bits everywhere.
VECTOR_INLINE f32x16 v_sqrt(f32x16 x) { return __builtin_elementwise_sqrt(x); }
// x where it is larger (smaller), else y; a NaN in x gives y, a NaN in y gives y.
VECTOR_INLINE f32x16 v_max(f32x16 x, f32x16 y) { return x > y ? x : y; }
VECTOR_INLINE f32x16 v_min(f32x16 x, f32x16 y) { return x < y ? x : y; }
VECTOR_INLINE f32x16 v_abs(f32x16 x) { return __builtin_elementwise_abs(x); }
// Towards minus infinity.
VECTOR_INLINE f32x16 v_floor(f32x16 x) { return __builtin_elementwise_floor(x); }
// To nearest, ties to even, for |x| < 2^22; exact on every target, without a libm call.
VECTOR_INLINE f32x16 v_round(f32x16 x) {
#pragma clang fp reassociate(off)
  f32x16 magic = (f32x16)(12582912.0f);
  return (x + magic) - magic;
}
// Towards zero; values outside int32 are not allowed.
VECTOR_INLINE i32x16 v_to_int(f32x16 x) { return __builtin_convertvector(x, i32x16); }
VECTOR_INLINE f32x16 v_to_float(i32x16 x) { return __builtin_convertvector(x, f32x16); }

// a * b + c: fused where the target has FMA, else rounded twice. Never in arithmetic that a head depends on.
VECTOR_INLINE f32x16 v_muladd(f32x16 a, f32x16 b, f32x16 c) {
#pragma clang fp contract(fast)
  return a * b + c;
}

// e^x with relative error below 2e-7, for x between -87 and 88; x outside is taken for the nearer bound, NaN gives NaN.
VECTOR_INLINE f32x16 v_exp_bounded(f32x16 x) {
  f32x16 low = (f32x16)(-87.0f), high = (f32x16)(88.0f);
  // Written so that a NaN passes through.
  x = x < low ? low : x;
  x = x > high ? high : x;
  // Adding 1.5 * 2^23 rounds to an integer n, which then stands in the low bits of the sum.
  f32x16 magic = (f32x16)(12582912.0f);
  f32x16 shifted = v_muladd(x, (f32x16)(1.44269504088896341f), magic);
  f32x16 n = shifted - magic;
  f32x16 r = v_muladd(n, (f32x16)(-0.693359375f), x);
  r = v_muladd(n, (f32x16)(2.12194440e-4f), r);
  f32x16 p = (f32x16)(1.9875691500e-4f);
  p = v_muladd(p, r, (f32x16)(1.3981999507e-3f));
  p = v_muladd(p, r, (f32x16)(8.3334519073e-3f));
  p = v_muladd(p, r, (f32x16)(4.1665795894e-2f));
  p = v_muladd(p, r, (f32x16)(1.6666665459e-1f));
  p = v_muladd(p, r, (f32x16)(5.0000001201e-1f));
  p = v_muladd(p, r * r, r) + 1.0f;
  // n << 23 moves n into the exponent and everything else out; a multiplication, since NaN must stay NaN.
  return p * (f32x16)(((i32x16)shifted << 23) + (127 << 23));
}

// The same for every x: 0 below -87, infinity above 88.
VECTOR_INLINE f32x16 v_exp(f32x16 x) {
  f32x16 result = v_exp_bounded(x);
  result = x < (f32x16)(-87.0f) ? (f32x16)(0.0f) : result;
  return x > (f32x16)(88.0f) ? (f32x16)(__builtin_inff()) : result;
}

// x in the first `count` lanes, `fill` in the rest.
VECTOR_INLINE f32x16 v_keep_first(f32x16 x, long count, float fill) {
  i32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return lane < (i32x16)((int32_t)count) ? x : (f32x16)(fill);
}

// Sum and maximum over the 16 lanes, in a fixed tree order.
VECTOR_INLINE float v_reduce_add(f32x16 x) {
  typedef float f32x8 __attribute__((ext_vector_type(8)));
  typedef float f32x4 __attribute__((ext_vector_type(4)));
  f32x8 a = x.lo + x.hi;
  f32x4 b = a.lo + a.hi;
  return (b.x + b.z) + (b.y + b.w);
}
VECTOR_INLINE float v_reduce_max(f32x16 x) {
  typedef float f32x8 __attribute__((ext_vector_type(8)));
  typedef float f32x4 __attribute__((ext_vector_type(4)));
  f32x8 a = x.lo > x.hi ? x.lo : x.hi;
  f32x4 b = a.lo > a.hi ? a.lo : a.hi;
  float c = b.x > b.z ? b.x : b.z, d = b.y > b.w ? b.y : b.w;
  return c > d ? c : d;
}

// Fetches the cache line of p, which need not be a valid address: into the first-level cache, or (far) the second's.
VECTOR_INLINE void v_prefetch(const float *_Nonnull p) { __builtin_prefetch(p, 0, 3); }
VECTOR_INLINE void v_prefetch_far(const float *_Nonnull p) { __builtin_prefetch(p, 0, 2); }

// Tells the processor that this is a spin loop.
VECTOR_INLINE void v_spin_hint(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

#pragma clang diagnostic pop

// The best kernel module for this processor: 5 (x86-64-v4 with AVX512_BF16), 4 (x86-64-v4), 3 (x86-64-v3) or 1.
int vector_instruction_level(void);

// Whether this processor has matrix units for bfloat16 (AMX).
int vector_has_matrix_units(void);

// The processors that this process may run on, by its affinity mask; 0 if unknown.
int vector_processor_count(void);

#endif
