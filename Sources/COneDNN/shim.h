// The one function of oneDNN that is used, and OpenMP's, by which it makes threads. libdnnl-dev has no pkg-config file, so
// the module map carries the link line. The product is exported by every version (2.x and 3.x) but stands in no header.
#ifndef ATOLL_CONEDNN_H
#define ATOLL_CONEDNN_H

#include <stdint.h>

// C = alpha op(A) op(B) + beta C, row-major, A and B in bfloat16, C in float32; 0 where it worked, 3 where this processor
// cannot.
int dnnl_gemm_bf16bf16f32(char transa, char transb, int64_t m, int64_t n, int64_t k, float alpha,
                          const uint16_t *_Nonnull a, int64_t lda, const uint16_t *_Nonnull b, int64_t ldb, float beta,
                          float *_Nonnull c, int64_t ldc);

// Threads that parallel regions of the calling thread use from now on.
void omp_set_num_threads(int count);

#endif
