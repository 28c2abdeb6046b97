// The simulator's main loop: toggles the clock itself and enters cocotb only when it has something to do.
//
// cocotb's own verilator.cpp asks the VPI for every event, clock edges included, and runs all callback
// regions at each. Here a half cycle costs one eval() and one look at the value callbacks; the regions run
// only after a value callback or a timer did. Timers, value triggers, reads and writes behave as under
// verilator.cpp; the bench must not drive clk itself. A cycle takes 1 ns, so times in traces count cycles.
//
// Plusargs: +waves=FILE writes a waveform (builds with tracing only) of the Span of shared.h; +memories=FILE is
// explained in memories.h.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "Vtop.h"
#include "memories.h"
#include "verilated.h"
#include "verilated_vpi.h"

#if BARE_LOOP
#include "bare_loop.h"
#include "shared.h"
#endif
#if VM_TRACE_VCD
#include "verilated_vcd_c.h"
using WaveFile = VerilatedVcdC;
#elif VM_TRACE_FST
#include "verilated_fst_c.h"
using WaveFile = VerilatedFstC;
#endif
#if VM_COVERAGE
#include <unistd.h>

#include "verilated_cov.h"
#endif
#ifdef __linux__
#include <csignal>
#include <sys/prctl.h>
#endif

extern "C" void vlog_startup_routines_bootstrap(void);

namespace {

constexpr uint64_t kHalfPeriod = 500;  // ps

class Trace {
public:
    explicit Trace(Vtop& top) {
#if VM_TRACE
        const std::string match = Verilated::threadContextp()->commandArgsPlusMatch("waves=");
        if (match.empty()) return;
        Verilated::traceEverOn(true);
        file_ = std::make_unique<WaveFile>();
        top.trace(file_.get(), 99);
        file_->open(match.substr(match.find('=') + 1).c_str());
#endif
    }
    void dump(uint64_t time) {
#if VM_TRACE
        // A cycle is what a rising edge ends.
        if (file_ && waved.contains((time + kHalfPeriod) / (2 * kHalfPeriod))) file_->dump(time);
#endif
    }
    void close() {
#if VM_TRACE
        if (file_) file_->close();
#endif
    }

private:
#if VM_TRACE
    std::unique_ptr<WaveFile> file_;
#endif
};

// Leaves the points of the design and how often each was reached in a file of this process.
void write_coverage(VerilatedContext& context) {
#if VM_COVERAGE
    const char* const directory = std::getenv("SYSTOLITH_COVERAGE");
    if (!directory) return;
    const std::string path = directory + ("/" + std::to_string(getpid()));
    context.coveragep()->write(path.c_str());
    std::rename(path.c_str(), (path + ".dat").c_str());
#endif
}

bool call_value_callbacks() {
    bool called = false;
    while (VerilatedVpi::callValueCbs()) called = true;
    return called;
}

// All callback regions of one time step, until no callback changes a signal any more.
void settle(Vtop& top) {
    do {
        VerilatedVpi::doInertialPuts();
        call_value_callbacks();
        while (VerilatedVpi::evalNeeded()) {
            VerilatedVpi::clearEvalNeeded();
            top.eval();
            VerilatedVpi::doInertialPuts();
            call_value_callbacks();
        }
        VerilatedVpi::callCbs(cbReadWriteSynch);
        VerilatedVpi::doInertialPuts();
        call_value_callbacks();
    } while (VerilatedVpi::evalNeeded());
    VerilatedVpi::callCbs(cbReadOnlySynch);
}

}  // namespace

int main(int argc, char** argv) {
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // never outlive the program that started us
#endif
    VerilatedContext* const context = Verilated::threadContextp();
    context->commandArgs(argc, argv);
    Vtop top{context, ""};
#if BARE_LOOP
    const std::string bare = context->commandArgsPlusMatch("bare=");
    if (!bare.empty()) return BareLoop{*context, top}.run(bare.substr(bare.find('=') + 1));
#endif
    list_memories(*context);
    Verilated::fatalOnVpiError(false);
    static Trace trace{top};
    vlog_startup_routines_bootstrap();
    Verilated::addExitCb(
        [](void*) {
            VerilatedVpi::callCbs(cbEndOfSimulation);
            trace.close();
        },
        nullptr);
    VerilatedVpi::callCbs(cbStartOfSimulation);
    top.clk = 0;
    top.eval();
    settle(top);
    trace.dump(0);

    bool entered = true;  // cocotb ran in the last step, so it may await the next one
    uint64_t edge = kHalfPeriod;
    while (!context->gotFinish()) {
        const uint64_t deadline = VerilatedVpi::cbNextDeadline();
        const uint64_t now = std::min(edge, deadline);
        context->time(now);
        if (entered) entered = VerilatedVpi::callCbs(cbNextSimTime);
        if (deadline <= now) {
            VerilatedVpi::callTimedCbs();
            entered = true;
        }
        if (now == edge) {
            top.clk = !top.clk;
            edge += kHalfPeriod;
            // Before eval(), as under verilator.cpp: at a clock edge a bench reads what was there before it.
            if (call_value_callbacks()) entered = true;
        }
        top.eval();
        if (call_value_callbacks()) entered = true;
        if (entered) settle(top);
        trace.dump(now);
    }
    top.final();
    Verilated::runExitCallbacks();
    write_coverage(*context);
    return context->errorCount() > 0;
}
