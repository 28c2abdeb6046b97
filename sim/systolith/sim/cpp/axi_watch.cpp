// Watches an AXI4 bus that is served by someone else: the rules of axi_checker.h, and no burst left over at an
// interrupt. A breach ends the simulation, and with that fails whatever runs in it.

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "axi_checker.h"
#include "svdpi.h"

namespace {

struct Watch {
    Watch(unsigned bus_bytes, unsigned longest, unsigned outstanding)
        : checker{shared, bus_bytes, longest, outstanding} {}
    Shared shared{};
    AxiChecker checker;
};

Watch* watch = nullptr;

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "the accelerator broke the AXI protocol: %s\n", what);
    std::fflush(nullptr);
    std::_Exit(1);
}

}  // namespace

extern "C" void watch_open(int bus_bytes, int longest, int outstanding) {
    watch = new Watch{static_cast<unsigned>(bus_bytes), static_cast<unsigned>(longest),
                      static_cast<unsigned>(outstanding)};
}

// `flags`: reset, irq, arvalid, arready, awvalid, awready, wvalid, wready, wlast, rvalid, rready, rlast, bvalid, bready
// from bit 0.
extern "C" void watch_tick(unsigned flags, uint64_t araddr, unsigned arinfo, uint64_t awaddr, unsigned awinfo,
                           const svBitVecVal* wdata, uint64_t wstrb) {
    const auto bit = [flags](unsigned n) { return (flags >> n & 1) != 0; };
    Status& status = watch->shared.status;
    ++status.cycles;
    const Address read{bit(2), araddr, arinfo}, write{bit(4), awaddr, awinfo};
    watch->checker.observe_reset(bit(0), read, write, bit(6));
    if (bit(0)) {
        watch->checker.reset();
    } else {
        watch->checker.observe({read, write, bit(2) && bit(3), bit(4) && bit(5), bit(6), bit(6) && bit(7), bit(8),
                                reinterpret_cast<const uint8_t*>(wdata), wstrb, bit(9) && bit(10), bit(11),
                                bit(12) && bit(13)});
    }
    if (status.violations) fail(status.first_violation);
    if (bit(1) && status.reads_waiting + status.writes_waiting) fail("an interrupt before the last response");
}
