// A kernel as an XDP program: the packet is the memory.
#define XDP
#include "common.h"
#define SEC "xdp"
struct xdp_md { u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex; };
#include KERNEL
__attribute__((section(SEC))) int entry(struct xdp_md *ctx) {
  u8 *m = (u8 *)(long)ctx->data, *e = (u8 *)(long)ctx->data_end;
  if (m + 3072 > e) return -1;
  return kernel(m, e);
}
#ifdef HAVE_SUB
#include "calls_sub.h"
#endif
