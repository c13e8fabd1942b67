// An echo server: everything that comes goes back.
//
//     echo --listen tcp://127.0.0.1:7000 --listen unix:/tmp/echo.sock --loops 0

#include <weir/weir.h>

#include <cinttypes>
#include <cstdio>
#include <memory>
#include <string_view>

#include "options.h"

namespace {

constexpr example::About kAbout{"echo", "Sends back all that it receives.\n", true};

// One for each loop, made and destroyed on its thread.
class Echo final : public weir::Handler {
 public:
  Echo(weir::EventLoop& loop, std::size_t listeners, bool tells_its_share)
      : loop_(loop), listeners_(listeners), tells_its_share_(tells_its_share) {}
  Echo(const Echo&) = delete;
  Echo& operator=(const Echo&) = delete;

  // The loop has ended.
  ~Echo() override {
    if (!tells_its_share_) return;
    std::printf("loop %d: %" PRIu64 " connections\n", loop_.Index(), loop_.GetStats().accepted);
  }

  void OnStart(weir::EventLoop& loop) override {
    if (loop.Index() == 0) example::PrintListeners(loop, listeners_);
  }

  std::size_t OnData(weir::Connection& connection, std::string_view in) override {
    connection.Write(in);
    return in.size();
  }

 private:
  weir::EventLoop& loop_;
  const std::size_t listeners_;
  const bool tells_its_share_;
};

}  // namespace

int main(int argc, char** argv) {
  const auto [urls, options, exit_code] = example::ParseOptions(argc, argv, kAbout);
  if (exit_code) return *exit_code;
  const auto make_echo = [listeners = urls.size(),
                          several = options.loops != 1](weir::EventLoop& loop) {
    return std::make_unique<Echo>(loop, listeners, several);
  };
  return weir::Serve(make_echo, urls, options);
}
