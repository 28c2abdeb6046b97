// The same model in a plain loop, without cocotb or the VPI: what a simulation of it could cost at the least.
//
// Plusarg +bare=FILE names the register writes that start a program, one "offset value" (hexadecimal) a line. The loop
// runs until the interrupt, then writes the cycles since the last register write and their seconds to FILE.result.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

#include "Vtop.h"
#include "verilated.h"

class BareLoop {
public:
    BareLoop(VerilatedContext& context, Vtop& top) : context_{context}, top_{top} {}

    int run(const std::string& path) {
        FILE* const writes = std::fopen(path.c_str(), "r");
        if (!writes) return 1;
        top_.rst = 1;
        for (int cycle = 0; cycle < 4; ++cycle) tick();
        top_.rst = 0;
        for (int cycle = 0; cycle < 4; ++cycle) tick();
        unsigned offset = 0, value = 0;
        while (std::fscanf(writes, "%x %x", &offset, &value) == 2) write(offset, value);
        std::fclose(writes);
        const uint64_t begin = cycles_;
        const auto start = std::chrono::steady_clock::now();
        while (!top_.irq && !context_.gotFinish()) tick();
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
        FILE* const result = std::fopen((path + ".result").c_str(), "w");
        if (!result) return 1;
        std::fprintf(result, "%llu %f\n", static_cast<unsigned long long>(cycles_ - begin), seconds.count());
        std::fclose(result);
        top_.final();
        return 0;
    }

private:
    void tick() {
        top_.clk = 1;
        top_.eval();
        top_.clk = 0;
        top_.eval();
        context_.timeInc(1000);
        ++cycles_;
    }

    void write(unsigned offset, unsigned value) {
        top_.s_axi_awaddr = offset;
        top_.s_axi_wdata = value;
        top_.s_axi_wstrb = 15;
        top_.s_axi_awvalid = top_.s_axi_wvalid = top_.s_axi_bready = 1;
        while (top_.s_axi_awvalid || top_.s_axi_wvalid) {
            const bool address = top_.s_axi_awready, data = top_.s_axi_wready;
            tick();
            if (address) top_.s_axi_awvalid = 0;
            if (data) top_.s_axi_wvalid = 0;
        }
        while (!top_.s_axi_bvalid) tick();
        tick();
        top_.s_axi_bready = 0;
    }

    VerilatedContext& context_;
    Vtop& top_;
    uint64_t cycles_ = 0;
};
