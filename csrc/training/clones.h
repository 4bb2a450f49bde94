// For loops of training that the compiler vectorizes: EVENBIT_CLONES has a function compiled for each of these
// instruction sets, and the loader takes the best one that the CPU has.
#pragma once

#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__SANITIZE_ADDRESS__)
#define EVENBIT_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define EVENBIT_CLONES
#endif
