// The memory's AXI4 slave port: hands each cycle's inputs to dram.cpp and drives what it returns.
//
// WIDTH: bits of a data beat. ADDRESS: bits of an address. BEATS: longest burst that is allowed.
// OUTSTANDING: bursts in flight that are allowed, in each direction.
// UNITS, INDEX, CAUSES: width of the instruction trace, of each unit's index in it, and of what the array did.
module dram_port #(parameter WIDTH = 128, ADDRESS = 40, BEATS = 16, OUTSTANDING = 16, UNITS = 4, INDEX = 24,
                   CAUSES = 8) (
  input wire clk,
  input wire rst,
  input wire awid, input wire [ADDRESS-1:0] awaddr, input wire [7:0] awlen, input wire [2:0] awsize,
  input wire [1:0] awburst, input wire awvalid, output wire awready,
  input wire [WIDTH-1:0] wdata, input wire [WIDTH/8-1:0] wstrb, input wire wlast, input wire wvalid,
  output wire wready,
  output wire bid, output wire [1:0] bresp, output wire bvalid, input wire bready,
  input wire arid, input wire [ADDRESS-1:0] araddr, input wire [7:0] arlen, input wire [2:0] arsize,
  input wire [1:0] arburst, input wire arvalid, output wire arready,
  output wire rid, output wire [WIDTH-1:0] rdata, output wire [1:0] rresp, output wire rlast, output wire rvalid,
  input wire rready,
  input wire [UNITS-1:0] trace_issue, input wire [UNITS*INDEX-1:0] trace_issue_index,
  input wire [UNITS-1:0] trace_retire, input wire [UNITS*INDEX-1:0] trace_retire_index,
  input wire [UNITS-1:0] trace_queue, input wire [CAUSES-1:0] trace_array, input wire trace_run,
  input wire irq, input wire register_write
);
  import "DPI-C" function int dram_open(input int bus_bytes, input int longest, input int outstanding);
  import "DPI-C" function void dram_start();
  import "DPI-C" function void dram_activity(input int unsigned activity);
  import "DPI-C" function int unsigned dram_tick(
    input int unsigned flags,
    input longint unsigned araddr, input int unsigned arinfo,
    input longint unsigned awaddr, input int unsigned awinfo,
    input bit [WIDTH-1:0] wdata, input longint unsigned wstrb, output bit [WIDTH-1:0] rdata);
  import "DPI-C" function void dram_trace(
    input int unsigned issue, input int unsigned retire,
    input bit [UNITS*INDEX-1:0] issued, input bit [UNITS*INDEX-1:0] retired);

  int unsigned driven, next;
  bit recording, ran;
  bit [WIDTH-1:0] beat, next_beat;

  initial recording = dram_open(WIDTH / 8, BEATS, OUTSTANDING) != 0;
  always @(posedge clk) begin
    if (|{trace_issue, trace_retire})
      dram_trace(32'(trace_issue), 32'(trace_retire), trace_issue_index, trace_retire_index);
    ran <= trace_run;
    if (trace_run && !ran) dram_start();
    if (recording)  // systolith.sim.activity.BITS
      dram_activity(32'({register_write, irq, bvalid & bready, awvalid & awready, arid, arvalid & arready,
        wvalid & wready, rid, rvalid & rready, trace_queue, trace_run, trace_array}));
    next = dram_tick(
      32'({awvalid, arvalid, bready, rready, wlast, wvalid, rst}),
      64'(araddr), 32'({arid, arburst, arsize, arlen}),
      64'(awaddr), 32'({awid, awburst, awsize, awlen}),
      wdata, 64'(wstrb), next_beat);
    driven <= next;
    beat <= next_beat;
  end
  assign {bresp, bid, bvalid, rresp, rlast, rid, rvalid, wready, awready, arready} = driven[11:0];
  assign rdata = beat;
endmodule
