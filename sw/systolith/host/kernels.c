/* What the host computes between the matrix products: fp32 kernels for one scalar in-order RV64GC core.
 *
 * Tensors are dense and row-major. Inner loops have neither branches nor calls (the conversions and fminf, fmaxf, sqrtf
 * are single instructions of the D extension), so that a compiler can unroll them and the count of instructions depends
 * on the sizes alone.
 */
#include <stdint.h>

#define MIN(a, b) __builtin_fminf(a, b)
#define MAX(a, b) __builtin_fmaxf(a, b)
/* Of the instructions of a short loop many step and test; eight times as many elements a turn leave few of these. */
#define UNROLLED _Pragma("clang loop unroll_count(8)")

/* Nearest integer, halves to even. */
static inline int32_t nearest(float x) { return (int32_t)__builtin_lrintf(x); }

static inline int8_t to_int8(float x) { return (int8_t)nearest(MIN(MAX(x, -128.0f), 127.0f)); }

/* exp(x) for x <= 88, and exp(-87), next to the least normal number, below -87. x = n ln 2 + r with |r| <= ln 2 / 2 (Cody and Waite 1980); exp(r) by the minimax
 * polynomial of degree 6 of Cephes' expf (Moshier); 2**n by adding n to the exponent field. */
static inline float exponential(float x) {
    x = MAX(x, -87.0f);
    int32_t n = nearest(x * 1.44269504f);
    float r = x - (float)n * 0.693359375f + (float)n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    union { float real; uint32_t bits; } y = { .real = p * r * r + r + 1.0f };
    y.bits += (uint32_t)n << 23;
    return y.real;
}

/* erf(x) ~ x P(x^2) / Q(x^2) on |x| <= 4: the coefficients of Eigen and XLA that numerics/reference.py has. */
static inline float error_function(float x) {
    x = MIN(MAX(x, -4.0f), 4.0f);
    float s = x * x;
    float p = -2.72614225801306e-10f;
    p = p * s + 2.77068142495902e-08f;
    p = p * s - 2.10102402082508e-06f;
    p = p * s - 5.69250639462346e-05f;
    p = p * s - 7.34990630326855e-04f;
    p = p * s - 2.95459980854025e-03f;
    p = p * s - 1.60960333262415e-02f;
    float q = -1.45660718464996e-05f;
    q = q * s - 2.13374055278905e-04f;
    q = q * s - 1.68282697438203e-03f;
    q = q * s - 7.37332916720468e-03f;
    q = q * s - 1.42647390514189e-02f;
    return x * p / q;
}

/* y = x * scale, of int8 x. */
void dequantize(float *restrict y, const int8_t *restrict x, float scale, int64_t count) {
    UNROLLED
    for (int64_t i = 0; i < count; i++) y[i] = (float)x[i] * scale;
}

/* y = sums * scale + bias, both per column: int32 sums of the array in the units of fp32. */
void dequantize_sums(float *restrict y, const int32_t *restrict sums, const float *restrict scale,
                     const float *restrict bias, int64_t rows, int64_t columns) {
    for (int64_t m = 0; m < rows; m++, y += columns, sums += columns)
        UNROLLED
        for (int64_t n = 0; n < columns; n++) y[n] = (float)sums[n] * scale[n] + bias[n];
}

/* y = x / unit to the nearest int8; reciprocal is 1 / unit. */
void quantize(int8_t *restrict y, const float *restrict x, float reciprocal, int64_t count) {
    UNROLLED
    for (int64_t i = 0; i < count; i++) y[i] = to_int8(x[i] * reciprocal);
}

/* dequantize_sums and quantize in one pass: scale and bias hold the unit of y. */
void requantize_sums(int8_t *restrict y, const int32_t *restrict sums, const float *restrict scale,
                     const float *restrict bias, int64_t rows, int64_t columns) {
    for (int64_t m = 0; m < rows; m++, y += columns, sums += columns)
        UNROLLED
        for (int64_t n = 0; n < columns; n++) y[n] = to_int8((float)sums[n] * scale[n] + bias[n]);
}

/* Softmax of each row, in place. */
void softmax(float *restrict x, int64_t rows, int64_t columns) {
    for (int64_t m = 0; m < rows; m++, x += columns) {
        float maximum = x[0], total = 0.0f;
        UNROLLED
        for (int64_t n = 1; n < columns; n++) maximum = MAX(maximum, x[n]);
        UNROLLED
        for (int64_t n = 0; n < columns; n++) total += x[n] = exponential(x[n] - maximum);
        float reciprocal = 1.0f / total;
        UNROLLED
        for (int64_t n = 0; n < columns; n++) x[n] *= reciprocal;
    }
}

/* x Phi(x) of each element, in place. */
void gelu(float *restrict x, int64_t count) {
    UNROLLED
    for (int64_t i = 0; i < count; i++) x[i] = (error_function(x[i] * 0.70710678f) + 1.0f) * x[i] * 0.5f;
}

/* x += skip. */
void residual(float *restrict x, const float *restrict skip, int64_t count) {
    UNROLLED
    for (int64_t i = 0; i < count; i++) x[i] += skip[i];
}

/* LayerNorm of each row, in place: mean and variance in two passes. */
void layernorm(float *restrict x, const float *restrict gamma, const float *restrict beta, float epsilon, int64_t rows,
               int64_t columns) {
    for (int64_t m = 0; m < rows; m++, x += columns) {
        float total = 0.0f, squares = 0.0f;
        UNROLLED
        for (int64_t n = 0; n < columns; n++) total += x[n];
        float mean = total / (float)columns;
        UNROLLED
        for (int64_t n = 0; n < columns; n++) squares += (x[n] - mean) * (x[n] - mean);
        float reciprocal = 1.0f / __builtin_sqrtf(squares / (float)columns + epsilon);
        UNROLLED
        for (int64_t n = 0; n < columns; n++) x[n] = (x[n] - mean) * reciprocal * gamma[n] + beta[n];
    }
}
