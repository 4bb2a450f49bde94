/* Counts the instructions of one inference, and the stack that the program has taken then. On QEMU with -icount the
 * SysTick timer runs on the number of instructions; how many go to a tick is found by timing a loop of known length. */
#include <stdint.h>
#include <stdio.h>

#include HEADER

#define CONTROL (*(volatile uint32_t*)0xE000E010)
#define RELOAD (*(volatile uint32_t*)0xE000E014)
#define CURRENT (*(volatile uint32_t*)0xE000E018)
#define PERIOD 0x1000000u
#define LOOPS 10000000u
#define PAINT 0xA5A5A5A5u

extern uint32_t stack_low[], stack_high[];

static volatile uint32_t periods;
void tick(void) { ++periods; }

/* Ticks so far. */
static uint64_t now(void) {
  uint32_t before, current;
  do {
    before = periods;
    current = CURRENT;
  } while (before != periods);
  return (uint64_t)before * PERIOD + (PERIOD - 1 - current);
}

/* 2 * LOOPS instructions. */
static void __attribute__((noinline)) spin(void) {
  uint32_t count = LOOPS;
  __asm volatile("1: subs %0, %0, #1\n bne 1b" : "+r"(count) : : "cc");
}

/* Bytes of stack that have been written since it was painted. */
static uint32_t stack_used(void) {
  const uint32_t* word = stack_low;
  while (word < stack_high && *word == PAINT) ++word;
  return (uint32_t)((const uint8_t*)stack_high - (const uint8_t*)word);
}

int main(void) {
  static uint8_t image[IMAGE_BYTES];
  static float logits[LOGITS];
  uint32_t random = 1, *stack_pointer, stack;
  uint64_t start, spun, ran;
  for (uint32_t i = 0; i < IMAGE_BYTES; ++i) {
    random = random * 1664525u + 1013904223u;
    image[i] = (uint8_t)(random >> 24);
  }
  RELOAD = PERIOD - 1;
  CURRENT = 0;
  CONTROL = 7;                   /* processor clock, interrupt, on */
  while (CURRENT == 0) continue; /* the first period begins at the first tick */
  start = now();
  spin();
  spun = now() - start;
  __asm volatile("mov %0, sp" : "=r"(stack_pointer));
  for (volatile uint32_t* word = stack_low; word < stack_pointer; ++word) *word = PAINT;
  start = now();
  if (RUN(image, logits) != 0) return 1;
  ran = now() - start;
  stack = stack_used();
  printf("instructions %lu\nstack %lu\n", (unsigned long)(ran * 2 * LOOPS / spun), (unsigned long)stack);
  return 0;
}
