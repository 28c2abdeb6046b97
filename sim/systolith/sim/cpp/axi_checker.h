// Rules of AXI4 that the accelerator must keep as a master, checked every cycle.
//
// Checked: valid stays and payload is stable until ready; bursts are incrementing, of whole aligned beats,
// no longer than the configuration allows and within one 4 KiB page; wlast marks the last beat exactly.

#pragma once

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstring>

// What the memory shares with Python through a mapped file; systolith.sim.dram.STATUS is its numpy dtype.
struct Status {
    uint64_t cycles;       // clock edges since the start of the simulation
    uint64_t retired;      // instructions
    uint64_t read_beats;
    uint64_t write_beats;
    uint64_t violations;   // of the protocol
    char first_violation[216];
};

// An address channel's payload: len in bits 7:0, size in 10:8, burst type in 12:11, identifier in 13.
struct Address {
    bool valid;
    uint64_t address;
    uint32_t info;
    unsigned beats() const { return (info & 0xff) + 1; }
    unsigned size() const { return info >> 8 & 7; }
    unsigned burst() const { return info >> 11 & 3; }
    unsigned id() const { return info >> 13 & 1; }
};

class AxiChecker {
public:
    AxiChecker(Status& status, unsigned bus_bytes, unsigned longest)
        : status_{status}, bus_bytes_{bus_bytes}, longest_{longest} {}

    // The rules of one address channel; `held` is its payload when valid met no ready in the last cycle.
    void address(const char* channel, Address& held, const Address& now, bool ready) {
        if (held.valid && (!now.valid || now.address != held.address || now.info != held.info))
            violation(channel, "changed before ready", held.address);
        held = now;
        held.valid = now.valid && !ready;
        if (!now.valid || !ready) return;
        const uint64_t last = now.address + uint64_t{now.beats()} * bus_bytes_ - 1;
        if (now.burst() != 1) violation(channel, "burst is not incrementing", now.address);
        if (1u << now.size() != bus_bytes_) violation(channel, "beat is not as wide as the bus", now.address);
        if (now.address % bus_bytes_) violation(channel, "address is not aligned to the bus", now.address);
        if (now.address >> 12 != last >> 12) violation(channel, "burst crosses a 4 KiB page", now.address);
        if (now.beats() > longest_) violation(channel, "burst is too long", now.address);
    }

    void write_data(bool valid, bool ready, const uint8_t* data, uint64_t strobe, bool last) {
        if (held_valid_ && (!valid || strobe != held_strobe_ || last != held_last_
                            || std::memcmp(data, held_data_, bus_bytes_) != 0))
            violation("W", "changed before ready", 0);
        held_valid_ = valid && !ready;
        if (!held_valid_) return;
        std::memcpy(held_data_, data, bus_bytes_);
        held_strobe_ = strobe;
        held_last_ = last;
    }

    void violation(const char* channel, const char* what, uint64_t address) {
        if (status_.violations++ == 0)
            std::snprintf(status_.first_violation, sizeof status_.first_violation,
                          "cycle %" PRIu64 ": %s %s (address 0x%" PRIx64 ")", status_.cycles, channel, what, address);
    }

    void reset() { held_valid_ = false; }

private:
    Status& status_;
    const unsigned bus_bytes_;
    const unsigned longest_;
    bool held_valid_ = false;
    bool held_last_ = false;
    uint64_t held_strobe_ = 0;
    uint8_t held_data_[64] = {};
};
