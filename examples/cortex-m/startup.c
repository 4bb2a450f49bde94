/* What happens before main on a Cortex-M: the FPU is switched on, data is copied from flash, the rest is cleared. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CPACR (*(volatile uint32_t*)0xE000ED88)

extern uint8_t data_start[], data_end[], data_load[], bss_start[], bss_end[], stack_high[];
extern void initialise_monitor_handles(void);
extern int main(void);

void reset(void);
static void fault(void) { abort(); }
static void nothing(void) {}
void __attribute__((weak)) tick(void) {}

typedef void (*handler)(void);
const handler vectors[16] __attribute__((section(".vectors"), used)) = {
    (handler)stack_high, reset, fault, fault, fault, fault, fault, 0, 0, 0, 0, nothing, fault, 0, nothing, tick,
};

void reset(void) {
  CPACR |= 0xFu << 20; /* full access to the FPU; subnormal numbers are kept, as FPSCR is after reset */
  __asm volatile("dsb\n isb");
  memcpy(data_start, data_load, (size_t)(data_end - data_start));
  memset(bss_start, 0, (size_t)(bss_end - bss_start));
  initialise_monitor_handles();
  exit(main());
}
