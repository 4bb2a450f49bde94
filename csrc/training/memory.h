// What the C library does with the memory of maps that are no longer needed.
//
// glibc takes blocks above 32 MiB from the system each time and hands the top of its heap back as soon as it is free.
// A training step allocates and frees the same maps over and over, so that their pages are cleared and mapped anew in
// every step, which costs about as much as writing them.
#pragma once

namespace evenbit::training {

// Has freed memory kept for the next step, for the rest of the process. Does nothing in other C libraries.
void keep_freed_memory();

}  // namespace evenbit::training
