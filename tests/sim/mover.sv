// A stand-in for the accelerator, quick to build, that makes the memory work: it copies PROGRAM_LENGTH times 32
// bytes from PROGRAM_BASE to the base of region 0, in bursts of BEATS beats, as fast as the memory lets it.
// Each burst counts as an instruction of unit LOAD, issued at its read address and retired by its write response.
// The size of region 1 in bytes, if it is not 0, names a breach of the protocol that it commits; until that register is
// written, plusarg +breach does.
module systolith #(parameter WIDTH = 64, ADDRESS = 40, BEATS = 16, OUTSTANDING = 64) (
  input clk, input rst, output irq,
  input [11:0] s_axi__awaddr, input s_axi__awvalid, output s_axi__awready,
  input [31:0] s_axi__wdata, input [3:0] s_axi__wstrb, input s_axi__wvalid, output s_axi__wready,
  output [1:0] s_axi__bresp, output reg s_axi__bvalid, input s_axi__bready,
  input [11:0] s_axi__araddr, input s_axi__arvalid, output s_axi__arready,
  output reg [31:0] s_axi__rdata, output [1:0] s_axi__rresp, output reg s_axi__rvalid, input s_axi__rready,
  output m_axi__awid, output [ADDRESS-1:0] m_axi__awaddr, output [7:0] m_axi__awlen, output [2:0] m_axi__awsize,
  output [1:0] m_axi__awburst, output m_axi__awvalid, input m_axi__awready,
  output [WIDTH-1:0] m_axi__wdata, output [WIDTH/8-1:0] m_axi__wstrb, output m_axi__wlast, output m_axi__wvalid,
  input m_axi__wready, input m_axi__bid, input [1:0] m_axi__bresp, input m_axi__bvalid, output m_axi__bready,
  output m_axi__arid, output [ADDRESS-1:0] m_axi__araddr, output [7:0] m_axi__arlen, output [2:0] m_axi__arsize,
  output [1:0] m_axi__arburst, output m_axi__arvalid, input m_axi__arready,
  input m_axi__rid, input [WIDTH-1:0] m_axi__rdata, input [1:0] m_axi__rresp, input m_axi__rlast, input m_axi__rvalid,
  output m_axi__rready,
  output [3:0] trace_issue, output [95:0] trace_issue_index, output [3:0] trace_retire, output [95:0] trace_retire_index,
  output [3:0] trace_queue, output [7:0] trace_array, output trace_run
);
  localparam BURST = BEATS * WIDTH / 8;
  reg [31:0] registers [0:1023];
  reg [31:0] cycles, reads, reads_ended, writes, responses, beat;
  reg busy, done, fault;
  wire [31:0] bursts = registers[10] * 32 / BURST;
  wire [ADDRESS-1:0] source = {registers[9], registers[8]};
  wire [ADDRESS-1:0] target = {registers[65], registers[64]};
  initial if (!$value$plusargs("breach=%d", registers[70])) registers[70] = 0;
  wire [31:0] breach = registers[70];
  wire write = s_axi__awvalid && s_axi__wvalid && !s_axi__bvalid;
  assign s_axi__awready = write;
  assign s_axi__wready = write;
  assign s_axi__arready = !s_axi__rvalid;
  assign s_axi__bresp = 0;
  assign s_axi__rresp = 0;
  assign irq = done || fault;
  assign m_axi__arid = breach != 1;
  assign m_axi__awid = breach == 2;
  assign m_axi__araddr = source + reads * BURST + (breach == 3 ? WIDTH / 8 : breach == 4 ? 4 : 0);
  assign m_axi__awaddr = target + writes * BURST + (breach == 5 && !m_axi__awready ? BURST : 0);
  assign {m_axi__arlen, m_axi__awlen} = {2{8'(BEATS - 1)}};
  assign {m_axi__arsize, m_axi__awsize} = {2{3'($clog2(WIDTH / 8)) - 3'(breach == 6)}};
  assign {m_axi__arburst, m_axi__awburst} = {2{2'(breach != 7)}};
  assign m_axi__arvalid = busy && reads != bursts && reads - reads_ended < OUTSTANDING || rst && breach == 14;
  assign m_axi__awvalid = busy && writes != bursts + 32'(breach == 8) && writes - responses < OUTSTANDING
                          || rst && breach == 15;
  assign m_axi__wvalid = m_axi__rvalid || rst && breach == 16;
  assign m_axi__rready = m_axi__wready;
  assign m_axi__wdata = breach == 9 && !m_axi__wready ? ~m_axi__rdata : m_axi__rdata;
  assign m_axi__wstrb = breach == 10 && !m_axi__wready ? '0 : '1;
  assign m_axi__wlast = breach != 11 && beat == BEATS - 1 - 32'(breach == 12);
  assign m_axi__bready = breach != 13;
  assign trace_issue = {3'd0, m_axi__arvalid && m_axi__arready};
  assign trace_retire = {3'd0, m_axi__bvalid};
  assign trace_issue_index = reads;
  assign trace_retire_index = responses;
  assign trace_queue = trace_issue;
  assign trace_array = {!m_axi__rvalid, 6'd0, m_axi__rvalid};
  assign trace_run = busy;
  always @(posedge clk) begin
    if (busy) cycles <= cycles + 1;
    if (s_axi__bready) s_axi__bvalid <= 0;
    if (s_axi__rready) s_axi__rvalid <= 0;
    if (write) begin
      s_axi__bvalid <= 1;
      registers[s_axi__awaddr[11:2]] <= s_axi__wdata;
      if (s_axi__awaddr == 12'h008) busy <= 1;
    end
    if (s_axi__arvalid && s_axi__arready) begin
      s_axi__rvalid <= 1;
      case (s_axi__araddr)
        12'h00C: s_axi__rdata <= {fault, done, busy};
        12'h200: s_axi__rdata <= cycles;
        12'h208: s_axi__rdata <= responses;
        default: s_axi__rdata <= registers[s_axi__araddr[11:2]];
      endcase
    end
    if (m_axi__arvalid && m_axi__arready) reads <= reads + 1;
    if (m_axi__rvalid && m_axi__rready && m_axi__rlast) reads_ended <= reads_ended + 1;
    if (m_axi__awvalid && m_axi__awready) writes <= writes + 1;
    if (m_axi__wvalid && m_axi__wready) beat <= m_axi__wlast ? 0 : beat + 1;
    if (m_axi__rvalid && m_axi__rresp != 0 && !fault) begin
      fault <= 1;
      registers[6] <= 4;
      registers[7] <= responses;
    end
    if (m_axi__bvalid) begin
      responses <= responses + 1;
      if (responses + 1 == bursts) begin
        done <= 1;
        busy <= 0;
      end
    end
    if (rst)
      {busy, done, fault, s_axi__bvalid, s_axi__rvalid, cycles, reads, reads_ended, writes, responses, beat} <= 0;
  end
endmodule
