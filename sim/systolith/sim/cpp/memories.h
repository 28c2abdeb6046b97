// Where the design's memories lie in this process, for a bench (which runs in it too) to read and write them.
#pragma once

#include <cstdio>
#include <string>

#include "verilated.h"
#include "verilated_syms.h"

// Plusarg +memories=FILE: one line "scope address bytes rows" for each memory that the build made public.
inline void list_memories(VerilatedContext& context) {
    const std::string match = context.commandArgsPlusMatch("memories=");
    if (match.empty()) return;
    FILE* const list = std::fopen(match.substr(match.find('=') + 1).c_str(), "w");
    if (!list) return;
    for (const auto& [name, scope] : *context.scopeNameMap()) {
        const VerilatedVar* const memory = scope->varFind("memory");
        if (!memory || memory->udims() != 1) continue;
        std::fprintf(list, "%s %zu %zu %d\n", name, reinterpret_cast<size_t>(memory->datap()),
                     static_cast<size_t>(memory->totalSize()), memory->elements(1));
    }
    std::fclose(list);
}
