// weir inside a program that runs libuv's loop, with handles of its own: stdin, a timer, signals.
//
//     embed_uv --listen tcp://127.0.0.1:7000      what is typed here goes to every client
//
// WeirInUv is all that it takes, and can be copied.

#include <uv.h>
#include <weir/weir.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>

#include "embed.h"
#include "options.h"

namespace {

constexpr example::About kAbout{
    "embed_uv",
    "An echo in the libuv loop of a host program, which sends its standard input to all\n"
    "clients.\n"};

void Must(const char* call, int result) {
  if (result < 0) throw std::runtime_error(std::string(call) + ": " + uv_strerror(result));
}

void CloseAll(uv_loop_t& uv) {
  const auto close = [](uv_handle_t* handle, void*) {
    if (uv_is_closing(handle) == 0) uv_close(handle, nullptr);
  };
  uv_walk(&uv, close, nullptr);
}

// Runs weir's turns on libuv's loop.
//
// LIFETIME  Until uv_run() has returned: a handle is libuv's until it is closed.
class WeirInUv {
 public:
  WeirInUv(uv_loop_t& uv, weir::EventLoop& loop) : uv_(uv), loop_(loop) {
    poll_.data = timer_.data = prepare_.data = this;
    Must("uv_poll_init", uv_poll_init(&uv, &poll_, loop.PollFd()));
    Must("uv_timer_init", uv_timer_init(&uv, &timer_));
    Must("uv_prepare_init", uv_prepare_init(&uv, &prepare_));
    Must("uv_poll_start", uv_poll_start(&poll_, UV_READABLE, [](uv_poll_t* poll, int, int) {
           static_cast<WeirInUv*>(poll->data)->Turn();
         }));
    Must("uv_prepare_start", uv_prepare_start(&prepare_, [](uv_prepare_t* prepare) {
           static_cast<WeirInUv*>(prepare->data)->ArmTimer();
         }));
    Turn();  // the first one calls OnStart
  }

 private:
  void Turn() {
    loop_.RunOnce(weir::Duration::zero());
    if (loop_.IsStopped()) CloseAll(uv_);  // this program has nothing else to do: uv_run() returns
  }

  // Right before libuv sleeps, when all other callbacks have run and may have made work or timers.
  void ArmTimer() {
    const weir::Duration wait = loop_.NextTimeout();
    if (wait == weir::Duration::max()) {
      uv_timer_stop(&timer_);
      return;
    }
    uv_update_time(&uv_);  // libuv counts from the time of its turn, which is older than `wait`
    const auto rounded_up = std::chrono::ceil<std::chrono::milliseconds>(wait);
    const auto turn = [](uv_timer_t* timer) { static_cast<WeirInUv*>(timer->data)->Turn(); };
    uv_timer_start(&timer_, turn, static_cast<std::uint64_t>(rounded_up.count()), 0);
  }

  uv_loop_t& uv_;
  weir::EventLoop& loop_;
  uv_poll_t poll_{};
  uv_timer_t timer_{};
  uv_prepare_t prepare_{};
};

// What the program does besides.
class Host {
 public:
  Host(uv_loop_t& uv, weir::EventLoop& loop, example::EmbeddedEcho& echo) {
    input_.data = report_.data = &echo;
    interrupt_.data = terminate_.data = &loop;
    Must("uv_timer_init", uv_timer_init(&uv, &report_));
    Must("uv_timer_start", uv_timer_start(&report_, OnReport, kReportMs, kReportMs));
    StopOn(uv, SIGINT, interrupt_);
    StopOn(uv, SIGTERM, terminate_);
    // Not every stdin can be waited for: of /dev/null there is nothing to pass on.
    if (uv_poll_init(&uv, &input_, STDIN_FILENO) == 0) uv_poll_start(&input_, UV_READABLE, OnInput);
  }

 private:
  static constexpr auto kReportMs =
      static_cast<std::uint64_t>(std::chrono::milliseconds(example::kReportPeriod).count());

  static void StopOn(uv_loop_t& uv, int number, uv_signal_t& signal) {
    Must("uv_signal_init", uv_signal_init(&uv, &signal));
    const auto stop = [](uv_signal_t* from, int) {
      static_cast<weir::EventLoop*>(from->data)->Stop();
    };
    Must("uv_signal_start", uv_signal_start(&signal, stop, number));
  }
  static void OnInput(uv_poll_t* input, int, int) {
    auto* const echo = static_cast<example::EmbeddedEcho*>(input->data);
    if (!echo->PassOn(STDIN_FILENO)) uv_poll_stop(input);
  }
  static void OnReport(uv_timer_t* report) {
    static_cast<example::EmbeddedEcho*>(report->data)->Report();
  }

  uv_poll_t input_{};
  uv_timer_t report_{};
  uv_signal_t interrupt_{};
  uv_signal_t terminate_{};
};

void Run(weir::EventLoop& loop, example::EmbeddedEcho& echo) {
  uv_loop_t uv;
  Must("uv_loop_init", uv_loop_init(&uv));
  Host host(uv, loop, echo);  // the signals first: once it listens, it can be stopped
  WeirInUv weir_in_uv(uv, loop);
  uv_run(&uv, UV_RUN_DEFAULT);
  uv_loop_close(&uv);
}

}  // namespace

int main(int argc, char** argv) {
  const auto [urls, options, exit_code] = example::ParseOptions(argc, argv, kAbout);
  if (exit_code) return *exit_code;
  example::EmbeddedEcho echo(urls.size());
  try {
    weir::EventLoop loop;
    for (const std::string_view url : urls) loop.Listen(url, echo);
    Run(loop, echo);
    return 0;
  } catch (const std::exception& error) {
    return example::Fail(kAbout, error);
  }
}
