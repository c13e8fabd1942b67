// The system calls of a server, counted while it runs, without a word of it in the server: the
// linker puts counting functions in the place of libc's (ld's --wrap; meson.build has the list).
//
// They tell the two phases of network I/O apart. Waiting until bytes are there: select, poll,
// epoll_wait, io_uring_enter, a sleep between two tries, and whatever came back empty-handed
// (EAGAIN). Copying them: what recv and send moved.
//
// OWNER     The memory is shared by the laboratory and the server's process: see Install().
// THREADS   Any. Each figure is read by itself.

#pragma once

#include <atomic>
#include <cstdint>

namespace models {

struct Counters {
  // select, poll, epoll_wait, io_uring_enter, nanosleep: calls whose purpose is to wait.
  std::atomic<std::uint64_t> waits{0};
  std::atomic<std::uint64_t> receives{0};  // recv that brought bytes, or the end
  std::atomic<std::uint64_t> sends{0};     // send and sendmsg that took bytes
  std::atomic<std::uint64_t> in_vain{0};   // of recv, send and accept4: EAGAIN
  std::atomic<std::uint64_t> threads{0};   // started: one call here, though libc makes some more
  std::atomic<std::uint64_t> others{0};    // accept4, epoll_ctl, close, setsockopt, shutdown
};

// What the wrapped calls of this process count in from now on: memory that is shared with whom it
// may concern (mmap, MAP_SHARED), and lives as long as the process. Without it nothing is counted.
void Install(Counters& counters) noexcept;

}  // namespace models
