// Hands each cycle of an AXI4 bus that others serve to axi_watch.cpp, which checks the protocol.
//
// WIDTH: bits of a data beat. ADDRESS: bits of an address. BEATS: longest burst that is allowed.
// OUTSTANDING: bursts in flight that are allowed, in each direction.
module axi_watch #(parameter WIDTH = 128, ADDRESS = 40, BEATS = 16, OUTSTANDING = 16) (
  input wire clk, input wire rst, input wire irq,
  input wire awid, input wire [ADDRESS-1:0] awaddr, input wire [7:0] awlen, input wire [2:0] awsize,
  input wire [1:0] awburst, input wire awvalid, input wire awready,
  input wire [WIDTH-1:0] wdata, input wire [WIDTH/8-1:0] wstrb, input wire wlast, input wire wvalid,
  input wire wready,
  input wire bid, input wire [1:0] bresp, input wire bvalid, input wire bready,
  input wire arid, input wire [ADDRESS-1:0] araddr, input wire [7:0] arlen, input wire [2:0] arsize,
  input wire [1:0] arburst, input wire arvalid, input wire arready,
  input wire rid, input wire [WIDTH-1:0] rdata, input wire [1:0] rresp, input wire rlast, input wire rvalid,
  input wire rready
);
  import "DPI-C" function void watch_open(input int bus_bytes, input int longest, input int outstanding);
  import "DPI-C" function void watch_tick(
    input int unsigned flags,
    input longint unsigned araddr, input int unsigned arinfo,
    input longint unsigned awaddr, input int unsigned awinfo,
    input bit [WIDTH-1:0] wdata, input longint unsigned wstrb);

  initial watch_open(WIDTH / 8, BEATS, OUTSTANDING);
  always @(posedge clk)
    watch_tick(
      32'({bready, bvalid, rlast, rready, rvalid, wlast, wready, wvalid, awready, awvalid, arready, arvalid, irq, rst}),
      64'(araddr), 32'({arid, arburst, arsize, arlen}),
      64'(awaddr), 32'({awid, awburst, awsize, awlen}),
      wdata, 64'(wstrb));
endmodule
