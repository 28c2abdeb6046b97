// What the simulated memory shares with Python through a mapped file; systolith.sim.dram has the numpy dtypes.

#pragma once

#include <cstdint>

constexpr unsigned kRegions = 8;
constexpr unsigned kFetchId = 1;  // AXI identifier of the instruction fetch

// What happened so far: systolith.sim.dram.STATUS.
struct Status {
    uint64_t cycles;          // clock edges since the start of the simulation
    uint64_t retired;         // instructions
    uint64_t read_beats;
    uint64_t write_beats;
    uint64_t violations;      // of the protocol
    char first_violation[216];
    uint64_t strays;          // bursts outside of what the host granted, which are violations too
    uint64_t reads_waiting;   // bursts whose last beat was not taken yet
    uint64_t writes_waiting;  // bursts whose response was not taken yet
    uint64_t last_request;    // last cycle in which the master drove a valid
    uint64_t retired_of[4];   // instructions, by unit
};

struct Window {
    uint64_t low, high;  // bytes low to high - 1
};

// How the memory is to behave from now on: systolith.sim.dram.CONTROL. Read in every cycle, except for the timing,
// which is taken over when `timing` changes.
struct Control {
    uint64_t timing, latency, bandwidth, seed;
    uint64_t mute;        // channels that do not move any more: AR, R, AW, W, B from bit 0
    uint64_t mute_from;   // first cycle in which they do not
    uint64_t forget;      // 1: in reset
    uint64_t error_response, error_kinds;  // kinds: reads in bit 0, writes in bit 1
    Window error;
    uint64_t granting;    // 1: the grants are known
    Window grants[kRegions + 1];  // the regions, and the program
};

struct Shared {
    Status status;
    Control control;
};

// Part of a run, in cycles from the program's first: plusarg +trace_from and another that names their number. Without
// the former it begins with the simulation.
class Span {
public:
    void open(const char* cycles);
    void start(uint64_t cycle) { start_ = cycle; }  // of the simulation, in which the program begins
    bool contains(uint64_t cycle) const { return cycle >= begin() && cycle < end(); }

private:
    uint64_t begin() const { return from_ == kNone ? 0 : start_ == kNone ? kNone : start_ + from_; }
    uint64_t end() const {
        if (count_ == kNone || start_ == kNone) return kNone;
        return start_ + (from_ == kNone ? 0 : from_) + count_;
    }
    static constexpr uint64_t kNone = ~0ULL;
    uint64_t start_ = kNone, from_ = kNone, count_ = kNone;
};

extern Span recorded, waved;  // +trace_cycles: what dram.cpp records; +wave_cycles: the waveform
