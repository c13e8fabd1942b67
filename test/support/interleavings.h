// Runs threads in every order that their Yield() points allow, one at a time: what a stress test
// may hit in a year, on purpose and again.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "os/sys.h"

namespace weir::test {

class Interleaving {
 public:
  explicit Interleaving(std::vector<std::size_t> choices) : choices_(std::move(choices)) {}

  void Add(std::function<void()> body) {
    threads_.push_back(std::make_unique<Thread>());
    threads_.back()->body = std::move(body);
  }

  // Called by a thread: waits until `ready`, which the scheduler asks while no thread runs.
  void Await(std::function<bool()> ready) {
    mine_->ready = std::move(ready);
    PassBaton();
    mine_->ready = nullptr;
  }

  // False if threads were left that would wait for ever: `rescue` must then make one of them ready.
  bool Run(const std::function<void()>& rescue) {
    for (auto& thread : threads_) Start(*thread);
    bool progressed = true;
    for (std::size_t step = 0;; ++step) {
      std::vector<Thread*> runnable;
      bool done = true;
      for (auto& thread : threads_) {
        done = done && thread->finished;
        if (!thread->finished && (!thread->ready || thread->ready()))
          runnable.push_back(thread.get());
      }
      if (done) break;
      if (runnable.empty()) {
        progressed = false;
        rescue();
        continue;
      }
      if (step == choices_.size()) choices_.push_back(0);
      if (step == options_.size()) options_.push_back(runnable.size());
      Resume(*runnable[choices_[step] % runnable.size()]);
    }
    for (auto& thread : threads_) thread->thread.join();
    return progressed;
  }

  // The choices of the next order; empty after the last.
  [[nodiscard]] std::vector<std::size_t> Next() const {
    std::vector<std::size_t> next = choices_;
    next.resize(options_.size());
    while (!next.empty() && next.back() + 1 >= options_[next.size() - 1]) next.pop_back();
    if (!next.empty()) ++next.back();
    return next;
  }

 private:
  struct Thread {
    std::function<void()> body;
    std::function<bool()> ready;
    std::thread thread;
    bool finished = false;
    bool running = false;
  };

  void Start(Thread& thread) {
    thread.thread = std::thread([this, &thread] {
      mine_ = &thread;
      sys::fake::OnYield() = {
          [](sys::Point, void* self) { static_cast<Interleaving*>(self)->PassBaton(); }, this};
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return thread.running; });
      }
      thread.body();
      const std::lock_guard lock(mutex_);
      thread.finished = true;
      thread.running = false;
      changed_.notify_all();
    });
  }
  void Resume(Thread& thread) {
    std::unique_lock lock(mutex_);
    thread.running = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return !thread.running; });
  }
  void PassBaton() {
    std::unique_lock lock(mutex_);
    mine_->running = false;
    changed_.notify_all();
    changed_.wait(lock, [&] { return mine_->running; });
  }

  static inline thread_local Thread* mine_ = nullptr;

  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<std::size_t> choices_;
  std::vector<std::size_t> options_;  // of each choice
  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace weir::test
