// Rules of AXI4 that the accelerator must keep as a master, checked every cycle by looking on.
//
// Checked: valid stays and payload is stable until ready; bursts are incrementing, of whole aligned beats, no longer
// than the configuration allows, within one 4 KiB page and of a legal identifier; wlast marks the last beat exactly;
// no more bursts wait for their end than declared; nothing is asked for in a reset, but for its first cycle; and, where
// the host's grants are known, no burst leaves them. That every response is consumed in the end is for whoever ends the
// simulation to see, from the bursts that still wait.

#pragma once

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>

#include "shared.h"

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

// All five channels in one cycle.
struct Bus {
    Address read, write;
    bool read_taken, write_taken;  // valid met ready
    bool data_valid, data_taken, data_last;
    const uint8_t* data;
    uint64_t strobe;
    bool beat_taken, beat_last, response_taken;
};

class AxiChecker {
public:
    // Bytes of a beat, beats of the longest burst, bursts outstanding in each direction.
    AxiChecker(Shared& shared, unsigned bus_bytes, unsigned longest, unsigned outstanding)
        : shared_{shared}, bus_bytes_{bus_bytes}, longest_{longest}, outstanding_{outstanding} {}

    // Every cycle, those of a reset included. In the first cycle of `rst` the master cannot know of it yet; from the
    // next on no valid of its own is high.
    void observe_reset(bool rst, const Address& read, const Address& write, bool data_valid) {
        if (rst && resetting_) {
            if (read.valid) violation("AR", kInReset, read.address);
            if (write.valid) violation("AW", kInReset, write.address);
            if (data_valid) violation("W", kInReset, 0);
        }
        resetting_ = rst;
    }

    // Every cycle in which neither end is in reset.
    void observe(const Bus& bus) {
        Status& status = shared_.status;
        if (bus.read.valid || bus.write.valid || bus.data_valid) status.last_request = status.cycles;
        address("AR", held_read_, bus.read, bus.read_taken);
        address("AW", held_write_, bus.write, bus.write_taken);
        if (bus.write_taken && bus.write.id() != 0) violation("AW", "identifier is not 0", bus.write.address);
        write_data(bus);
        status.reads_waiting += bus.read_taken;
        status.writes_waiting += bus.write_taken;
        if (bus.read_taken && status.reads_waiting > outstanding_)
            violation("AR", "more bursts are outstanding than declared", bus.read.address);
        if (bus.write_taken && status.writes_waiting > outstanding_)
            violation("AW", "more bursts are outstanding than declared", bus.write.address);
        status.reads_waiting -= bus.beat_taken && bus.beat_last;
        status.writes_waiting -= bus.response_taken;
    }

    // Both ends of the bus return to their initial state.
    void reset() {
        held_read_.valid = held_write_.valid = held_valid_ = false;
        announced_.clear();
        written_.clear();
        beats_ = 0;
        shared_.status.reads_waiting = shared_.status.writes_waiting = 0;
    }

private:
    static constexpr const char* kInReset = "is valid in reset";

    // The rules of one address channel; `held` is its payload when valid met no ready in the last cycle.
    void address(const char* channel, Address& held, const Address& now, bool taken) {
        if (held.valid && (!now.valid || now.address != held.address || now.info != held.info))
            violation(channel, "changed before ready", held.address);
        held = now;
        held.valid = now.valid && !taken;
        if (!taken) return;
        const uint64_t end = now.address + uint64_t{now.beats()} * bus_bytes_;
        if (now.burst() != 1) violation(channel, "burst is not incrementing", now.address);
        if (1u << now.size() != bus_bytes_) violation(channel, "beat is not as wide as the bus", now.address);
        if (now.address % bus_bytes_) violation(channel, "address is not aligned to the bus", now.address);
        if (now.address >> 12 != (end - 1) >> 12) violation(channel, "burst crosses a 4 KiB page", now.address);
        if (now.beats() > longest_) violation(channel, "burst is too long", now.address);
        if (!granted(now, end, &held == &held_read_ && now.id() == kFetchId)) {
            ++shared_.status.strays;
            violation(channel, "burst leaves what the host granted", now.address);
        }
    }

    // Grants count in whole beats: the bus has no smaller reads. The fetch reads the program, all else the regions.
    bool granted(const Address& burst, uint64_t end, bool fetch) const {
        const Control& control = shared_.control;
        if (!control.granting) return true;
        const uint64_t mask = ~uint64_t{bus_bytes_ - 1};
        for (unsigned i = fetch ? kRegions : 0; i < kRegions + fetch; ++i) {
            const Window& window = control.grants[i];
            if (window.low < window.high && burst.address >= (window.low & mask)
                && end <= ((window.high + bus_bytes_ - 1) & mask))
                return true;
        }
        return false;
    }

    void write_data(const Bus& bus) {
        if (held_valid_ && (!bus.data_valid || bus.strobe != held_strobe_ || bus.data_last != held_last_
                            || std::memcmp(bus.data, held_data_, bus_bytes_) != 0))
            violation("W", "changed before ready", 0);
        held_valid_ = bus.data_valid && !bus.data_taken;
        if (held_valid_) {
            std::memcpy(held_data_, bus.data, bus_bytes_);
            held_strobe_ = bus.strobe;
            held_last_ = bus.data_last;
        }
        if (bus.write_taken) announced_.push_back(bus.write.beats());
        if (bus.data_taken) {
            ++beats_;
            // A burst whose last beat is not marked is counted on as two, so that one fault is one violation.
            const bool over = written_.empty() && !announced_.empty() && beats_ == announced_.front();
            if (over && !bus.data_last) violation("W", "wlast is not on the last beat", 0);
            if (over || bus.data_last) {
                written_.push_back(beats_);
                beats_ = 0;
            }
        }
        for (; !written_.empty() && !announced_.empty(); written_.pop_front(), announced_.pop_front())
            if (written_.front() != announced_.front()) violation("W", "wlast is not on the last beat", 0);
    }

    void violation(const char* channel, const char* what, uint64_t address) {
        Status& status = shared_.status;
        if (status.violations++ == 0)
            std::snprintf(status.first_violation, sizeof status.first_violation,
                          "cycle %" PRIu64 ": %s %s (address 0x%" PRIx64 ")", status.cycles, channel, what, address);
    }

    Shared& shared_;
    const unsigned bus_bytes_;
    const unsigned longest_;
    const unsigned outstanding_;
    bool resetting_ = false;  // `rst` was high in the last cycle
    Address held_read_{};
    Address held_write_{};
    bool held_valid_ = false;
    bool held_last_ = false;
    uint64_t held_strobe_ = 0;
    uint8_t held_data_[64] = {};
    std::deque<unsigned> announced_;  // beats of the bursts whose address was taken, oldest first
    std::deque<unsigned> written_;    // beats of the bursts whose data were taken, where the address is still to come
    unsigned beats_ = 0;              // of the burst that is being written
};
