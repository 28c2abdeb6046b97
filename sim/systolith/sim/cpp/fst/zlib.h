// The part of zlib that Verilator's FST writer needs, so that nothing has to be installed for it.
//
// A zlib stream (RFC 1950) of stored blocks (RFC 1951, 3.2.4): nothing gets smaller. The writer uses this for the
// signals' widths and initial values alone, and keeps them as they are then.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

using uLong = unsigned long;
using uLongf = unsigned long;
using Bytef = unsigned char;
constexpr int Z_OK = 0;

inline uLong compressBound(uLong size) { return size + 5 * (size / 65535 + 1) + 6; }

inline int compress2(Bytef* to, uLongf* to_size, const Bytef* from, uLong size, int /*level*/) {
    Bytef* out = to;
    *out++ = 0x78;
    *out++ = 0x01;
    uint32_t a = 1, b = 0;  // Adler-32
    uLong done = 0;
    do {
        const uLong part = std::min<uLong>(size - done, 65535);
        *out++ = done + part == size;
        *out++ = static_cast<Bytef>(part);
        *out++ = static_cast<Bytef>(part >> 8);
        *out++ = static_cast<Bytef>(~part);
        *out++ = static_cast<Bytef>(~part >> 8);
        for (uLong i = done; i < done + part; ++i) {
            *out++ = from[i];
            a = (a + from[i]) % 65521;
            b = (b + a) % 65521;
        }
        done += part;
    } while (done < size);
    for (const uint32_t half : {b, a}) {
        *out++ = static_cast<Bytef>(half >> 8);
        *out++ = static_cast<Bytef>(half);
    }
    *to_size = out - to;
    return Z_OK;
}
