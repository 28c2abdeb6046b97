// A register in each channel of an AXI4-Lite bus, and on reset; one transfer in two cycles.
//
// All logic behind the top's inputs is evaluated by Verilator at every edge of the clock, changed or not, and behind
// reset and register writes that is much of an accelerator. Up to these registers there is nothing of it.
module axi_lite_slice #(parameter ADDRESS = 12) (
  input wire clk, input wire i_rst, output reg o_rst,
  input wire [ADDRESS-1:0] i_awaddr, input wire i_awvalid, output wire i_awready,
  input wire [31:0] i_wdata, input wire [3:0] i_wstrb, input wire i_wvalid, output wire i_wready,
  output wire [1:0] i_bresp, output wire i_bvalid, input wire i_bready,
  input wire [ADDRESS-1:0] i_araddr, input wire i_arvalid, output wire i_arready,
  output wire [31:0] i_rdata, output wire [1:0] i_rresp, output wire i_rvalid, input wire i_rready,
  output wire [ADDRESS-1:0] o_awaddr, output wire o_awvalid, input wire o_awready,
  output wire [31:0] o_wdata, output wire [3:0] o_wstrb, output wire o_wvalid, input wire o_wready,
  input wire [1:0] o_bresp, input wire o_bvalid, output wire o_bready,
  output wire [ADDRESS-1:0] o_araddr, output wire o_arvalid, input wire o_arready,
  input wire [31:0] o_rdata, input wire [1:0] o_rresp, input wire o_rvalid, output wire o_rready
);
  always @(posedge clk) o_rst <= i_rst;
  channel_register #(ADDRESS) aw(clk, o_rst, i_awvalid, i_awready, i_awaddr, o_awvalid, o_awready, o_awaddr);
  channel_register #(36) w(clk, o_rst, i_wvalid, i_wready, {i_wdata, i_wstrb}, o_wvalid, o_wready, {o_wdata, o_wstrb});
  channel_register #(2) b(clk, o_rst, o_bvalid, o_bready, o_bresp, i_bvalid, i_bready, i_bresp);
  channel_register #(ADDRESS) ar(clk, o_rst, i_arvalid, i_arready, i_araddr, o_arvalid, o_arready, o_araddr);
  channel_register #(34) r(clk, o_rst, o_rvalid, o_rready, {o_rdata, o_rresp}, i_rvalid, i_rready, {i_rdata, i_rresp});
endmodule

module channel_register #(parameter WIDTH = 1) (
  input wire clk, input wire rst,
  input wire i_valid, output wire i_ready, input wire [WIDTH-1:0] i_data,
  output reg o_valid, input wire o_ready, output reg [WIDTH-1:0] o_data
);
  assign i_ready = !o_valid;
  always @(posedge clk) begin
    o_valid <= !rst && (o_valid ? !o_ready : i_valid);
    if (i_ready) o_data <= i_data;
  end
endmodule
