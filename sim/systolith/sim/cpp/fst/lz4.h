// The two functions of liblz4 that Verilator's FST writer needs, so that nothing has to be installed for it.
//
// The LZ4 block format (lz4_Block_format.md of the LZ4 project), written by a greedy search through the last place of
// each hash of four bytes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

inline int LZ4_compress_default(const char* from, char* to, int size, int /*capacity*/) {
    constexpr int kMatch = 4, kLastLiterals = 5, kLastMatch = 12, kFarthest = 65535, kHashBits = 14;
    std::vector<int> places(1 << kHashBits, -1);
    char* out = to;
    const auto length = [&out](int rest) {  // what does not fit the token's four bits
        for (; rest >= 255; rest -= 255) *out++ = static_cast<char>(255);
        *out++ = static_cast<char>(rest);
    };
    const auto word = [from](int at) {
        uint32_t value;
        std::memcpy(&value, from + at, sizeof value);
        return value;
    };
    int anchor = 0, at = 0;
    while (at + kLastMatch < size) {
        int& place = places[word(at) * 2654435761U >> (32 - kHashBits)];
        const int before = place;
        place = at;
        if (before < 0 || at - before > kFarthest || word(before) != word(at)) {
            at += 1 + ((at - anchor) >> 6);  // faster through what does not repeat
            continue;
        }
        int match = kMatch;
        while (at + match < size - kLastLiterals && from[before + match] == from[at + match]) ++match;
        const int literals = at - anchor, extra = match - kMatch;
        *out++ = static_cast<char>(std::min(literals, 15) << 4 | std::min(extra, 15));
        if (literals >= 15) length(literals - 15);
        std::memcpy(out, from + anchor, literals);
        out += literals;
        *out++ = static_cast<char>(at - before);
        *out++ = static_cast<char>((at - before) >> 8);
        if (extra >= 15) length(extra - 15);
        anchor = at += match;
    }
    const int literals = size - anchor;
    *out++ = static_cast<char>(std::min(literals, 15) << 4);
    if (literals >= 15) length(literals - 15);
    std::memcpy(out, from + anchor, literals);
    return static_cast<int>(out + literals - to);
}
