// A detached thread that may be refused. std::thread would throw, and gives no say about the stack.

#pragma once

#include <pthread.h>

#include <memory>
#include <utility>

namespace models {

// False if the system gives no more threads; `work` is destroyed then.
template <class Work>
[[nodiscard]] bool StartThread(Work work) {
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  auto kept = std::make_unique<Work>(std::move(work));
  pthread_t thread{};
  const auto run = [](void* argument) -> void* {
    (*std::unique_ptr<Work>(static_cast<Work*>(argument)))();
    return nullptr;
  };
  const bool started = ::pthread_create(&thread, &attributes, run, kept.get()) == 0;
  if (started) static_cast<void>(kept.release());
  ::pthread_attr_destroy(&attributes);
  return started;
}

}  // namespace models
