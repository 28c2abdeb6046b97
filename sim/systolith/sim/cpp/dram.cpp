// The memory behind the accelerator: an AXI4 slave over a mapped file, called once a cycle through DPI-C.
//
// Reads are served in order of arrival, a burst at a time, each first beat `latency` cycles after its
// address (writes: the response that long after the last beat). Reads and writes share `bandwidth` bytes a
// cycle; 0 is one beat a cycle in each direction. A seed makes latencies, stalls and the interleaving of
// identifiers random, within the protocol. Outputs are registered: the call at a clock edge sees the inputs
// of the cycle before it and returns what the slave drives in the cycle after.
//
// Plusargs: +dram_file=PATH (holds the memory), +dram_base=HEX (address of its first byte),
// +dram_status=PATH (see Shared), +dram_latency=CYCLES, +dram_bandwidth=BYTES, +dram_seed=N,
// +dram_error=LOW,HIGH,RESP (hex addresses, HIGH excluded, answered with RESP), +dram_events=PATH
// (trace of instructions, see Event), +dram_activity=PATH (what happened, see Change, within the Span of shared.h),
// +dram_changes=N (most records there). All but the files can be changed on the way, see Control.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "axi_checker.h"
#include "svdpi.h"
#include "verilated.h"

namespace {

constexpr unsigned kOkay = 0;
constexpr unsigned kDecodeError = 3;
constexpr size_t kOutstanding = 64;  // bursts accepted at once, in each direction

// One record of the instruction trace; systolith.sim.dram.EVENT is its numpy dtype.
struct Event {
    uint64_t cycle;
    uint8_t unit;
    uint8_t kind;  // 0 issue, 1 retire
    uint16_t zero;
    uint32_t index;
};

// From `cycle` on, until the next record, every cycle was like this; systolith.sim.activity.CHANGE is its dtype.
struct Change {
    uint64_t cycle;
    uint32_t activity;  // bits: systolith.sim.activity.BITS
    uint32_t zero;
};

struct Burst {
    uint64_t address;
    uint64_t ready;  // first cycle in which it may be answered
    unsigned beats;  // still to come
    unsigned id;
    unsigned response;
};

std::string argument(const char* name) {
    const std::string prefix = std::string{name} + "=";
    const std::string match = Verilated::threadContextp()->commandArgsPlusMatch(prefix.c_str());
    return match.empty() ? match : match.substr(1 + prefix.size());
}

uint64_t number(const char* name, int base) { return std::strtoull(argument(name).c_str(), nullptr, base); }

uint8_t* map_file(const char* name, size_t& bytes) {
    const std::string path = argument(name);
    const int file = ::open(path.c_str(), O_RDWR);
    struct stat info {};
    void* map = MAP_FAILED;
    if (file >= 0 && ::fstat(file, &info) == 0 && info.st_size > 0)
        map = ::mmap(nullptr, info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (map == MAP_FAILED) {
        std::fprintf(stderr, "cannot map +%s=%s: %s\n", name, path.c_str(), std::strerror(errno));
        std::exit(2);
    }
    ::close(file);
    bytes = info.st_size;
    return static_cast<uint8_t*>(map);
}

class Dram {
public:
    struct Inputs {
        bool reset, write_valid, write_last, read_ready, response_ready;
        Address read, write;
        const uint8_t* data;
        uint64_t strobe;
    };

    Dram(unsigned bus_bytes, unsigned longest, unsigned outstanding)
        : memory_{map_file("dram_file", bytes_)},
          shared_{*reinterpret_cast<Shared*>(map_file("dram_status", shared_bytes_))},
          checker_{shared_, bus_bytes, longest, outstanding},
          bus_bytes_{bus_bytes},
          base_{number("dram_base", 16)},
          latency_{std::max<uint64_t>(1, number("dram_latency", 10))},
          bandwidth_{static_cast<int64_t>(number("dram_bandwidth", 10))},
          random_{number("dram_seed", 10)} {
        const std::string error = argument("dram_error");
        unsigned long long low = 0, high = 0, response = 0;
        if (!error.empty() && std::sscanf(error.c_str(), "%llx,%llx,%llu", &low, &high, &response) == 3) {
            control_.error = {low, high};
            control_.error_response = response;
            control_.error_kinds = kReads | kWrites;
        }
        const std::string events = argument("dram_events");
        if (!events.empty()) events_ = std::fopen(events.c_str(), "wb");
        const std::string changes = argument("dram_activity");
        if (!changes.empty()) changes_ = std::fopen(changes.c_str(), "wb");
        changes_left_ = number("dram_changes", 10);
    }

    bool recording() const { return changes_ != nullptr; }

    // The program's first cycle. Its record is written in any case: all times count from it.
    void start() {
        recorded.start(status_.cycles);
        waved.start(status_.cycles);
        if (changes_) change(kRunning);
    }

    void record(uint32_t activity) {
        if (!recorded.contains(status_.cycles)) activity &= kRunning | kQueued;
        if (activity != activity_ && changes_left_) change(activity);
    }

    unsigned tick(const Inputs& in, uint8_t* read_data) {
        ++status_.cycles;
        if (control_.timing != timing_) retime();
        checker_.observe_reset(in.reset, in.read, in.write, in.write_valid);
        const bool idle = in.reset || control_.forget;
        if (idle) {
            forget();
        } else {
            checker_.observe({in.read, in.write, in.read.valid && read_ready_, in.write.valid && write_ready_,
                              in.write_valid, in.write_valid && data_ready_, in.write_last, in.data, in.strobe,
                              beat_valid_ && in.read_ready, beat_last_ != 0, response_valid_ && in.response_ready});
            accept(in);
            serve(in);
        }
        std::memcpy(read_data, beat_, bus_bytes_);
        return read_ready_ | write_ready_ << 1 | data_ready_ << 2 | beat_valid_ << 3 | beat_id_ << 4 | beat_last_ << 5
               | beat_response_ << 6 | response_valid_ << 8 | response_id_ << 9 | response_ << 10;
    }

    void trace(unsigned kind, unsigned units, const svBitVecVal* indices) {
        for (unsigned unit = 0; unit < 4; ++unit) {
            if (!(units >> unit & 1)) continue;
            status_.retired += kind;
            status_.retired_of[unit] += kind;
            if (!events_) continue;
            uint32_t index = 0;  // 24 bits each, packed
            for (unsigned bit = 0; bit < 24; ++bit)
                index |= (indices[(24 * unit + bit) / 32] >> (24 * unit + bit) % 32 & 1) << bit;
            const Event event{status_.cycles, static_cast<uint8_t>(unit), static_cast<uint8_t>(kind), 0, index};
            std::fwrite(&event, sizeof event, 1, events_);
        }
    }

private:
    static constexpr uint32_t kRunning = 1 << 8, kQueued = 15 << 9;

    void change(uint32_t activity) {
        const Change change{status_.cycles, activity_ = activity, 0};
        std::fwrite(&change, sizeof change, 1, changes_);
        --changes_left_;
    }

    static constexpr unsigned kReads = 1, kWrites = 2;
    enum Channel { kReadAddress, kReadData, kWriteAddress, kWriteData, kResponse };

    void forget() {
        for (auto& queue : reads_) queue.clear();
        for (auto& queue : order_) queue.clear();
        writes_.clear();
        responses_.clear();
        beat_valid_ = response_valid_ = false;
        read_ready_ = write_ready_ = data_ready_ = false;
        current_ = kNone;
        checker_.reset();
    }

    void retime() {
        timing_ = control_.timing;
        latency_ = std::max<uint64_t>(1, control_.latency);
        bandwidth_ = static_cast<int64_t>(control_.bandwidth);
        random_ = control_.seed;
        credit_ = 0;
    }

    bool mute(Channel channel) const { return control_.mute >> channel & 1 && status_.cycles >= control_.mute_from; }

    // Transfers of the cycle that ends now.
    void accept(const Inputs& in) {
        if (in.read.valid && read_ready_) {
            reads_[in.read.id()].push_back(burst(in.read));
            order_[in.read.id()].push_back(arrivals_++);
        }
        if (in.write.valid && write_ready_) writes_.push_back(burst(in.write));
        if (in.write_valid && data_ready_) write_beat(in);
        else if (data_ready_) credit_ += bus_bytes_;
        if (in.read_ready && beat_valid_) {
            beat_valid_ = false;
            ++status_.read_beats;
        }
        if (in.response_ready) response_valid_ = false;
    }

    void write_beat(const Inputs& in) {
        ++status_.write_beats;
        Burst& front = writes_.front();
        const unsigned response = check(front.address, kWrites);
        front.response = std::max(front.response, response);
        if (response == kOkay) {
            uint8_t* const row = memory_ + (front.address - base_);
            const uint64_t all = ~0ULL >> (64 - bus_bytes_);
            if (in.strobe == all) std::memcpy(row, in.data, bus_bytes_);
            else
                for (unsigned byte = 0; byte < bus_bytes_; ++byte)
                    if (in.strobe >> byte & 1) row[byte] = in.data[byte];
        }
        front.address += bus_bytes_;
        if (--front.beats) return;
        front.ready = status_.cycles + delay();
        responses_.push_back(front);
        writes_.pop_front();
    }

    // What the slave drives in the next cycle.
    void serve(const Inputs& in) {
        if (bandwidth_) credit_ = std::min(credit_ + bandwidth_, std::max<int64_t>(bandwidth_, bus_bytes_) + bus_bytes_);
        const bool read = !beat_valid_ && !mute(kReadData) && choose();
        const bool write = !writes_.empty() && !mute(kWriteData) && (in.write_valid || !bandwidth_) && !stall();
        data_ready_ = false;
        for (const bool direction : {turn_, !turn_}) {
            if (!(direction ? write : read) || (bandwidth_ && credit_ < bus_bytes_)) continue;
            credit_ -= bus_bytes_;
            turn_ = !direction;
            if (direction) data_ready_ = true;
            else read_beat();
        }
        if (!bandwidth_) credit_ = 0;
        if (!response_valid_ && !responses_.empty() && !mute(kResponse) && status_.cycles + 1 >= responses_.front().ready) {
            response_valid_ = true;
            response_id_ = responses_.front().id;
            response_ = responses_.front().response;
            responses_.pop_front();
        }
        read_ready_ = !mute(kReadAddress) && reads_[0].size() + reads_[1].size() < kOutstanding && !stall();
        write_ready_ = !mute(kWriteAddress) && writes_.size() + responses_.size() < kOutstanding && !stall();
    }

    // Select in current_ the identifier whose read burst goes on, or starts; false if none can.
    bool choose() {
        if (stall()) return false;
        if (current_ != kNone && !random_) return true;
        unsigned best = kNone;
        const unsigned first = random_ ? next_random() & 1 : 0;
        for (const unsigned id : {first, 1 - first}) {
            if (reads_[id].empty() || status_.cycles + 1 < reads_[id].front().ready) continue;
            if (best == kNone || (!random_ && order_[id].front() < order_[best].front())) best = id;
        }
        current_ = best;
        return best != kNone;
    }

    void read_beat() {
        Burst& front = reads_[current_].front();
        beat_response_ = check(front.address, kReads);
        if (beat_response_ == kOkay) std::memcpy(beat_, memory_ + (front.address - base_), bus_bytes_);
        else std::memset(beat_, 0, bus_bytes_);
        front.address += bus_bytes_;
        beat_valid_ = true;
        beat_id_ = current_;
        beat_last_ = --front.beats == 0;
        if (!beat_last_) return;
        reads_[current_].pop_front();
        order_[current_].pop_front();
        current_ = kNone;
    }

    Burst burst(const Address& a) { return {a.address, status_.cycles + delay(), a.beats(), a.id(), kOkay}; }

    unsigned check(uint64_t address, unsigned kind) const {
        const Window& error = control_.error;
        if (control_.error_kinds & kind && address >= error.low && address < error.high)
            return static_cast<unsigned>(control_.error_response);
        const uint64_t offset = address - base_;
        return offset < bytes_ && bytes_ - offset >= bus_bytes_ ? kOkay : kDecodeError;
    }

    uint64_t delay() { return random_ ? 1 + next_random() % (2 * latency_) : latency_; }
    bool stall() { return random_ && (next_random() & 3) == 0; }

    // xorshift64* (Vigna, arXiv 1402.6246).
    uint64_t next_random() {
        random_ ^= random_ >> 12;
        random_ ^= random_ << 25;
        random_ ^= random_ >> 27;
        return random_ * 0x2545F4914F6CDD1DULL >> 32;
    }

    static constexpr unsigned kNone = 2;

    size_t bytes_ = 0;
    size_t shared_bytes_ = 0;
    uint8_t* const memory_;
    Shared& shared_;
    Status& status_ = shared_.status;
    Control& control_ = shared_.control;
    AxiChecker checker_;
    const unsigned bus_bytes_;
    const uint64_t base_;
    uint64_t latency_;      // cycles
    int64_t bandwidth_;     // bytes a cycle
    uint64_t random_;       // state; 0: nothing is random
    uint64_t timing_ = 0;   // the Control::timing that these three are of
    FILE* events_ = nullptr;
    FILE* changes_ = nullptr;
    uint64_t changes_left_ = 0;
    uint32_t activity_ = 0;

    std::deque<Burst> reads_[2];
    std::deque<uint64_t> order_[2];  // arrival number of each read burst
    std::deque<Burst> writes_;
    std::deque<Burst> responses_;
    uint64_t arrivals_ = 0;
    unsigned current_ = kNone;
    int64_t credit_ = 0;  // bytes
    bool turn_ = false;   // write first when both directions want the last credit

    unsigned read_ready_ = 0, write_ready_ = 0, data_ready_ = 0;
    unsigned beat_valid_ = 0, beat_id_ = 0, beat_last_ = 0, beat_response_ = 0;
    unsigned response_valid_ = 0, response_id_ = 0, response_ = 0;
    uint8_t beat_[64] = {};
};

Dram* dram = nullptr;

}  // namespace

Span recorded, waved;

void Span::open(const char* cycles) {
    if (!argument("trace_from").empty()) from_ = number("trace_from", 10);
    if (!argument(cycles).empty()) count_ = number(cycles, 10);
}

// Whether what happens in every cycle is to be told by dram_activity.
extern "C" int dram_open(int bus_bytes, int longest, int outstanding) {
    recorded.open("trace_cycles");
    waved.open("wave_cycles");
    dram = new Dram{static_cast<unsigned>(bus_bytes), static_cast<unsigned>(longest),
                    static_cast<unsigned>(outstanding)};
    return dram->recording();
}

extern "C" void dram_start() { dram->start(); }

extern "C" void dram_activity(unsigned activity) { dram->record(activity); }

// `flags`: reset, wvalid, wlast, rready, bready, arvalid, awvalid from bit 0. Returns arready, awready, wready,
// rvalid, rid, rlast, rresp (2 bits), bvalid, bid, bresp (2 bits) from bit 0.
extern "C" unsigned dram_tick(unsigned flags, uint64_t araddr, unsigned arinfo, uint64_t awaddr, unsigned awinfo,
                              const svBitVecVal* wdata, uint64_t wstrb, svBitVecVal* rdata) {
    const auto bit = [flags](unsigned n) { return (flags >> n & 1) != 0; };
    const Dram::Inputs in{bit(0), bit(1), bit(2), bit(3), bit(4), {bit(5), araddr, arinfo}, {bit(6), awaddr, awinfo},
                          reinterpret_cast<const uint8_t*>(wdata), wstrb};
    return dram->tick(in, reinterpret_cast<uint8_t*>(rdata));
}

extern "C" void dram_trace(unsigned issue, unsigned retire, const svBitVecVal* issued, const svBitVecVal* retired) {
    dram->trace(0, issue, issued);
    dram->trace(1, retire, retired);
}
