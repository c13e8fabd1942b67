// Whether a piece of code fails a check: it runs in a forked child, so that only that dies.
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

namespace weir::test {

// Runs `body` in a child; returns the wait status. The child exits with 0 when it lives through it.
template <class Body>
int StatusOfChild(Body&& body) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit no_core{.rlim_cur = 0, .rlim_max = 0};
    static_cast<void>(::setrlimit(RLIMIT_CORE, &no_core));
    static_cast<void>(std::freopen("/dev/null", "w", stderr));
    static_cast<void>(std::signal(SIGABRT, SIG_DFL));  // not the test framework's
    body();
    ::_exit(0);
  }
  int status = -1;
  if (child < 0 || ::waitpid(child, &status, 0) != child) return -1;
  return status;
}

template <class Body>
bool Aborts(Body&& body) {
  const int status = StatusOfChild(body);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

template <class Body>
bool LivesThrough(Body&& body) {
  const int status = StatusOfChild(body);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace weir::test
